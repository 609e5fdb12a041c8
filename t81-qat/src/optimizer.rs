//! The optimizer, and which parameters it treats apart.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;

use crate::training::QatModel;

/// AdamW's decay rates and epsilon, as language models are trained.
const BETAS: (f32, f32) = (0.9, 0.95);
const EPSILON: f32 = 1e-8;

/// AdamW whose weight decay spares vectors (norms and biases).
pub(crate) fn optimizer(model: &QatModel, weight_decay: f32) -> ModuleOptimizer {
    let config = AdamWConfig::new()
        .with_beta_1(BETAS.0)
        .with_beta_2(BETAS.1)
        .with_epsilon(EPSILON);
    let vectors = vector_parameters(model);
    let optimizer = config.clone().with_weight_decay(weight_decay).init();
    if weight_decay == 0.0 || vectors.is_empty() {
        return optimizer;
    }
    let spared = config.with_weight_decay(0.0).build();
    optimizer.with_group(ParamGroup::from_ids(vectors), spared, None)
}

/// Parameters of `Embedding` modules.
pub(crate) fn embedding_parameters(model: &QatModel) -> Vec<ParamId> {
    struct Embeddings {
        inside: Vec<bool>,
        found: Vec<ParamId>,
    }
    impl ModuleVisitor for Embeddings {
        fn enter_module(&mut self, _name: &str, container_type: &str) {
            self.inside.push(container_type == "Struct:Embedding");
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.inside.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.inside.last() == Some(&true) {
                self.found.push(param.id);
            }
        }
    }
    let mut embeddings = Embeddings {
        inside: Vec::new(),
        found: Vec::new(),
    };
    model.visit(&mut embeddings);
    embeddings.found
}

fn vector_parameters(model: &QatModel) -> Vec<ParamId> {
    struct Vectors(Vec<ParamId>);
    impl ModuleVisitor for Vectors {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D == 1 {
                self.0.push(param.id);
            }
        }
    }
    let mut vectors = Vectors(Vec::new());
    model.visit(&mut vectors);
    vectors.0
}
