//! From the trained model to the t81 directory: the very weights of the last forward pass.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use t81_burn::models::{Decoder, Weight, WeightLayout};
use t81_burn::{Ternary, TernaryReport};
use t81_core::{ActivationPrecision, QuantizeError, Quantizer};
use t81_hub::{Dtype, OutputFormat, Storage, T81Metadata, T81Writer, TensorPlan};

use crate::error::QatError;
use crate::source::Source;

/// Writes `decoder` as a t81 directory: ternary weights packed, everything else as F32, as it was trained.
pub(crate) fn write_t81_directory(
    directory: &Path,
    decoder: &Decoder,
    ternary: &Ternary,
    report: &TernaryReport,
    source: &Source,
    activations: ActivationPrecision,
    training: Value,
) -> Result<PathBuf, QatError> {
    let quantizer = ternary.exact_quantizer(report);
    let plan = tensor_plan(decoder, &quantizer, report);

    // Without a ternary weight the directory is a checkpoint like any other, to fine-tune or to teach from.
    let format = match report.ternary.is_empty() {
        true => OutputFormat::Dense,
        false => OutputFormat::Packed,
    };
    let mut writer = T81Writer::create(directory, plan, true, format)?;
    let mut config = source.config_json.clone();
    config["torch_dtype"] = json!("float32");
    writer.write_file("config.json", format!("{config:#}\n").as_bytes())?;
    for (name, bytes) in source.companion_files()? {
        writer.write_file(&name, &bytes)?;
    }
    let is_ternary = |name: &str| is_ternary(decoder, report, name);
    decoder.visit_weights(|weight: Weight| {
        let name = weight.spec.name.clone();
        match weight.spec.outputs_and_inputs() {
            Some([rows, columns]) if is_ternary(&name) => {
                let layout = weight.spec.layout.of_matrix();
                let matrix = quantizer
                    .quantize(&weight.values, rows, columns, layout)
                    .map_err(|source| quantize_error(&name, source))?;
                writer.write_ternary(&name, &matrix)?;
            }
            _ => {
                let values = weight.into_hugging_face_order();
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                writer.write_dense(&name, &bytes)?;
            }
        }
        Ok::<_, QatError>(())
    })?;
    let mut metadata = T81Metadata::new(
        "t81-qat",
        env!("CARGO_PKG_VERSION"),
        &source.name,
        quantizer,
        source.model_type(),
    );
    metadata.activations = (!report.ternary.is_empty()).then_some(activations);
    metadata.extra.insert("training".to_string(), training);
    Ok(writer.finish(metadata)?)
}

/// Names and shapes of the tensors of `decoder`'s t81 directory, and how each is stored.
pub(crate) fn tensor_plan(
    decoder: &Decoder,
    quantizer: &Quantizer,
    report: &TernaryReport,
) -> Vec<TensorPlan> {
    let specs = decoder.weight_specs().into_iter();
    specs
        .map(|spec| match spec.outputs_and_inputs() {
            Some(shape) if is_ternary(decoder, report, &spec.name) => TensorPlan {
                storage: Storage::Ternary {
                    granularity: quantizer.granularity(),
                    transposed: spec.layout == WeightLayout::Conv1d,
                },
                name: spec.name,
                shape: shape.to_vec(),
            },
            _ => TensorPlan {
                name: spec.name,
                shape: spec.shape,
                storage: Storage::Dense(Dtype::F32),
            },
        })
        .collect()
}

fn is_ternary(decoder: &Decoder, report: &TernaryReport, name: &str) -> bool {
    let mut ternary = report.ternary.iter();
    ternary.any(|parameter| decoder.hugging_face_name(&parameter.path) == name)
}

fn quantize_error(name: &str, source: QuantizeError) -> QatError {
    QatError::Quantize(t81_burn::QuantizeWeightError {
        path: name.to_string(),
        source,
    })
}
