//! Whether a training step can fit into memory at all.

use std::fs;
use std::path::Path;

use t81_burn::models::DecoderConfig;

use crate::error::QatError;
use crate::settings::RunSettings;

const GIGABYTE: f64 = 1e9;

/// Least numbers of floats that a training step keeps for the backward pass.
struct Activations {
    /// Of each token in each layer: the inputs of the products, the states between them and the attention weights.
    token_layer: usize,
    /// Of each token between two layers.
    hidden: usize,
    layers: usize,
}

impl Activations {
    fn new(config: &DecoderConfig, block_size: usize) -> Self {
        let (hidden, layers, feed_forward, heads) = match config {
            DecoderConfig::Llama(config) => (
                config.hidden_size,
                config.num_hidden_layers,
                3 * config.intermediate_size,
                config.num_attention_heads,
            ),
            DecoderConfig::Gpt2(config) => (
                config.n_embd,
                config.n_layer,
                2 * config.n_inner.unwrap_or(4 * config.n_embd),
                config.n_head,
            ),
        };
        Self {
            token_layer: 5 * hidden + feed_forward + heads * block_size,
            hidden,
            layers,
        }
    }

    /// Of one token in all layers.
    fn token(&self, gradient_checkpointing: bool) -> usize {
        match gradient_checkpointing {
            true => self.hidden * self.layers + self.token_layer,
            false => self.token_layer * self.layers,
        }
    }
}

/// Fails if a step of a model of `parameters` weights cannot fit into `available` bytes: a lower bound of what it needs, so that
/// no run is refused that would have fitted.
///
/// `bytes_per_activation` is 2 where products are computed in 16 bits, else 4.
///
/// # Errors
///
/// [`QatError::Memory`], with the flags that help.
pub(crate) fn check_memory(
    config: &DecoderConfig,
    parameters: usize,
    settings: &RunSettings,
    gradient_checkpointing: bool,
    bytes_per_activation: usize,
    available: Option<u64>,
) -> Result<(), QatError> {
    let Some(available) = available else {
        return Ok(());
    };
    let available = available as f64;
    // Weights, gradients and the two moments of AdamW in f32.
    let fixed = 16.0 * parameters as f64;
    let activations = Activations::new(config, settings.block_size);
    let block = |checkpointing| {
        settings.block_size as f64
            * activations.token(checkpointing) as f64
            * bytes_per_activation as f64
    };
    let batch_size = settings.per_device_train_batch_size;
    let needed = |checkpointing| fixed + batch_size as f64 * block(checkpointing);
    if needed(gradient_checkpointing) <= available {
        return Ok(());
    }
    let fits = ((available - fixed) / block(gradient_checkpointing)) as usize;
    let mut advice = match fits {
        0 => format!(
            "the model takes {:.1} GB of them; a smaller --block-size helps, or a smaller model",
            fixed / GIGABYTE
        ),
        // The bound is low, and other things want memory too.
        _ => format!(
            "try --per-device-train-batch-size {}, and --gradient-accumulation-steps for the same step",
            (fits / 2).max(1)
        ),
    };
    if !gradient_checkpointing && needed(true) <= available {
        advice.push_str(", or --gradient-checkpointing");
    }
    Err(QatError::Memory {
        needed: needed(gradient_checkpointing) / GIGABYTE,
        available: available / GIGABYTE,
        advice,
    })
}

/// Bytes that this process can still get: what the system has available, within the limit of its control group. `None` if the
/// system does not say (anything but Linux).
pub(crate) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    let system = 1024 * kilobytes;
    Some(control_group_memory().map_or(system, |group| group.min(system)))
}

/// The least room in the control groups of this process (version 2).
fn control_group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number =
        |path: &Path| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    Path::new(group)
        .ancestors()
        .filter_map(|group| {
            let directory = Path::new("/sys/fs/cgroup").join(group);
            let limit = number(&directory.join("memory.max"))?;
            let current = number(&directory.join("memory.current"))?;
            Some(limit.saturating_sub(current))
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;
    use t81_burn::models::llama::LlamaConfig;

    fn check(batch_size: &str, checkpointing: bool, available: u64) -> Result<(), String> {
        let line = [
            "t81-qat",
            "tiny",
            "--dataset-name",
            "stories",
            "--output-dir",
            "x",
            "--per-device-train-batch-size",
            batch_size,
        ];
        let arguments = Cli::parse_from(line).train.unwrap();
        let settings = RunSettings::resolve(&arguments, 512, 100_000, 64, false);
        // SmolLM2-135M
        let config = LlamaConfig::new(49_152, 576, 1536, 30, 9).with_num_key_value_heads(Some(3));
        let config = DecoderConfig::Llama(config);
        check_memory(
            &config,
            134_515_008,
            &settings,
            checkpointing,
            4,
            Some(available),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn a_batch_that_cannot_fit_is_refused_with_the_flags_that_help() {
        let gigabytes = 1_000_000_000;
        // Such a batch took 23.0 GB on a GPU in 16 bits, 7.3 GB with checkpointing.
        check("32", false, 30 * gigabytes).unwrap();
        let error = check("100000", false, 24 * gigabytes).unwrap_err();
        assert!(error.contains("24.0 GB are available"), "{error}");
        assert!(
            error.contains("--per-device-train-batch-size 14,"),
            "{error}"
        );
        assert!(!error.contains("--gradient-checkpointing"), "{error}");
        let error = check("64", false, 24 * gigabytes).unwrap_err();
        assert!(error.contains("--gradient-checkpointing"), "{error}");
        check("64", true, 24 * gigabytes).unwrap();
        let error = check("1", false, gigabytes).unwrap_err();
        assert!(error.contains("--block-size"), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_what_is_available() {
        assert!(available_memory().unwrap() > 1 << 20);
    }
}
