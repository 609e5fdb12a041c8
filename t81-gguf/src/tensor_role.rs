//! What a tensor is for, by the name that llama.cpp gives it.

use crate::parse::TensorInfo;

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TensorRole {
    /// The matrix of a linear layer inside a block (or a stack of them, one for each expert); what is made ternary.
    Linear,
    /// The token embedding or the output matrix.
    Embedding,
    /// Norms, biases, routers, position tables: what llama.cpp's own quantizer leaves as floats, and anything unknown.
    Other,
}

/// Names of linear layers between `blk.N.` and `.weight` (`llama-arch.cpp`, b11434).
const LINEAR: &[&str] = &[
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "attn_output",
    "attn_q_a",
    "attn_q_b",
    "attn_kv_a_mqa",
    "attn_kv_b",
    "attn_gate",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_down_exps",
    "ffn_gate_up_exps",
    "ffn_gate_shexp",
    "ffn_up_shexp",
    "ffn_down_shexp",
    "ssm_in",
    "ssm_out",
];

impl TensorRole {
    /// The role of a tensor.
    pub(crate) fn of(info: &TensorInfo) -> Self {
        let name = info.name.as_str();
        if matches!(name, "token_embd.weight" | "output.weight") {
            return Self::Embedding;
        }
        let Some(inner) = name
            .strip_prefix("blk.")
            .and_then(|rest| rest.strip_suffix(".weight"))
        else {
            return Self::Other;
        };
        match inner.split_once('.') {
            Some((layer, layer_name))
                if info.dimensions.len() >= 2
                    && !layer.is_empty()
                    && layer.bytes().all(|byte| byte.is_ascii_digit())
                    && LINEAR.contains(&layer_name) =>
            {
                Self::Linear
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_type::TensorType;

    fn role(name: &str, dimensions: &[u64]) -> TensorRole {
        TensorRole::of(&TensorInfo {
            name: name.to_owned(),
            tensor_type: TensorType::F32,
            dimensions: dimensions.to_vec(),
            offset: 0,
            bytes: 0,
        })
    }

    #[test]
    fn names_tell_roles() {
        for (name, expected) in [
            ("blk.0.attn_q.weight", TensorRole::Linear),
            ("blk.31.ffn_down.weight", TensorRole::Linear),
            ("blk.2.ffn_up_exps.weight", TensorRole::Linear),
            ("token_embd.weight", TensorRole::Embedding),
            ("output.weight", TensorRole::Embedding),
            ("blk.0.attn_q.bias", TensorRole::Other),
            ("blk.0.attn_norm.weight", TensorRole::Other),
            ("blk.0.ffn_gate_inp.weight", TensorRole::Other),
            ("blk..attn_q.weight", TensorRole::Other),
            ("blk.x.attn_q.weight", TensorRole::Other),
            ("v.blk.0.attn_q.weight", TensorRole::Other),
            ("position_embd.weight", TensorRole::Other),
        ] {
            assert_eq!(role(name, &[64, 64]), expected, "{name}");
        }
        assert_eq!(role("blk.0.attn_q.weight", &[64]), TensorRole::Other);
    }
}
