//! Reading a file again before it takes its name: is it valid, does it hold what its source does?

use rayon::prelude::*;
use t81_core::TernaryMatrix;

use crate::check::check_file;
use crate::error::GgufError;
use crate::pieces::PIECE;
use crate::reader::{GgufFile, GgufTensor};
use crate::writer::TensorSink;

/// Applies every rule of `check` to the file, and compares each tensor with what `write` yields for it.
pub(crate) fn validate<T>(
    file: &GgufFile,
    tensors: &[T],
    name: impl Fn(&T) -> &str,
    write: impl Fn(&T, &mut TensorSink<'_>) -> Result<(), GgufError>,
) -> Result<(), GgufError> {
    let report = check_file(file);
    if let Some(problem) = report.problems.first() {
        return Err(GgufError::Invalid {
            path: file.path().to_owned(),
            problem: problem.to_string(),
            others: report.problems.len() - 1,
        });
    }
    for planned in tensors {
        let name = name(planned);
        let written = file.tensor(name).ok_or_else(|| GgufError::Differs {
            tensor: name.to_owned(),
            element: 0,
        })?;
        let mut sink = TensorSink::comparing(written, file.path());
        write(planned, &mut sink)?;
        if !sink.is_complete() {
            return Err(differs(&written, written.info.elements()));
        }
        written.release();
    }
    Ok(())
}

/// Whether the rows from `first` on are these ternary weights: the same codes, and the same scale wherever a code is not 0.
pub(crate) fn same_ternary(
    matrix: &TernaryMatrix,
    first: u64,
    written: &GgufTensor<'_>,
) -> Result<(), GgufError> {
    let columns = matrix.columns();
    if columns as u64 != written.info.columns() || first + matrix.rows() as u64 > written.rows() {
        return Err(differs(written, first * columns as u64));
    }
    let step = (PIECE / columns).clamp(1, matrix.rows());
    let mut found = vec![0.0; step * columns];
    let mut expected = vec![0.0; step * columns];
    for start in (0..matrix.rows()).step_by(step) {
        let rows = step.min(matrix.rows() - start);
        let (expected, found) = (
            &mut expected[..rows * columns],
            &mut found[..rows * columns],
        );
        written.read_rows(first + start as u64, found)?;
        expected
            .par_chunks_mut(columns)
            .enumerate()
            .try_for_each(|(row, values)| matrix.dequantize_row(start + row, values))
            .map_err(|source| GgufError::Codec {
                tensor: written.info.name.clone(),
                source: source.into(),
            })?;
        // The weights of a code and a finite scale tell both apart, but for the sign of a zero, which means nothing.
        let differ = |(expected, found): (&f32, &f32)| {
            expected.to_bits() != found.to_bits() && !(*expected == 0.0 && *found == 0.0)
        };
        let at = expected.par_iter().zip(&*found).position_first(differ);
        if let Some(at) = at {
            let element = (first as usize + start) * columns + at;
            return Err(differs(written, element as u64));
        }
    }
    Ok(())
}

/// Whether the tensor has these bytes from `start` on.
pub(crate) fn same_bytes(
    expected: &[u8],
    start: u64,
    written: &GgufTensor<'_>,
) -> Result<(), GgufError> {
    let found = &written.bytes[start as usize..];
    let at = match expected.iter().zip(found).position(|(a, b)| a != b) {
        Some(at) => at,
        None if expected.len() <= found.len() => return Ok(()),
        None => found.len(),
    };
    let tensor_type = written.info.tensor_type;
    let block = (start + at as u64) / tensor_type.block_bytes();
    Err(differs(written, block * tensor_type.block_len()))
}

fn differs(written: &GgufTensor<'_>, element: u64) -> GgufError {
    GgufError::Differs {
        tensor: written.info.name.clone(),
        element,
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use t81_core::{BlockFormat, Granularity};

    use super::*;
    use crate::metadata::Metadata;
    use crate::tensor_type::TensorType;
    use crate::writer::{GgufWriter, TensorPlan};

    /// `[3, 512]`: codes `7 i mod 3 - 1`, a scale for each 256.
    fn matrix() -> TernaryMatrix {
        let mut codes = vec![0u8; 3 * 128];
        for element in 0..3 * 512 {
            codes[element / 4] |= ((element * 7 % 3) as u8) << (2 * (element % 4));
        }
        let scales = (1..=6).map(|scale| f16::from_f32(scale as f32 / 8.0));
        let group = Granularity::group(256).unwrap();
        TernaryMatrix::from_parts(codes, scales.collect(), 3, 512, group).unwrap()
    }

    fn differing_element(outcome: Result<(), GgufError>) -> Option<u64> {
        match outcome {
            Ok(()) => None,
            Err(GgufError::Differs { tensor, element }) if tensor == "t" => Some(element),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn one_changed_bit_is_found_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        for format in BlockFormat::ALL {
            let good = format.encode(&matrix()).unwrap();
            // A code of the last weights of row 1, and the scale of the first block of row 2.
            let row = good.len() / 3;
            let (scale, code) = match format {
                BlockFormat::Q2_0 => (2 * row, 2 * row - 1),
                _ => (2 * row + format.block_bytes() - 2, 2 * row - 3),
            };
            for (at, elements) in [
                (None, None),
                (Some(code), Some(512 + 256..1024)),
                (Some(scale), Some(1024..1024 + 2)),
            ] {
                let mut bytes = good.clone();
                if let Some(at) = at {
                    bytes[at] ^= 0x40;
                }
                let path = directory.path().join("file.gguf");
                let plan = [TensorPlan {
                    name: "t".into(),
                    tensor_type: TensorType::from(format),
                    dimensions: vec![512, 3],
                }];
                let mut writer = GgufWriter::create(&path, &Metadata::new(), &plan, true).unwrap();
                writer.write_tensor("t", &bytes).unwrap();
                writer.finish().unwrap();
                let file = GgufFile::open(&path).unwrap();
                let written = file.tensor("t").unwrap();

                let found = differing_element(same_ternary(&matrix(), 0, &written));
                match &elements {
                    None => assert_eq!(found, None, "{format}"),
                    Some(elements) => assert!(
                        found.is_some_and(|found| elements.contains(&found)),
                        "{format}: {found:?}, not in {elements:?}"
                    ),
                }
                let mut sink = TensorSink::comparing(written, &path);
                let found = differing_element(sink.write(&good));
                assert_eq!(found.is_none(), at.is_none(), "{format}");
                assert_eq!(sink.is_complete(), at.is_none());
            }
        }
    }
}
