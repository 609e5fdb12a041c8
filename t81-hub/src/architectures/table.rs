//! The language in which an architecture's tensors are written down: one row a layer, read like a table.

use t81_core::Layout;

use crate::ModelConfig;

/// A layer of an architecture: its name, shape and part in the model. `{}` in a name stands for the block's number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The Hugging Face name, without `.weight`.
    pub(crate) name: &'static str,
    /// The GGUF name, without `.weight`.
    pub(crate) gguf: &'static str,
    /// `[out, in]` of a matrix, `[width]` of a vector.
    shape: Shape,
    role: TensorRole,
    bias: Presence,
    present: Presence,
    layout: Layout,
    rotary: bool,
    offset: f32,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Vector(Width),
    Matrix(Width, Width),
}

/// A width of the model, by what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// The residual stream.
    Hidden,
    /// Inside the MLP.
    Inner,
    /// Gate and up projection in one.
    GateUp,
    /// All query heads.
    Queries,
    /// All key (or value) heads.
    Keys,
    /// Queries, keys and values in one.
    QueriesKeysValues,
    /// One head.
    Head,
    /// Tokens.
    Vocabulary,
    /// Positions.
    Positions,
}

impl Width {
    fn of(self, config: &ModelConfig) -> usize {
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        match self {
            Width::Hidden => config.hidden_size,
            Width::Inner => config.intermediate_size,
            Width::GateUp => 2 * config.intermediate_size,
            Width::Queries => queries,
            Width::Keys => keys,
            Width::QueriesKeysValues => queries + 2 * keys,
            Width::Head => config.head_dim,
            Width::Vocabulary => config.vocab_size,
            Width::Positions => config.max_position_embeddings,
        }
    }
}

/// Whether a tensor is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Always,
    Never,
    QueryBias,
    KeyBias,
    ValueBias,
    OutputBias,
    MlpBias,
    /// Unless the output matrix is the embedding.
    Untied,
}

impl Presence {
    fn holds(self, config: &ModelConfig) -> bool {
        match self {
            Presence::Always => true,
            Presence::Never => false,
            Presence::QueryBias => config.attention_bias.query,
            Presence::KeyBias => config.attention_bias.key,
            Presence::ValueBias => config.attention_bias.value,
            Presence::OutputBias => config.attention_bias.output,
            Presence::MlpBias => config.mlp_bias,
            Presence::Untied => !config.tie_word_embeddings,
        }
    }
}

const fn row(name: &'static str, gguf: &'static str, shape: Shape, role: TensorRole) -> Row {
    Row {
        name,
        gguf,
        shape,
        role,
        bias: Presence::Never,
        present: Presence::Always,
        layout: Layout::OutIn,
        rotary: false,
        offset: 0.0,
    }
}

/// A matrix of a block, which becomes ternary.
pub(crate) const fn linear(
    name: &'static str,
    gguf: &'static str,
    out: Width,
    input: Width,
) -> Row {
    row(name, gguf, Shape::Matrix(out, input), TensorRole::Linear)
}

/// The gain of a normalisation over `width` features.
pub(crate) const fn norm(name: &'static str, gguf: &'static str, width: Width) -> Row {
    row(name, gguf, Shape::Vector(width), TensorRole::Vector)
}

/// The token embedding.
pub(crate) const fn embedding(name: &'static str, gguf: &'static str) -> Row {
    let shape = Shape::Matrix(Width::Vocabulary, Width::Hidden);
    row(name, gguf, shape, TensorRole::Embedding)
}

/// The embedding of positions.
pub(crate) const fn positions(name: &'static str, gguf: &'static str) -> Row {
    let shape = Shape::Matrix(Width::Positions, Width::Hidden);
    row(name, gguf, shape, TensorRole::Positions)
}

/// The output matrix, absent where it is the token embedding.
pub(crate) const fn head(name: &'static str, gguf: &'static str) -> Row {
    let mut row = embedding(name, gguf);
    row.present = Presence::Untied;
    row
}

impl Row {
    /// Has a bias, where `presence` holds.
    pub(crate) const fn bias(mut self, presence: Presence) -> Self {
        self.bias = presence;
        self
    }

    /// Its rows are rotated by position, and llama.cpp wants the two halves of each head interleaved.
    pub(crate) const fn rotary(mut self) -> Self {
        self.rotary = true;
        self
    }

    /// The checkpoint stores it `[in, out]`.
    pub(crate) const fn transposed(mut self) -> Self {
        self.layout = Layout::InOut;
        self
    }

    /// GGUF holds its values with `offset` added.
    pub(crate) const fn plus(mut self, offset: f32) -> Self {
        self.offset = offset;
        self
    }

    fn is_in_block(&self) -> bool {
        self.name.contains("{}")
    }

    /// The tensors of this row in block `block`.
    fn specs(&self, config: &ModelConfig, block: usize, specs: &mut Vec<TensorSpec>) {
        if !self.present.holds(config) {
            return;
        }
        let block = block.to_string();
        let (name, gguf) = (
            self.name.replace("{}", &block),
            self.gguf.replace("{}", &block),
        );
        let shape = match self.shape {
            Shape::Vector(width) => vec![width.of(config)],
            Shape::Matrix(out, input) => vec![out.of(config), input.of(config)],
        };
        let rows = match (self.rotary, self.shape) {
            (true, Shape::Matrix(Width::Keys, _)) => RowOrder::RotaryPairs {
                heads: config.num_key_value_heads,
            },
            (true, _) => RowOrder::RotaryPairs {
                heads: config.num_attention_heads,
            },
            (false, _) => RowOrder::Unchanged,
        };
        if self.bias.holds(config) {
            specs.push(TensorSpec {
                name: format!("{name}.bias"),
                gguf: format!("{gguf}.bias"),
                shape: vec![shape[0]],
                layout: Layout::OutIn,
                role: TensorRole::Vector,
                rows,
                offset: 0.0,
            });
        }
        specs.push(TensorSpec {
            name: format!("{name}.weight"),
            gguf: format!("{gguf}.weight"),
            shape,
            layout: self.layout,
            role: self.role,
            rows,
            offset: self.offset,
        });
    }
}

