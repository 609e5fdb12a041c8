//! Names in which llama.cpp reads a tokenizer's habits.

use crate::metadata::{Metadata, MetadataValue};

/// Tokens that llama.cpp takes for granted in a model whose name contains one of [`PHI_3`]; without one it does not load
/// the file (`llama_vocab::impl::load`).
const PHI_3_TOKENS: [&str; 4] = ["</s>", "<unk>", "<s>", "<|endoftext|>"];

const PHI_3: [&str; 2] = ["phi-3", "phi3"];

/// Special tokens of Phi-3 that keep the white space on their right; all others swallow it (`llama_vocab::impl::load`).
pub(super) const PHI_3_WITHOUT_STRIPPING: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

/// Whether llama.cpp takes a model of this `general.name` for Phi-3 and finds the tokens of Phi-3.
pub(super) fn is_phi_3(name: Option<&str>, tokens: &[String]) -> bool {
    name.is_some_and(sounds_like_phi_3)
        && missing_token(tokens.iter().map(String::as_bytes)).is_none()
}

fn sounds_like_phi_3(name: &str) -> bool {
    let lowercase = name.to_ascii_lowercase();
    PHI_3.iter().any(|part| lowercase.contains(part))
}

fn missing_token<'a>(tokens: impl Iterator<Item = &'a [u8]> + Clone) -> Option<&'static str> {
    PHI_3_TOKENS
        .into_iter()
        .find(|wanted| !tokens.clone().any(|token| token == wanted.as_bytes()))
}

/// Replaces a `general.name` by which llama.cpp would take the model for Phi-3 where its vocabulary is another one.
/// Returns a remark about it.
pub(crate) fn avoid_misleading_name(metadata: &mut Metadata) -> Option<String> {
    let name = metadata.string("general.name")?.to_owned();
    if !sounds_like_phi_3(&name) {
        return None;
    }
    let Some(MetadataValue::Array(tokens)) = metadata.get("tokenizer.ggml.tokens") else {
        return None;
    };
    let tokens = tokens.texts()?;
    let missing = missing_token(tokens.iter().copied())?;
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
