//! Writing planned tensors one after the other, and reading them again.

use super::{ExportProgress, Progress};
use crate::error::GgufError;
use crate::validate::validate;
use crate::writer::{CompleteFile, GgufWriter, TensorSink};

/// Writes every tensor in order, telling `progress` before each.
///
/// `describe` gives a tensor's name and bytes, `write` puts its data into the sink.
///
/// # Errors
///
/// [`GgufError::Interrupted`] when `progress` breaks off, else what writing returns.
pub(crate) fn stream<T>(
    writer: &mut GgufWriter,
    tensors: &[T],
    describe: impl Fn(&T) -> (&str, u64),
    write: impl Fn(&T, &mut TensorSink<'_>) -> Result<(), GgufError>,
    progress: Progress<'_>,
) -> Result<(), GgufError> {
    let bytes_total = tensors.iter().map(|tensor| describe(tensor).1).sum();
    let mut bytes_done = 0;
    for (tensors_done, planned) in tensors.iter().enumerate() {
        let (tensor, bytes) = describe(planned);
        let report = ExportProgress {
            tensor,
            tensors_done,
            tensors_total: tensors.len(),
            bytes_done,
            bytes_total,
        };
        if progress(&report).is_break() {
            return Err(GgufError::Interrupted);
        }
        writer.write_tensor_with(tensor, |sink| write(planned, sink))?;
        bytes_done += bytes;
    }
    Ok(())
}

/// Completes the file; with `validated` only after everything in it was found valid and equal to its source, which `write`
/// yields once more.
///
/// # Errors
///
/// [`GgufError::Invalid`] and [`GgufError::Differs`] of a validation, else what finishing returns.
pub(crate) fn complete<T>(
    writer: GgufWriter,
    validated: bool,
    tensors: &[T],
    name: impl Fn(&T) -> &str,
    write: impl Fn(&T, &mut TensorSink<'_>) -> Result<(), GgufError>,
) -> Result<CompleteFile, GgufError> {
    writer.complete(|file| match validated {
        true => validate(file, tensors, name, write),
        false => Ok(()),
    })
}
