//! The tensors of a file against those that its architecture consumes.

use std::collections::HashSet;

use super::expected::expected;
use super::hyper_parameters::HyperParameters;
use super::{Findings, Rule};
use crate::reader::GgufFile;
use crate::tensor_type::TensorType;

/// Compares names and shapes. Returns false where the architecture has no table here.
pub(super) fn check(
    file: &GgufFile,
    architecture: &str,
    parameters: Option<&HyperParameters>,
    findings: &mut Findings,
) -> bool {
    let Some(parameters) = parameters else {
        return false;
    };
    // The embedding says how many tokens there are; whether the tokenizer agrees is checked with it.
    let vocabulary = file
        .tensor("token_embd.weight")
        .and_then(|embedding| embedding.info.dimensions.get(1).copied())
        .unwrap_or(1);
    let type_of = |name: &str| Some(file.tensor(name)?.info.tensor_type);
    let Some(expected) = expected(architecture, parameters, vocabulary, type_of) else {
        return false;
    };
    let mut consumed = HashSet::new();
    for tensor in &expected {
        let Some(found) = file.tensor(&tensor.name) else {
            if tensor.required {
                let message = format!("is missing; the {architecture} architecture needs it");
                findings.add(Rule::Tensors, &tensor.name, message);
            }
            continue;
        };
        consumed.insert(tensor.name.as_str());
        if let Some(dimensions) = &tensor.dimensions
            && trimmed(&found.info.dimensions) != trimmed(dimensions)
        {
            findings.add(
                Rule::Shape,
                &tensor.name,
                format!(
                    "is {:?}, but the hyper-parameters make it {dimensions:?}",
                    found.info.dimensions
                ),
            );
        }
    }
    for info in &file.header().tensors {
        if !consumed.contains(info.name.as_str()) {
            findings.add(
                Rule::Tensors,
                &info.name,
                format!(
                    "is not consumed by the {architecture} architecture; the file would not load"
                ),
            );
        }
    }
    true
}

/// Norms and biases that are not F32 load and then abort llama.cpp.
pub(super) fn check_types(file: &GgufFile, findings: &mut Findings) {
    for info in &file.header().tensors {
        let is_float = matches!(
            info.tensor_type,
            TensorType::F16 | TensorType::BF16 | TensorType::F64
        ) || info.tensor_type.block_len() > 1;
        let is_vector = info.dimensions.len() < 2
            || info.name.ends_with("norm.weight")
            || info.name.ends_with(".bias");
        if is_vector && is_float {
            findings.add(
                Rule::Type,
                &info.name,
                format!(
                    "is {}; llama.cpp needs norms, biases and other vectors in F32",
                    info.tensor_type
                ),
            );
        }
    }
}

/// Dimensions without the ones at the end, which mean nothing.
fn trimmed(dimensions: &[u64]) -> &[u64] {
    let used = dimensions
        .iter()
        .rposition(|&dimension| dimension != 1)
        .map_or(0, |last| last + 1);
    &dimensions[..used]
}