/// The tensors of a whole model: rows before the blocks, the rows of each block, rows after them.
pub(super) fn expand(rows: &[Row], config: &ModelConfig) -> Vec<TensorSpec> {
    let first = rows.iter().position(Row::is_in_block).unwrap_or(rows.len());
    let last = rows
        .iter()
        .rposition(Row::is_in_block)
        .map_or(first, |last| last + 1);
    let mut specs = Vec::new();
    for row in &rows[..first] {
        row.specs(config, 0, &mut specs);
    }
    for block in 0..config.num_hidden_layers {
        for row in &rows[first..last] {
            row.specs(config, block, &mut specs);
        }
    }
    for row in &rows[last..] {
        row.specs(config, 0, &mut specs);
    }
    specs
}

/// A tensor that an architecture needs.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// The Hugging Face name.
    pub name: String,
    /// The name in a GGUF file.
    pub gguf: String,
    /// `[out, in]` of a matrix, whatever its layout; `[width]` of a vector.
    pub shape: Vec<usize>,
    /// How the checkpoint stores a matrix.
    pub layout: Layout,
    /// What the tensor is for.
    pub role: TensorRole,
    /// The order of its rows in a GGUF file.
    pub rows: RowOrder,
    /// What a GGUF file holds added to each value.
    pub offset: f32,
}

impl TensorSpec {
    /// The shape as the checkpoint stores it.
    pub fn stored_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.layout == Layout::InOut {
            shape.reverse();
        }
        shape
    }
}

/// What a tensor is for, which decides how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorRole {
    /// The matrix of a linear layer inside a block; the ones that become ternary.
    Linear,
    /// The token embedding or the output matrix.
    Embedding,
    /// The embedding of positions.
    Positions,
    /// A norm, bias or table of factors.
    Vector,
}

/// The order of a tensor's rows in a GGUF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// As in the checkpoint.
    Unchanged,
    /// Per head, the two halves that Hugging Face rotates together become neighbouring pairs, as llama.cpp's `llama`
    /// architecture rotates.
    RotaryPairs {
        /// Heads that the rows divide into.
        heads: usize,
    },
}

impl RowOrder {
    /// For each row of the file, the row of the checkpoint it comes from; none when no row moves.
    pub fn sources(self, rows: usize) -> Option<Vec<usize>> {
        match self {
            RowOrder::Unchanged => None,
            RowOrder::RotaryPairs { heads } => {
                let head_rows = rows / heads;
                let half = head_rows / 2;
                let source = |row: usize| {
                    let (head, within) = (row / head_rows, row % head_rows);
                    head * head_rows + (within % 2) * half + within / 2
                };
                Some((0..rows).map(source).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `reshape(heads, 2, dim / 2).swapaxes(1, 2)` written with explicit loops over the three axes.
    fn reshaped(rows: usize, heads: usize) -> Vec<usize> {
        let half = rows / heads / 2;
        let mut order = Vec::new();
        for head in 0..heads {
            for pair in 0..half {
                for side in 0..2 {
                    order.push(head * 2 * half + side * half + pair);
                }
            }
        }
        order
    }

    #[test]
    fn rotary_pairs_interleave_the_halves_of_each_head() {
        assert_eq!(
            RowOrder::RotaryPairs { heads: 2 }.sources(8),
            Some(vec![0, 2, 1, 3, 4, 6, 5, 7])
        );
        for (rows, heads) in [(8, 1), (8, 4), (576, 9), (192, 3)] {
            assert_eq!(
                RowOrder::RotaryPairs { heads }.sources(rows),
                Some(reshaped(rows, heads))
            );
        }
        assert_eq!(RowOrder::Unchanged.sources(8), None);
    }

    #[test]
    fn rotating_pairs_after_the_permutation_equals_rotating_halves_before_it() {
        let (heads, dim) = (3, 8);
        let rows = heads * dim;
        let hidden: Vec<f64> = (0..rows).map(|row| (row as f64 * 0.7).sin()).collect();
        let angle = |pair: usize| 0.3 / 10f64.powf(2.0 * pair as f64 / dim as f64);
        let rotate = |a: f64, b: f64, angle: f64| {
            (
                a * angle.cos() - b * angle.sin(),
                a * angle.sin() + b * angle.cos(),
            )
        };

        let mut halves = hidden.clone();
        for head in 0..heads {
            for pair in 0..dim / 2 {
                let (first, second) = (head * dim + pair, head * dim + dim / 2 + pair);
                (halves[first], halves[second]) =
                    rotate(hidden[first], hidden[second], angle(pair));
            }
        }
        let order = RowOrder::RotaryPairs { heads }.sources(rows).unwrap();
        let mut pairs: Vec<f64> = order.iter().map(|&row| hidden[row]).collect();
        for head in 0..heads {
            for pair in 0..dim / 2 {
                let first = head * dim + 2 * pair;
                (pairs[first], pairs[first + 1]) =
                    rotate(pairs[first], pairs[first + 1], angle(pair));
            }
        }
        let expected: Vec<f64> = order.iter().map(|&row| halves[row]).collect();
        assert_eq!(pairs, expected);
    }
}
