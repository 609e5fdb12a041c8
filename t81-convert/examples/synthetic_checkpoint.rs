//! Writes a checkpoint of made-up weights in the shape of a real llama model, for measuring memory and speed.
//!
//! ```text
//! cargo run --release -p t81-convert --example synthetic_checkpoint -- DIR [--shape 7b] [--layers N] [--shards 3]
//! ```
//!
//! The weights are bell-shaped BF16 numbers from a fixed seed, the tokenizer is a byte-level BPE of the model's
//! vocabulary size. It has nothing to say, but it takes as long and as much memory as the model whose shape it has.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use half::bf16;
use serde_json::{Map, Value, json};
use t81_hub::ModelConfig;

/// Write a checkpoint of made-up weights in the shape of a real llama model
#[derive(Debug, Parser)]
struct Arguments {
    /// The directory to make
    directory: PathBuf,
    /// The model whose shape it gets
    #[arg(long, value_enum, default_value_t = Shape::Llama2)]
    shape: Shape,
    /// Blocks [default: as many as the model has]
    #[arg(long)]
    layers: Option<usize>,
    /// Files that the weights are spread over
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=999))]
    shards: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    /// Llama 3.2 1B: 1.24 billion weights, 2.5 GB
    #[value(name = "1b")]
    Llama32,
    /// Llama 2 7B: 6.74 billion weights, 13.5 GB
    #[value(name = "7b")]
    Llama2,
    /// Llama 3.1 8B: 8.03 billion weights, 16.1 GB
    #[value(name = "8b")]
    Llama31,
}

impl Shape {
    fn config(self, layers: Option<usize>) -> Value {
        // hidden, intermediate, layers, key-value heads, vocabulary, tied embedding, rotary base
        let (hidden, intermediate, depth, kv_heads, vocabulary, tied, theta) = match self {
            Self::Llama32 => (2048, 8192, 16, 8, 128_256, true, 500_000.0),
            Self::Llama2 => (4096, 11_008, 32, 32, 32_000, false, 10_000.0),
            Self::Llama31 => (4096, 14_336, 32, 8, 128_256, false, 500_000.0),
        };
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
            "hidden_size": hidden, "intermediate_size": intermediate,
            "num_hidden_layers": layers.unwrap_or(depth), "num_attention_heads": 32,
            "num_key_value_heads": kv_heads, "vocab_size": vocabulary, "max_position_embeddings": 4096,
            "rope_theta": theta, "rms_norm_eps": 1e-5, "hidden_act": "silu", "attention_bias": false,
            "tie_word_embeddings": tied, "bos_token_id": 0, "eos_token_id": 0,
        })
    }
}

type Tensor = (String, Vec<usize>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let directory = &arguments.directory;
    let config = arguments.shape.config(arguments.layers);
    fs::create_dir_all(directory)?;
    fs::write(
        directory.join("config.json"),
        serde_json::to_vec_pretty(&config)?,
    )?;
    let vocabulary = config["vocab_size"].as_u64().unwrap_or_default() as usize;
    fs::write(
        directory.join("tokenizer.json"),
        tokenizer(vocabulary).to_string(),
    )?;
    fs::write(
        directory.join("tokenizer_config.json"),
        r#"{"bos_token": "<|endoftext|>"}"#,
    )?;
    let tensors = ModelConfig::from_json(config)?.expected_tensors();
    let total: usize = tensors.iter().map(bytes).sum();
    let mut weight_map = Map::new();
    let mut rest = tensors.as_slice();
    for shard in 1..=arguments.shards {
        let name = format!("model-{shard:05}-of-{:05}.safetensors", arguments.shards);
        let wanted = total as u64 / arguments.shards;
        let mut size = 0;
        let end = rest
            .iter()
            .position(|tensor| {
                let full = size >= wanted && shard < arguments.shards;
                size += bytes(tensor) as u64;
                full
            })
            .unwrap_or(rest.len());
        let (here, later) = rest.split_at(end);
        write_shard(&directory.join(&name), here)?;
        weight_map.extend(here.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
        rest = later;
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    fs::write(
        directory.join("model.safetensors.index.json"),
        index.to_string(),
    )?;
    println!(
        "{}: {} tensors, {:.2} billion weights, {:.2} GB",
        directory.display(),
        tensors.len(),
        total as f64 / 2e9,
        total as f64 / 1e9
    );
    Ok(())
}

fn bytes((_, shape): &Tensor) -> usize {
    2 * shape.iter().product::<usize>()
}

fn write_shard(path: &Path, tensors: &[Tensor]) -> io::Result<()> {
    let mut header = Map::new();
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + bytes(tensor);
        let (name, shape) = tensor;
        let info = json!({"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]});
        header.insert(name.clone(), info);
        offset = end;
    }
    let header = Value::Object(header).to_string();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut random = Random(0x7e57);
    let mut buffer = Vec::new();
    for tensor in tensors {
        // The deviation of an initialisation by width; norms are near one.
        let (scale, centre) = match tensor.1[..] {
            [_, columns] => ((columns as f32).sqrt().recip(), 0.0),
            _ => (0.05, 1.0),
        };
        let mut left = bytes(tensor) / 2;
        while left > 0 {
            let count = left.min(1 << 16);
            buffer.clear();
            for _ in 0..count {
                let weight = bf16::from_f32(centre + scale * random.bell());
                buffer.extend_from_slice(&weight.to_le_bytes());
            }
            file.write_all(&buffer)?;
            left -= count;
        }
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

/// xorshift64*.
struct Random(u64);

impl Random {
    /// The sum of four uniform numbers, of deviation 1: close to a normal distribution.
    fn bell(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let parts = [0, 16, 32, 48].map(|shift| (word >> shift & 0xffff) as f32 / 65_536.0);
        (parts.into_iter().sum::<f32>() - 2.0) * 3.0_f32.sqrt()
    }
}

/// A byte-level BPE of `size` tokens: the bytes, then merges of pairs and triples of them.
fn tokenizer(size: usize) -> Value {
    let letters: Vec<String> = byte_letters().map(String::from).collect();
    let mut vocabulary = Map::new();
    vocabulary.insert("<|endoftext|>".into(), json!(0));
    for letter in &letters {
        vocabulary.insert(letter.clone(), json!(vocabulary.len()));
    }
    let pairs = letters
        .iter()
        .flat_map(|one| letters.iter().map(move |two| (one.clone(), two.clone())));
    let triples = pairs.clone().flat_map(|(one, two)| {
        let pair = one + &two;
        letters
            .iter()
            .map(move |three| (pair.clone(), three.clone()))
    });
    let wanted = size.saturating_sub(vocabulary.len());
    let mut merges = Vec::with_capacity(wanted);
    for (left, right) in pairs.chain(triples).take(wanted) {
        merges.push(json!(format!("{left} {right}")));
        vocabulary.insert(left + &right, json!(vocabulary.len()));
    }
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    })
}

/// The letters by which byte-level BPE spells the 256 bytes.
fn byte_letters() -> impl Iterator<Item = char> {
    let printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let others = (0..256).filter(move |byte| !printable(byte)).count() as u32;
    (0..256)
        .filter(printable)
        .chain(256..256 + others)
        .filter_map(char::from_u32)
}
