//! A conversion that its caller stops.

use t81_convert::{ConvertError, ConvertOptions, Progress, convert_with_progress};

use crate::model::{names, write};

/// Stops after a number of tensors.
struct Stop {
    after: usize,
    seen: usize,
    bytes: u64,
    total: u64,
}

impl Progress for Stop {
    fn started(&mut self, tensors: usize, bytes: u64) {
        assert_eq!(tensors, 28);
        self.total = bytes;
    }

    fn tensor(&mut self, _name: &str) {
        self.seen += 1;
    }

    fn advanced(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn cancelled(&self) -> bool {
        self.seen == self.after
    }
}

#[test]
fn an_interruption_leaves_nothing() {
    for after in [0, 1, 10, 28] {
        let place = tempfile::tempdir().unwrap();
        let (source, out) = (place.path().join("source"), place.path().join("out"));
        write(&source);
        let mut progress = Stop {
            after,
            seen: 0,
            bytes: 0,
            total: 0,
        };
        let error = convert_with_progress(&source, &out, &ConvertOptions::default(), &mut progress)
            .unwrap_err();
        assert!(matches!(error, ConvertError::Interrupted), "{error}");
        assert_eq!(names(place.path()), ["source"]);
    }
    let place = tempfile::tempdir().unwrap();
    let (source, out) = (place.path().join("source"), place.path().join("out"));
    write(&source);
    let mut progress = Stop {
        after: usize::MAX,
        seen: 0,
        bytes: 0,
        total: 0,
    };
    convert_with_progress(&source, &out, &ConvertOptions::default(), &mut progress).unwrap();
    assert_eq!((progress.seen, progress.bytes), (28, progress.total));
}
