//! Walks a decoder and gives each of its parameters its name and shape in a Hugging Face checkpoint.

use super::weights::{LoadWeightsError, Weight, WeightLayout, WeightSpec, transposed};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use std::error::Error;

/// Container type under which Burn visits what a reparameterization adds to a parameter.
const REPARAMETERIZATION: &str = "Reparameterization";

/// Field of the output head, which every checkpoint keeps beside the decoder.
const HEAD: &str = "lm_head";

/// How a decoder's parameters are called and laid out in a Hugging Face checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming {
    /// What precedes the path of every parameter outside the output head.
    pub(super) prefix: &'static str,
    /// Order of the matrices of the linear layers outside the output head.
    pub(super) linear: WeightLayout,
}

impl Naming {
    /// Hugging Face name of the parameter at `path`.
    pub(super) fn hugging_face_name(self, path: &str) -> String {
        let (stem, field) = path.rsplit_once('.').unwrap_or(("", path));
        let path = match field {
            "gamma" => format!("{stem}.weight"),
            "beta" => format!("{stem}.bias"),
            _ => path.to_owned(),
        };
        if path.split('.').next() == Some(HEAD) {
            path
        } else {
            format!("{}{path}", self.prefix)
        }
    }
}

/// Replaces every weight of `model` by what `source` gives for its name.
pub(super) fn load_weights<M, F, E>(
    model: M,
    naming: Naming,
    source: F,
) -> Result<M, LoadWeightsError>
where
    M: Module,
    F: FnMut(&str) -> Result<(Vec<usize>, Vec<f32>), E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut loader = Loader {
        path: WeightPath::new(naming),
        source,
        error: None,
    };
    let model = model.map(&mut loader);
    match loader.error {
        None => Ok(model),
        Some(error) => Err(error),
    }
}

/// Gives each weight of `model` to `receive` until it fails.
pub(super) fn visit_weights<M, F, E>(model: &M, naming: Naming, receive: F) -> Result<(), E>
where
    M: Module,
    F: FnMut(Weight) -> Result<(), E>,
{
    let mut reader = Reader {
        path: WeightPath::new(naming),
        receive,
        outcome: Ok(()),
    };
    model.visit(&mut reader);
    reader.outcome
}

/// Names and shapes of all weights of `model`.
pub(super) fn weight_specs<M: Module>(model: &M, naming: Naming) -> Vec<WeightSpec> {
    let mut lister = Lister {
        path: WeightPath::new(naming),
        specs: Vec::new(),
    };
    model.visit(&mut lister);
    lister.specs
}

/// Where a traversal is, and whether there is a weight of the model or part of a reparameterization.
struct WeightPath {
    naming: Naming,
    /// Name of the field and type of the module that it is in.
    steps: Vec<(String, String)>,
    reparameterizations: usize,
}

impl WeightPath {
    fn new(naming: Naming) -> Self {
        Self {
            naming,
            steps: Vec::new(),
            reparameterizations: 0,
        }
    }

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
        let layout = if !in_linear || shape.len() != 2 {
            WeightLayout::HuggingFace
        } else if names[0] == HEAD {
            WeightLayout::Transposed
        } else {
            self.naming.linear
        };
        if layout == WeightLayout::Transposed {
            shape.reverse();
        }
        Some(WeightSpec {
            name: self.naming.hugging_face_name(&names.join(".")),
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
