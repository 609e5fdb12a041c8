//! Attention within a window.

use serde_json::Value;

use super::fields::{Fields, brief};
use super::{MAX_LAYERS, MAX_POSITIONS, ModelConfig};
use crate::HubError;

/// Attention that reaches back a limited number of tokens in some blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    /// How many tokens a token sees, itself included.
    pub width: usize,
    /// For each block, whether the window applies.
    pub blocks: Vec<bool>,
}

impl ModelConfig {
    /// Mistral's and Phi-3's way: a window, if there is one, is for all blocks.
    pub(crate) fn slide_all_blocks(&mut self, fields: &Fields<'_>) -> Result<(), HubError> {
        let blocks = vec![true; self.num_hidden_layers];
        self.slide(fields, blocks)
    }

    /// Qwen's way: a window only with `use_sliding_window`, and only from block `max_window_layers` on.
    pub(crate) fn slide_later_blocks(&mut self, fields: &Fields<'_>) -> Result<(), HubError> {
        if !fields.boolean("use_sliding_window")?.unwrap_or(false) {
            return Ok(());
        }
        let first = fields
            .integer("max_window_layers", 0..=MAX_LAYERS)?
            .unwrap_or(28);
        let blocks = (0..self.num_hidden_layers).map(|block| block >= first);
        let blocks = self.listed_blocks(fields)?.unwrap_or(blocks.collect());
        self.slide(fields, blocks)
    }

    /// Gemma's way: all blocks but each `usual_pattern`th, unless the file says otherwise.
    pub(crate) fn slide_by_pattern(
        &mut self,
        fields: &Fields<'_>,
        usual_pattern: usize,
    ) -> Result<(), HubError> {
        let pattern = fields
            .integer("sliding_window_pattern", 1..=MAX_LAYERS)?
            .unwrap_or(usual_pattern);
        let blocks = (1..=self.num_hidden_layers).map(|block| !block.is_multiple_of(pattern));
        let blocks = self.listed_blocks(fields)?.unwrap_or(blocks.collect());
        self.slide(fields, blocks)
    }

    fn slide(&mut self, fields: &Fields<'_>, blocks: Vec<bool>) -> Result<(), HubError> {
        let usual = match fields.is_null("sliding_window") {
            true => None,
            false => self.defaults().window,
        };
        let width = fields
            .integer("sliding_window", 1..=MAX_POSITIONS)?
            .or(usual);
        if blocks.contains(&true) {
            self.sliding_window = width.map(|width| SlidingWindow { width, blocks });
        }
        Ok(())
    }

    /// `layer_types`, which newer files have.
    fn listed_blocks(&self, fields: &Fields<'_>) -> Result<Option<Vec<bool>>, HubError> {
        let Some(list) = fields.get("layer_types") else {
            return Ok(None);
        };
        let kinds = list
            .as_array()
            .filter(|kinds| kinds.len() == self.num_hidden_layers);
        let Some(kinds) = kinds else {
            let problem = format!("is no list of {} entries", self.num_hidden_layers);
            return Err(fields.error("layer_types", problem));
        };
        let slides = |kind: &Value| match kind.as_str() {
            Some("sliding_attention") => Ok(true),
            Some("full_attention") => Ok(false),
            _ => Err(fields.error(
                "layer_types",
                format!("lists {}, an unknown kind", brief(kind)),
            )),
        };
        kinds.iter().map(slides).collect::<Result<_, _>>().map(Some)
    }
}
