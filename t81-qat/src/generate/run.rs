//! `t81-qat generate`: continues a prompt on standard output.

use std::ops::ControlFlow;
use std::time::Duration;

use t81_hub::terminal::{print_error, write_result};

use super::model::GenerationModel;
use super::{Continuation, Limits, Sampler, Sampling, TextStream, encode_prompt};
use crate::cli::GenerateArguments;
use crate::command::Run;
use crate::device;
use crate::error::QatError;

pub(crate) fn run(arguments: &GenerateArguments) -> Result<Run, QatError> {
    let device = device::open(arguments.device, 1)?.swap_remove(0);
    let revision = arguments.revision.as_deref();
    let model = GenerationModel::open(&arguments.model, revision, arguments.activations, &device)?;
    let prompt = encode_prompt(&model.tokenizer, &arguments.prompt, model.bounds.first)?;
    let limits = Limits {
        max_new_tokens: arguments.max_new_tokens,
        context_length: model.config.context_length(),
        stop_tokens: match arguments.stop_at_eos {
            true => &model.bounds.stop,
            false => &[],
        },
    };
    let mut sampler = Sampler::new(Sampling {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        repetition_penalty: arguments.repetition_penalty,
        seed: arguments.seed,
    });

    if arguments.temperature == 0.0 && arguments.top_p < 1.0 {
        print_error(
            "note: --top-p draws nothing at --temperature 0; pass a temperature such as 0.8",
        );
    }
    let mut text = TextStream::new(&model.tokenizer, &prompt);
    let mut listens = !say(&arguments.prompt)?.is_break();
    let done = Continuation::generate(
        model.model.sequence(limits.context_length),
        &prompt,
        limits,
        &mut sampler,
        |token| {
            let flow = say(&text.push(token)?)?;
            listens = flow.is_continue();
            Ok(flow)
        },
    )?;
    if listens {
        let _ = say(&(text.finish()? + "\n"))?;
    }
    if done.context_is_full {
        print_error(format_args!(
            "note: the model's context of {} tokens is full",
            limits.context_length
        ));
    }
    print_error(format_args!(
        "prompt: {} tokens, {}; generated: {} tokens, {}",
        done.prompt_tokens,
        speed(done.prompt_tokens, done.prompt_time),
        done.tokens,
        // The first one comes with the prompt.
        speed(done.tokens.saturating_sub(1), done.time),
    ));
    Ok(Run::Finished)
}

/// Writes `text` at once; breaks if nobody reads any more, as `head` does.
fn say(text: &str) -> Result<ControlFlow<()>, QatError> {
    write_result(text.as_bytes()).map_err(QatError::file("write to", "standard output"))
}

fn speed(tokens: usize, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match tokens > 0 && seconds > 0.0 {
        true => format!("{:.1} tokens/s", tokens as f64 / seconds),
        false => "too few to time".to_string(),
    }
}
