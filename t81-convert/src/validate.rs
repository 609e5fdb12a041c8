//! Reading a directory again before it gets its name, and comparing it with the source.

use std::path::Path;

use rayon::prelude::*;
use t81_core::TernaryMatrix;
use t81_hub::{QuantizedCheckpoint, T81Directory, T81Tensor, TensorView, TernarySource};

use crate::{ConvertError, Progress};

/// Opens the directory, which checks its structure and all codes and scales, quantizes every weight once more and compares
/// the results; floats are compared with the source's.
pub(crate) fn validate(
    directory: &Path,
    source: &QuantizedCheckpoint<'_>,
    progress: &mut dyn Progress,
) -> Result<(), ConvertError> {
    let written = T81Directory::open(directory)?;
    for planned in source.plan() {
        if progress.cancelled() {
            return Err(ConvertError::Interrupted);
        }
        progress.validating(&planned.name);
        let name = &planned.name;
        let problem = match (source.get(name)?, written.get(name)?) {
            (T81Tensor::Ternary(expected), T81Tensor::Ternary(found)) => {
                ternary_problem(&expected, &found)
            }
            (T81Tensor::Dense(expected), T81Tensor::Dense(found)) => {
                dense_problem(&expected, &found)?
            }
            (T81Tensor::Ternary(_), T81Tensor::Dense(_)) => Some("is not ternary".to_owned()),
            (T81Tensor::Dense(_), T81Tensor::Ternary(_)) => Some("is ternary".to_owned()),
        };
        if let Some(problem) = problem {
            return Err(ConvertError::Validation {
                tensor: name.clone(),
                problem,
            });
        }
    }
    Ok(())
}

/// Rows are compared as the floats they stand for: the dense format keeps no scale of a group of zeros.
fn ternary_problem(expected: &TernaryMatrix, found: &TernaryMatrix) -> Option<String> {
    if expected == found {
        return None;
    }
    let shapes = [expected, found].map(|matrix| (matrix.rows(), matrix.columns()));
    if shapes[0] != shapes[1] {
        return Some(format!("its shape is {:?}, not {:?}", shapes[1], shapes[0]));
    }
    let columns = expected.columns();
    let differs = |row: &usize| {
        let mut rows = [vec![0.0; columns], vec![0.0; columns]];
        let read = expected
            .dequantize_row(*row, &mut rows[0])
            .and_then(|()| found.dequantize_row(*row, &mut rows[1]));
        read.is_err() || rows[0] != rows[1]
    };
    let row = (0..expected.rows()).into_par_iter().find_first(differs)?;
    Some(format!("row {row} is not what the source gives"))
}

fn dense_problem(
    expected: &TensorView<'_>,
    found: &TensorView<'_>,
) -> Result<Option<String>, ConvertError> {
    if expected.shape != found.shape {
        let problem = format!("its shape is {:?}, not {:?}", found.shape, expected.shape);
        return Ok(Some(problem));
    }
    let mut first = 0;
    for (expected, found) in expected.chunks().zip(found.chunks()) {
        found.check_finite()?;
        let size = found.dtype.size_bytes();
        let bytes = expected.to_bytes(found.dtype)?;
        let pairs = bytes.par_chunks(size).zip(found.bytes.par_chunks(size));
        if bytes.as_ref() != found.bytes
            && let Some(at) = pairs
                .into_par_iter()
                .position_first(|(one, other)| one != other)
        {
            let problem = format!("element {} is not the source's", first + at);
            return Ok(Some(problem));
        }
        first += found.len();
        expected.release();
        found.release();
    }
    Ok(None)
}
