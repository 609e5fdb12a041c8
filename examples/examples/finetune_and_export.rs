//! From a float checkpoint to a GGUF file in Rust code: fine-tune with ternary weights, export, check, and open the result again.
//!
//! Without a checkpoint directory (Hugging Face's, of a Llama, Mistral or Qwen model) the example first trains a small float model
//! from scratch, a few steps long, and fine-tunes that.
//!
//! `cargo run -p t81-examples --example finetune_and_export [OUTPUT_DIR [CHECKPOINT_DIR [TEXT_FILE]]]`
//!
//! ```text
//! perplexity: ternary without training 1054.4, after 20 steps 410.8
//! check: 20 tensors, 0 problems
//! model.layers.0.mlp.up_proj.weight: TQ2_0 [256, 768], equal: true
//! ```

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor};
use clap::Parser;
use t81_examples::Failure;
use t81_gguf::{ExportOptions, QuantizeOptions, check, read_gguf, write_gguf};
use t81_hub::{T81Directory, T81Tensor};
use t81_qat::{Cli, Run, Summary, from_pretrained_t81, run_command};

/// Settings of a run of seconds. Leave them out for a real one: the defaults are for that.
const SHORT: [&str; 10] = [
    "--block-size",
    "32",
    "--per-device-train-batch-size",
    "4",
    "--max-train-samples",
    "200",
    "--max-eval-samples",
    "8",
    "--max-steps",
    "20",
];

/// A run of `t81-qat`; its arguments are those of the command line.
fn train(
    model: &Path,
    text: Option<&Path>,
    output: &Path,
    more: &[&str],
) -> Result<Summary, Failure> {
    let mut line: Vec<OsString> = vec!["t81-qat".into(), model.into()];
    match text {
        Some(file) => line.extend(["--train-file".into(), file.into()]),
        None => line.extend(["--dataset-name".into(), "stories".into()]),
    }
    line.extend(["--output-dir".into(), output.into()]);
    line.extend(SHORT.iter().chain(more).map(OsString::from));
    match run_command(Cli::try_parse_from(line)?)? {
        Run::Finished => Ok(serde_json::from_slice(&fs::read(
            output.join("summary.json"),
        )?)?),
        Run::Interrupted => Err("interrupted".into()),
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let scratch = tempfile::tempdir()?;
    let output = arguments
        .next()
        .unwrap_or_else(|| scratch.path().join("output"));
    let checkpoint = match arguments.next() {
        Some(directory) => directory,
        None => {
            // The recipe `float` leaves a checkpoint like any other: config.json, model.safetensors, tokenizer.json.
            println!("\n== a float model");
            let float = output.join("float");
            train(Path::new("tiny"), None, &float, &["--recipe", "float"])?;
            float.join("t81")
        }
    };

    println!("\n== fine-tuning {}", checkpoint.display());
    let run = output.join("ternary");
    let text = arguments.next();
    let summary = train(
        &checkpoint,
        text.as_deref(),
        &run,
        &["--lambda-warmup-steps", "5"],
    )?;
    println!(
        "perplexity: ternary without training {:.1}, after {} steps {:.1}",
        summary.before.ternary_perplexity, summary.steps, summary.perplexity
    );

    println!("\n== export");
    let path = output.join("model.gguf");
    // A t81 directory's codes and scales are kept: nothing is quantized anew.
    let exported = write_gguf(
        &run,
        &path,
        &QuantizeOptions::default(),
        &ExportOptions::default(),
    )?;
    println!("{exported}");
    let checked = check(&path)?;
    for problem in &checked.problems {
        println!("{}: {}", problem.subject, problem.message);
    }
    println!(
        "check: {} tensors, {} problems",
        checked.tensors,
        checked.problems.len()
    );

    println!("\n== the weights of the directory and of the file");
    let (directory, file) = (T81Directory::open(&run)?, read_gguf(&path)?);
    let name = "model.layers.0.mlp.up_proj.weight";
    if let (T81Tensor::Ternary(trained), Some(tensor)) =
        (directory.get(name)?, file.tensor("blk.0.ffn_up.weight"))
    {
        let same = tensor.to_f32()? == trained.dequantize();
        println!(
            "{name}: {} {:?}, equal: {same}",
            tensor.info.tensor_type, tensor.info.dimensions
        );
    }

    println!("\n== the result as a Burn model");
    let device = Device::flex();
    let model = from_pretrained_t81(&run, &device)?;
    let tokens = Tensor::<2, Int>::from_data([[0, 1, 2, 3]], &device);
    println!("logits: {:?}", model.forward(tokens).dims());
    Ok(())
}
