//! `t81-qat evaluate`: perplexity of a t81 directory, comparable with llama-perplexity.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use t81_datasets::{
    evaluation_windows, load_tokenizer, read_text, scored_positions, tokenize_text,
};
use t81_hub::terminal::write_result;
use t81_hub::{SpecialTokens, T81Directory};

use crate::architecture::{check_block_size, decoder_config};
use crate::cli::EvaluateArguments;
use crate::command::Run;
use crate::device::workers;
use crate::error::QatError;
use crate::evaluation::{Evaluation, evaluate_windows};
use crate::inference::{Floats, InferenceModel, activation_precision};
use crate::output::{check_file, write_whole};
use crate::training::QatModel;

/// Tokens a window of llama-perplexity.
const LLAMA_CPP_CONTEXT: usize = 512;

pub(crate) fn run(arguments: &EvaluateArguments) -> Result<Run, QatError> {
    let directory = T81Directory::open(&arguments.directory)?;
    let config = decoder_config(directory.config(), directory.directory())?;
    let block_size = arguments
        .block_size
        .unwrap_or(LLAMA_CPP_CONTEXT.min(config.context_length()));
    check_block_size(block_size, &config)?;
    if scored_positions(block_size).is_empty() {
        return Err(QatError::NothingScored { block_size });
    }
    for output in [&arguments.ids_out, &arguments.logits_out]
        .into_iter()
        .flatten()
    {
        check_file(output, &[&arguments.directory, &arguments.text])?;
    }
    let device = Device::flex();
    let precision = activation_precision(arguments.activations, &directory);
    let model = InferenceModel::open(&directory, &config, precision, Floats::Exact, &device)?;
    let tokenizer = load_tokenizer(directory.directory(), config.vocab_size())?;
    let mut tokens = tokenize_text(&tokenizer, &read_text(&arguments.text)?)?;
    let first_token = beginning_of_sequence(&directory)?;
    if let Some(token) = first_token {
        tokens.insert(0, token);
    }
    let windows: Vec<Vec<u32>> = evaluation_windows(&tokens, block_size)?
        .take(arguments.max_windows.unwrap_or(usize::MAX))
        .map(|window| {
            let mut window = window.to_vec();
            if let Some(token) = first_token {
                window[0] = token;
            }
            window
        })
        .collect();

    if let Some(path) = &arguments.ids_out {
        let ids: Vec<String> = windows[0].iter().map(u32::to_string).collect();
        write_whole(path, (ids.join(" ") + "\n").as_bytes())?;
    }
    if let Some(path) = &arguments.logits_out {
        write_logits(path, &model, &windows[0])?;
    }
    let evaluation = perplexity(model, &windows)?;
    let line = format!(
        "perplexity {:.4}  loss {:.6}  windows {}  scored tokens {}\n",
        evaluation.perplexity(),
        evaluation.loss,
        windows.len(),
        evaluation.tokens
    );
    write_result(line.as_bytes())
        .map(drop)
        .map_err(QatError::file("write to", "standard output"))?;
    Ok(Run::Finished)
}

/// The token that llama.cpp puts before a text, if the tokenizer adds one.
fn beginning_of_sequence(directory: &T81Directory) -> Result<Option<u32>, QatError> {
    let tokenizer = t81_hub::Tokenizer::open(directory.directory())?;
    let special = SpecialTokens::new(&tokenizer, directory.config());
    Ok(special.begin.filter(|_| special.adds_begin))
}

/// Cross-entropy by the rule of llama-perplexity.
fn perplexity(model: InferenceModel, windows: &[Vec<u32>]) -> Result<Evaluation, QatError> {
    let model = match model {
        InferenceModel::Llama(model) => model,
        InferenceModel::Decoder(decoder, device) => {
            let workers = workers(std::slice::from_ref(&device), windows.len(), &decoder);
            return evaluate_windows(&QatModel::new(decoder, 0.0), windows, &workers);
        }
    };
    let (mut sum, mut tokens) = (0.0, 0);
    for window in windows {
        // Nothing predicts the first token.
        let scored = scored_positions(window.len());
        let scored = scored.start.max(1)..scored.end;
        tokens += scored.len();
        let losses = model.negative_log_likelihoods(window, scored);
        sum += losses.iter().sum::<f64>();
    }
    Evaluation::new(sum, tokens)
}

fn write_logits(path: &Path, model: &InferenceModel, window: &[u32]) -> Result<(), QatError> {
    let logits: Vec<f32> = match model {
        InferenceModel::Llama(model) => model.forward(window),
        InferenceModel::Decoder(decoder, device) => {
            let ids: Vec<i32> = window.iter().map(|&id| id as i32).collect();
            let shape = [1, ids.len()];
            let tokens = Tensor::from_data(TensorData::new(ids, shape), device);
            decoder.forward(tokens).into_data().iter::<f32>().collect()
        }
    };
    let bytes: Vec<u8> = logits.into_iter().flat_map(f32::to_le_bytes).collect();
    write_whole(path, &bytes)
}
