//! What ternary training costs: optimizer steps of the same decoder, float and ternary, in turns.
//!
//! `cargo bench -p t81-burn --bench step_overhead` (arguments: steps, rows a batch, tokens a row)

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Int, Tensor};
use t81_burn::models::llama::{Llama, LlamaConfig};
use t81_burn::{RampShape, Ternary, TernarySchedule};

struct Contestant {
    name: &'static str,
    model: Option<Llama>,
    optimizer: ModuleOptimizer,
    times: Vec<Duration>,
}

impl Contestant {
    fn new(name: &'static str, model: Llama) -> Self {
        Self {
            name,
            model: Some(model),
            optimizer: AdamWConfig::new().init(),
            times: Vec::new(),
        }
    }

    fn step(&mut self, tokens: &Tensor<2, Int>) {
        let start = Instant::now();
        let model = self.model.take().expect("a model between two steps");
        let [rows, length] = tokens.dims();
        let inputs = tokens.clone().slice([0..rows, 0..length - 1]);
        let targets = tokens.clone().slice([0..rows, 1..length]);
        let loss = model.forward_loss(inputs, targets, None);
        let gradients = GradientsParams::from_grads(loss.mean.backward(), &model);
        self.model = Some(self.optimizer.step(1e-4, model, gradients));
        self.times.push(start.elapsed());
    }

    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times[times.len() / 2]
    }
}

fn main() {
    let mut arguments = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let steps = arguments.next().unwrap_or(30);
    let rows = arguments.next().unwrap_or(8);
    let length = arguments.next().unwrap_or(128);

    let device = Device::flex().autodiff();
    let config = LlamaConfig::new(2048, 256, 768, 2, 4)
        .with_num_key_value_heads(Some(2))
        .with_tie_word_embeddings(true);
    let float = config.init(&device);
    let parameters = float.num_params();
    let (ternary, report) = Ternary::default().apply(float.clone());
    let blending = TernarySchedule::constant(0.7).with_blend_warmup(RampShape::Linear, 1_000_000);
    let (blended, _) = Ternary::default()
        .with_schedule(&blending)
        .apply(float.clone());
    println!("{parameters} parameters; {report}; {rows} x {length} tokens a step, AdamW, Flex");

    let distribution = Distribution::Uniform(0.0, 2048.0);
    let tokens = Tensor::<2>::random([rows, length + 1], distribution, &device.clone().inner());
    let tokens = Tensor::<2, Int>::from_data(tokens.int().into_data(), &device);
    let mut contestants = [
        Contestant::new("float", float),
        Contestant::new("ternary", ternary),
        Contestant::new("ternary, blended", blended),
    ];
    for step in 0..steps + 2 {
        for contestant in &mut contestants {
            contestant.step(&tokens);
        }
        // The first steps fill caches and the optimizer's state.
        if step < 2 {
            for contestant in &mut contestants {
                contestant.times.clear();
            }
        }
    }
    let float_times = contestants[0].times.clone();
    for contestant in &contestants {
        let mut ratios: Vec<f64> = contestant
            .times
            .iter()
            .zip(&float_times)
            .map(|(time, float)| time.as_secs_f64() / float.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "{:18} median {:7.1} ms a step, {:5.3} of float (median of the paired ratios; quartiles {:5.3} to {:5.3})",
            contestant.name,
            1e3 * contestant.median().as_secs_f64(),
            ratios[ratios.len() / 2],
            ratios[ratios.len() / 4],
            ratios[3 * ratios.len() / 4],
        );
    }
}
