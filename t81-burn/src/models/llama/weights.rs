use super::model::Llama;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use std::error::Error;
use thiserror::Error as ThisError;

/// Container type under which Burn visits what a reparameterization adds to a parameter.
const REPARAMETERIZATION: &str = "Reparameterization";

/// Rows and columns transposed together, small enough for both to stay in the first cache level.
const TRANSPOSED_BLOCK: usize = 32;

/// Order of the values of a [`Weight`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// Row-major in the Hugging Face shape.
    HuggingFace,
    /// Row-major `[in, out]` of a Hugging Face `[out, in]` matrix, as Burn's linear layers keep it.
    Transposed,
}

/// Name and shape of a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// Hugging Face name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Hugging Face shape, `[out, in]` for a matrix.
    pub shape: Vec<usize>,
    /// Order in which the model keeps its values.
    pub layout: WeightLayout,
}

/// A weight read out of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Name, shape and order of the values.
    pub spec: WeightSpec,
    /// The values in `spec.layout`.
    pub values: Vec<f32>,
}

impl Weight {
    /// The values, row-major in the Hugging Face shape.
    pub fn into_hugging_face_order(self) -> Vec<f32> {
        match (self.spec.layout, self.spec.shape.as_slice()) {
            (WeightLayout::Transposed, &[outputs, inputs]) => {
                transposed(&self.values, inputs, outputs)
            }
            _ => self.values,
        }
    }
}

/// Why a model could not be filled.
#[derive(Debug, ThisError)]
pub enum LoadWeightsError {
    /// The source of the weights does not have one or could not read it.
    #[error("cannot load `{name}`: {source}")]
    Source {
        /// Hugging Face name of the weight.
        name: String,
        /// What the source said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A weight does not fit the configuration of the model.
    #[error("`{name}` has shape {found:?}, but the model's configuration asks for {expected:?}")]
    Shape {
        /// Hugging Face name of the weight.
        name: String,
        /// Shape that the model has.
        expected: Vec<usize>,
        /// Shape that the source gave.
        found: Vec<usize>,
    },
    /// The source gave more or fewer values than its shape says.
    #[error("`{name}` has {found} values, but its shape asks for {expected}")]
    Length {
        /// Hugging Face name of the weight.
        name: String,
        /// Number of values of the shape.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
}

impl Llama {
    /// Replaces every weight by what `source` gives for its Hugging Face name: the shape and the values, row-major.
    ///
    /// A tied model does not ask for `lm_head.weight`. On a reparameterized model this sets the float base weights and leaves
    /// the state of the reparameterization alone. Gradient settings, devices and float types stay as they are.
    ///
    /// # Errors
    /// The first weight that `source` cannot give or that does not fit.
    pub fn load_weights<F, E>(self, source: F) -> Result<Self, LoadWeightsError>
    where
        F: FnMut(&str) -> Result<(Vec<usize>, Vec<f32>), E>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut loader = Loader {
            path: WeightPath::default(),
            source,
            error: None,
        };
        let model = self.map(&mut loader);
        match loader.error {
            None => Ok(model),
            Some(error) => Err(error),
        }
    }

    /// Gives each weight to `receive`, one at a time so that the model is never copied whole.
    ///
    /// On a reparameterized model these are the float base weights; for the effective ones visit
    /// `model.valid().materialize()`.
    ///
    /// # Errors
    /// The first error of `receive`, which is called no more after it.
    pub fn visit_weights<F, E>(&self, receive: F) -> Result<(), E>
    where
        F: FnMut(Weight) -> Result<(), E>,
    {
        let mut reader = Reader {
            path: WeightPath::default(),
            receive,
            outcome: Ok(()),
        };
        self.visit(&mut reader);
        reader.outcome
    }

    /// Names and shapes of all weights, in the order of [`visit_weights`](Self::visit_weights).
    pub fn weight_specs(&self) -> Vec<WeightSpec> {
        let mut lister = Lister {
            path: WeightPath::default(),
            specs: Vec::new(),
        };
        self.visit(&mut lister);
        lister.specs
    }
}

/// Hugging Face name of the parameter at `path` of a [`Llama`]: `layers.0.input_layernorm.gamma` is
/// `model.layers.0.input_layernorm.weight`.
pub fn hugging_face_name(path: &str) -> String {
    let path = match path.strip_suffix(".gamma") {
        Some(stem) => format!("{stem}.weight"),
        None => path.to_owned(),
    };
    if path.starts_with("lm_head.") {
        path
    } else {
        format!("model.{path}")
    }
}

/// Where a traversal is, and whether there is a weight of the model or part of a reparameterization.
#[derive(Default)]
struct WeightPath {
    /// Name of the field and type of the module that it is in.
    steps: Vec<(String, String)>,
    reparameterizations: usize,
}

impl WeightPath {
    fn enter(&mut self, name: &str, container: &str) {
        self.reparameterizations += usize::from(container == REPARAMETERIZATION);
        self.steps.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self, container: &str) {
        self.reparameterizations -= usize::from(container == REPARAMETERIZATION);
        self.steps.pop();
    }

