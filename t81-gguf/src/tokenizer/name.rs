//! Names in which llama.cpp reads a tokenizer's habits.

use crate::metadata::{Metadata, MetadataArray, MetadataValue};

/// Tokens that llama.cpp takes for granted in a model whose name contains one of [`PHI_3`]; without one it does not load
/// the file (`llama_vocab::impl::load`).
const PHI_3_TOKENS: [&str; 4] = ["</s>", "<unk>", "<s>", "<|endoftext|>"];

const PHI_3: [&str; 2] = ["phi-3", "phi3"];

/// Replaces a `general.name` by which llama.cpp would take the model for Phi-3 where its vocabulary is another one.
/// Returns a remark about it.
pub(crate) fn avoid_misleading_name(metadata: &mut Metadata) -> Option<String> {
    let name = metadata.string("general.name")?.to_owned();
    let lowercase = name.to_ascii_lowercase();
    if !PHI_3.iter().any(|part| lowercase.contains(part)) {
        return None;
    }
    let Some(MetadataValue::Array(MetadataArray::String(tokens))) =
        metadata.get("tokenizer.ggml.tokens")
    else {
        return None;
    };
    let missing = PHI_3_TOKENS
        .iter()
        .find(|wanted| !tokens.iter().any(|token| token == *wanted))?;
    metadata.set("general.name", "model");
    Some(format!(
        "general.name is `model`: llama.cpp takes `{name}` for Phi-3, whose token {missing} this vocabulary lacks"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, tokens: &[&str]) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.set("general.name", name);
        let tokens: Vec<String> = tokens.iter().map(|&token| token.to_owned()).collect();
        metadata.set("tokenizer.ggml.tokens", tokens);
        metadata
    }

    #[test]
    fn only_a_phi_3_without_its_tokens_is_renamed() {
        let mut whole = named(
            "Phi-3-mini",
            &["<unk>", "<s>", "</s>", "<|endoftext|>", "a"],
        );
        assert_eq!(avoid_misleading_name(&mut whole), None);
        assert_eq!(whole.string("general.name"), Some("Phi-3-mini"));

        let mut lacking = named("my-PHI3-tune", &["<unk>", "<s>", "</s>", "a"]);
        let remark = avoid_misleading_name(&mut lacking).unwrap();
        assert!(
            remark.contains("<|endoftext|>") && remark.contains("my-PHI3-tune"),
            "{remark}"
        );
        assert_eq!(lacking.string("general.name"), Some("model"));

        let mut other = named("phi-2", &["a"]);
        assert_eq!(avoid_misleading_name(&mut other), None);
    }
}
