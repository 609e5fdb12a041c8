//! Telling a user how far a conversion is.

use t81_gguf::ExportProgress;

/// Hears of a conversion's progress and may stop it.
pub trait Progress {
    /// The work ahead, in tensors and in bytes of the source.
    fn started(&mut self, _tensors: usize, _bytes: u64) {}

    /// A tensor is about to be worked on.
    fn tensor(&mut self, _name: &str) {}

    /// A tensor of so many source bytes is done.
    fn advanced(&mut self, _bytes: u64) {}

    /// A tensor that was written is about to be read again and compared with the source.
    fn validating(&mut self, _name: &str) {}

    /// A tensor is about to be written to the GGUF file.
    fn exporting(&mut self, _progress: &ExportProgress<'_>) {}

    /// Asked before each tensor and before the result is moved to its place; true ends the conversion with
    /// [`ConvertError::Interrupted`](crate::ConvertError::Interrupted).
    fn cancelled(&self) -> bool {
        false
    }
}

/// Progress that nobody hears of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
