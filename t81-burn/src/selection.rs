//! Which parameters of a model become ternary.

use regex::Regex;

/// Selects `Linear` weights by their path in the model (`layers.0.self_attn.q_proj.weight`).
///
/// The default takes the weight of every Burn `Linear` except output heads: ternary heads and embeddings ruin a
/// language model and cost little to keep.
#[derive(Clone, Debug)]
pub struct Selection {
    include: Option<Regex>,
    exclude: Option<Regex>,
    exclude_heads: bool,
}

/// Names that language models and classifiers give their output layer.
const HEADS: [&str; 6] = [
    "lm_head",
    "head",
    "output_head",
    "classifier",
    "score",
    "embed_out",
];

impl Default for Selection {
    fn default() -> Self {
        Self {
            include: None,
            exclude: None,
            exclude_heads: true,
        }
    }
}

impl Selection {
    /// Takes only paths that match `pattern`; output heads, too, if they match.
    ///
    /// # Errors
    ///
    /// When `pattern` is not a regular expression.
    pub fn include(mut self, pattern: &str) -> Result<Self, regex::Error> {
        self.include = Some(Regex::new(pattern)?);
        self.exclude_heads = false;
        Ok(self)
    }

    /// Leaves paths that match `pattern` in float.
    ///
    /// # Errors
    ///
    /// When `pattern` is not a regular expression.
    pub fn exclude(mut self, pattern: &str) -> Result<Self, regex::Error> {
        self.exclude = Some(Regex::new(pattern)?);
        Ok(self)
    }

    /// Whether the `Linear` weight at `path` is selected.
    pub fn selects(&self, path: &str) -> bool {
        let is_head = || {
            let module = path.strip_suffix(".weight").unwrap_or(path);
            let name = module.rsplit('.').next().unwrap_or(module);
            HEADS.contains(&name)
        };
        self.include
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(path))
            && !self
                .exclude
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(path))
            && !(self.exclude_heads && is_head())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stay_float_unless_asked_for() {
        let selection = Selection::default();
        assert!(selection.selects("layers.0.mlp.up_proj.weight"));
        assert!(selection.selects("output.weight"));
        assert!(!selection.selects("lm_head.weight"));
        assert!(!selection.selects("model.classifier.weight"));
        assert!(selection.selects("classifier.dense.weight"));
        assert!(
            Selection::default()
                .include("lm_head")
                .unwrap()
                .selects("lm_head.weight")
        );
    }

    #[test]
    fn exclude_wins_over_include() {
        let selection = Selection::default()
            .include(r"^layers\.")
            .unwrap()
            .exclude(r"\.0\.")
            .unwrap();
        assert!(selection.selects("layers.1.q.weight"));
        assert!(!selection.selects("layers.0.q.weight"));
        assert!(!selection.selects("embed.weight"));
    }
}
