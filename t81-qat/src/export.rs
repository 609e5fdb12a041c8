//! From the trained model to the t81 directory: the very weights of the last forward pass.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use t81_burn::models::llama::{Llama, Weight, WeightLayout, WeightSpec, hugging_face_name};
use t81_burn::{Ternary, TernaryReport};
use t81_core::{Layout, QuantizeError};
use t81_hub::{Dtype, OutputFormat, Storage, T81Metadata, T81Writer, TensorPlan};

use crate::error::QatError;
use crate::source::Source;

/// Writes `decoder` as a t81 directory: ternary weights packed, everything else as F32, as it was trained.
pub(crate) fn write_t81_directory(
    directory: &Path,
    decoder: &Llama,
    ternary: &Ternary,
    report: &TernaryReport,
    source: &Source,
    training: Value,
) -> Result<PathBuf, QatError> {
    let is_ternary = |name: &str| {
        report
            .ternary
            .iter()
            .any(|parameter| hugging_face_name(&parameter.path) == name)
    };
    let quantizer = ternary.exact_quantizer(report);
    let plan = decoder
        .weight_specs()
        .into_iter()
        .map(|WeightSpec { name, shape, .. }| {
            let storage = if is_ternary(&name) {
                Storage::Ternary {
                    granularity: quantizer.granularity(),
                    transposed: false,
                }
            } else {
                Storage::Dense(Dtype::F32)
            };
            TensorPlan {
                name,
                shape,
                storage,
            }
        })
        .collect();

    let mut writer = T81Writer::create(directory, plan, true, OutputFormat::Packed)?;
    let mut config = source.config_json.clone();
    config["torch_dtype"] = json!("float32");
    writer.write_file("config.json", format!("{config:#}\n").as_bytes())?;
    for (name, bytes) in source.companion_files()? {
        writer.write_file(&name, &bytes)?;
    }
    decoder.visit_weights(|weight: Weight| {
        let name = weight.spec.name.clone();
        if is_ternary(&name) {
            let (rows, columns) = (weight.spec.shape[0], weight.spec.shape[1]);
            let layout = match weight.spec.layout {
                WeightLayout::Transposed => Layout::InOut,
                WeightLayout::HuggingFace => Layout::OutIn,
            };
            let matrix = quantizer
                .quantize(&weight.values, rows, columns, layout)
                .map_err(|source| quantize_error(&name, source))?;
            writer.write_ternary(&name, &matrix)?;
        } else {
            let values = weight.into_hugging_face_order();
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            writer.write_dense(&name, &bytes)?;
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
    metadata.extra.insert("training".to_string(), training);
    Ok(writer.finish(metadata)?)
}

fn quantize_error(name: &str, source: QuantizeError) -> QatError {
    QatError::Quantize(t81_burn::QuantizeWeightError {
        path: name.to_string(),
        source,
    })
}
