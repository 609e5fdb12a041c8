//! A tiny model exported, and what its file must hold.

use half::f16;
use t81_core::{BlockFormat, TernaryMatrix};
use t81_gguf::{
    ExportOptions, ExportSummary, ExportType, GgufError, GgufFile, TensorType, export_t81,
};
use t81_hub::T81Directory;

use crate::tiny_model::{LAYERS, TinyModel, Weights};

pub(crate) fn options(quant: ExportType) -> ExportOptions {
    ExportOptions {
        quant: Some(quant),
        ..ExportOptions::default()
    }
}

pub(crate) fn ternary(format: BlockFormat) -> ExportType {
    ExportType::Ternary(format)
}

pub(crate) struct Exported {
    _directory: tempfile::TempDir,
    pub(crate) weights: Weights,
    pub(crate) summary: ExportSummary,
    pub(crate) file: GgufFile,
}

pub(crate) fn try_export(
    model: &TinyModel,
    options: &ExportOptions,
) -> Result<Exported, GgufError> {
    let directory = tempfile::tempdir().unwrap();
    let (path, weights) = model.write(directory.path());
    let output = directory.path().join("model.gguf");
    let summary = export_t81(&T81Directory::open(path).unwrap(), &output, options)?;
    let file = GgufFile::open(&output).unwrap();
    Ok(Exported {
        _directory: directory,
        weights,
        summary,
        file,
    })
}

pub(crate) fn exported(model: &TinyModel, options: &ExportOptions) -> Exported {
    try_export(model, options).unwrap()
}

pub(crate) fn refused(model: &TinyModel, options: &ExportOptions) -> GgufError {
    match try_export(model, options) {
        Ok(exported) => panic!("exported: {}", exported.summary),
        Err(error) => error,
    }
}

/// GGUF names of the linear layers with their checkpoint names and, for queries and keys, the number of heads.
pub(crate) fn linear_layers(model: &TinyModel) -> Vec<(String, String, Option<usize>)> {
    let names = [
        ("attn_q", "self_attn.q_proj", Some(model.heads)),
        ("attn_k", "self_attn.k_proj", Some(model.key_value_heads)),
        ("attn_v", "self_attn.v_proj", None),
        ("attn_output", "self_attn.o_proj", None),
        ("ffn_gate", "mlp.gate_proj", None),
        ("ffn_up", "mlp.up_proj", None),
        ("ffn_down", "mlp.down_proj", None),
    ];
    (0..LAYERS)
        .flat_map(|layer| {
            names.map(|(gguf, checkpoint, heads)| {
                (
                    format!("blk.{layer}.{gguf}"),
                    format!("model.layers.{layer}.{checkpoint}"),
                    heads,
                )
            })
        })
        .collect()
}

/// `[rows, columns]` with each head's rows reordered as `reshape(heads, 2, dim / 2, columns).swapaxes(1, 2)`.
pub(crate) fn permuted(values: &[f32], rows: usize, heads: Option<usize>) -> Vec<f32> {
    let Some(heads) = heads else {
        return values.to_vec();
    };
    let columns = values.len() / rows;
    let half = rows / heads / 2;
    let mut out = Vec::with_capacity(values.len());
    for head in 0..heads {
        for pair in 0..half {
            for side in 0..2 {
                let row = (head * 2 + side) * half + pair;
                out.extend_from_slice(&values[row * columns..][..columns]);
            }
        }
    }
    out
}

pub(crate) fn check_linear_values(
    model: &TinyModel,
    exported: &Exported,
    expected_type: TensorType,
) {
    for (gguf, checkpoint, heads) in linear_layers(model) {
        let matrix: &TernaryMatrix = &exported.weights.ternary[&format!("{checkpoint}.weight")];
        let tensor = exported.file.tensor(&format!("{gguf}.weight")).unwrap();
        assert_eq!(tensor.info.tensor_type, expected_type, "{gguf}");
        assert_eq!(
            tensor.info.dimensions,
            [matrix.columns() as u64, matrix.rows() as u64],
            "{gguf}"
        );
        let expected = permuted(&matrix.dequantize(), matrix.rows(), heads);
        assert!(
            tensor.to_f32().unwrap() == expected,
            "{gguf} holds other values"
        );
    }
}

pub(crate) fn rounded_to_f16(values: &[f32]) -> Vec<f32> {
    values
        .iter()
        .map(|&value| f16::from_f32(value).to_f32())
        .collect()
}