    /// The weight at this place, whose Burn shape is `shape`.
    fn spec(&self, shape: &[usize]) -> Option<WeightSpec> {
        if self.reparameterizations > 0 {
            return None;
        }
        let names: Vec<&str> = self.steps.iter().map(|(name, _)| name.as_str()).collect();
        let in_linear = self
            .steps
            .last()
            .is_some_and(|(_, container)| container == "Struct:Linear");
        let mut shape = shape.to_vec();
        let layout = if in_linear && shape.len() == 2 {
            shape.reverse();
            WeightLayout::Transposed
        } else {
            WeightLayout::HuggingFace
        };
        Some(WeightSpec {
            name: hugging_face_name(&names.join(".")),
            shape,
            layout,
        })
    }
}

struct Loader<F> {
    path: WeightPath,
    source: F,
    error: Option<LoadWeightsError>,
}

impl<F, E> Loader<F>
where
    F: FnMut(&str) -> Result<(Vec<usize>, Vec<f32>), E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    /// The values of `spec` in the order in which the model keeps them.
    fn values(&mut self, spec: WeightSpec) -> Result<Vec<f32>, LoadWeightsError> {
        let WeightSpec {
            name,
            shape: expected,
            layout,
        } = spec;
        let (found, values) = match (self.source)(&name) {
            Ok(given) => given,
            Err(error) => {
                return Err(LoadWeightsError::Source {
                    name,
                    source: error.into(),
                });
            }
        };
        if found != expected {
            return Err(LoadWeightsError::Shape {
                name,
                expected,
                found,
            });
        }
        let length: usize = expected.iter().product();
        if values.len() != length {
            return Err(LoadWeightsError::Length {
                name,
                expected: length,
                found: values.len(),
            });
        }
        Ok(match (layout, expected.as_slice()) {
            (WeightLayout::Transposed, &[outputs, inputs]) => transposed(&values, outputs, inputs),
            _ => values,
        })
    }
}

impl<F, E> ModuleMapper for Loader<F>
where
    F: FnMut(&str) -> Result<(Vec<usize>, Vec<f32>), E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let Some(spec) = self.path.spec(shape.as_slice()) else {
            return param;
        };
        if self.error.is_some() {
            return param;
        }
        match self.values(spec) {
            Ok(values) => {
                let data = TensorData::new(values, shape);
                let device = param.lazy_device();
                // A parameter that was never used has no float type of its own yet: it gets the device's.
                let tensor = if param.is_initialized() {
                    Tensor::from_data(data, (&device, param.dtype()))
                } else {
                    Tensor::from_data(data, &device)
                };
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

struct Reader<F, E> {
    path: WeightPath,
    receive: F,
    outcome: Result<(), E>,
}

impl<F: FnMut(Weight) -> Result<(), E>, E> ModuleVisitor for Reader<F, E> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.outcome.is_err() {
            return;
        }
        if let Some(spec) = self.path.spec(param.lazy_shape().as_slice()) {
            let values = param.base().inner().cast(DType::F32).into_data();
            let values = values
                .try_into_vec()
                .expect("a tensor cast to f32 holds f32");
            self.outcome = (self.receive)(Weight { spec, values });
        }
    }
}

struct Lister {
    path: WeightPath,
    specs: Vec<WeightSpec>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.specs
            .extend(self.path.spec(param.lazy_shape().as_slice()));
    }
}

/// Row-major `[rows, columns]` to row-major `[columns, rows]`, block by block so that both sides stay in the cache.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut output = vec![0.0; values.len()];
    for top in (0..rows).step_by(TRANSPOSED_BLOCK) {
        for left in (0..columns).step_by(TRANSPOSED_BLOCK) {
            for column in left..(left + TRANSPOSED_BLOCK).min(columns) {
                for row in top..(top + TRANSPOSED_BLOCK).min(rows) {
                    output[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes_shapes_beyond_a_block() {
        let (rows, columns) = (67, 35);
        let values: Vec<f32> = (0..rows * columns).map(|index| index as f32).collect();
        let output = transposed(&values, rows, columns);
        assert_eq!(output[0], 0.0);
        assert_eq!(output[1], columns as f32);
        assert_eq!(output[34 * rows + 66], (66 * columns + 34) as f32);
        assert_eq!(transposed(&output, columns, rows), values);
    }

    #[test]
    fn names_follow_hugging_face() {
        assert_eq!(hugging_face_name("lm_head.weight"), "lm_head.weight");
        assert_eq!(hugging_face_name("norm.gamma"), "model.norm.weight");
        assert_eq!(
            hugging_face_name("layers.3.self_attn.q_proj.bias"),
            "model.layers.3.self_attn.q_proj.bias"
        );
    }
}
