//! A source and a destination.

use t81_convert::{ConvertOptions, convert};
use t81_core::Granularity;
use t81_hub::T81Directory;

use crate::model::write;

pub(crate) fn group(size: usize) -> Granularity {
    Granularity::group(size).unwrap()
}

/// Source and destination within a fresh directory.
pub(crate) struct Place(pub(crate) tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        write(&place.source());
        place
    }

    pub(crate) fn source(&self) -> std::path::PathBuf {
        self.0.path().join("source")
    }

    pub(crate) fn out(&self) -> std::path::PathBuf {
        self.0.path().join("out")
    }

    pub(crate) fn open(&self, options: &ConvertOptions) -> T81Directory {
        convert(self.source(), self.out(), options).unwrap();
        T81Directory::open(self.out()).unwrap()
    }
}
