//! A small valid model and what can be done to it.

use half::f16;

use super::bytes::Bytes;

/// Features of the model.
const WIDTH: u64 = 256;
/// Features inside the feed-forward network.
const INNER: u64 = 32;

/// A llama of one layer with a tensor of every ternary type and three quantized ones.
pub(crate) fn sample() -> Bytes {
    let half = |value: f32| f16::from_f32(value).to_le_bytes();
    let floats = |count: usize, value: f32| value.to_le_bytes().repeat(count);
    // Blocks of 256 weights: all codes +1, scale 1.
    let tq1_0 = [vec![0xff; 48], vec![0xfd; 4], half(1.0).to_vec()].concat();
    let tq2_0 = [vec![0xaa; 64], half(1.0).to_vec()].concat();
    let q2_0 = [&half(1.0)[..], &[0xaa; 16]].concat().repeat(4);
    let q8_0 = [&half(0.5)[..], &[3; 32]].concat().repeat(8);
    let q4_k = [&half(0.5)[..], &half(0.25), &[0x55; 140]].concat();
    let q4_1 = [&half(0.5)[..], &half(0.25), &[0x5a; 16]].concat();
    let f16 = half(0.5).repeat(WIDTH as usize);
    let rows = |row: &[u8], count: u64| row.repeat(count as usize);
    let tensors: Vec<(&str, Vec<u64>, u32, Vec<u8>)> = vec![
        ("token_embd.weight", vec![WIDTH, 3], 1, rows(&f16, 3)),
        ("blk.0.attn_q.weight", vec![WIDTH, 4], 34, rows(&tq1_0, 4)),
        ("blk.0.attn_k.weight", vec![WIDTH, 4], 35, rows(&tq2_0, 4)),
        ("blk.0.attn_v.weight", vec![WIDTH, 4], 42, rows(&q2_0, 4)),
        (
            "blk.0.attn_output.weight",
            vec![4, WIDTH],
            0,
            floats(4 * WIDTH as usize, 0.5),
        ),
        (
            "blk.0.ffn_gate.weight",
            vec![WIDTH, INNER],
            8,
            rows(&q8_0, INNER),
        ),
        (
            "blk.0.ffn_up.weight",
            vec![WIDTH, INNER],
            12,
            rows(&q4_k, INNER),
        ),
        (
            "blk.0.ffn_down.weight",
            vec![INNER, WIDTH],
            3,
            rows(&q4_1, WIDTH),
        ),
        (
            "blk.0.attn_norm.weight",
            vec![WIDTH],
            0,
            floats(WIDTH as usize, 1.0),
        ),
        (
            "blk.0.ffn_norm.weight",
            vec![WIDTH],
            0,
            floats(WIDTH as usize, 1.0),
        ),
        (
            "output_norm.weight",
            vec![WIDTH],
            0,
            floats(WIDTH as usize, 1.0),
        ),
    ];
    let tokens = ["a", "b", "ab"].map(str::to_owned);
    let mut bytes = Bytes::header(tensors.len() as u64, 16)
        .entry("general.architecture", 8, &with_length("llama"))
        .entry("general.alignment", 4, &32u32.to_le_bytes());
    for (key, value) in [
        ("llama.block_count", 1u32),
        ("llama.context_length", 16),
        ("llama.embedding_length", WIDTH as u32),
        ("llama.feed_forward_length", INNER as u32),
        ("llama.attention.head_count", 2),
        ("llama.attention.key_length", 2),
        ("llama.attention.value_length", 2),
        ("tokenizer.ggml.eos_token_id", 0),
    ] {
        bytes = bytes.entry(key, 4, &value.to_le_bytes());
    }
    bytes = bytes
        .entry(
            "llama.attention.layer_norm_rms_epsilon",
            6,
            &1e-5f32.to_le_bytes(),
        )
        .entry("tokenizer.ggml.model", 8, &with_length("gpt2"))
        .entry("tokenizer.ggml.pre", 8, &with_length("smollm"))
        .texts("tokenizer.ggml.tokens", &tokens)
        .texts("tokenizer.ggml.merges", &["a b".to_owned()])
        .entry("nested", 9, &nested(2));
    let mut offset = 0;
    for (name, dimensions, kind, data) in &tensors {
        bytes = bytes.tensor(name, dimensions, *kind, offset);
        offset += (data.len() as u64).next_multiple_of(32);
    }
    for (name, _, _, data) in &tensors {
        bytes = bytes
            .pad(&format!("padding before {name}"))
            .raw(&format!("data of {name}"), data);
    }
    bytes
}

fn with_length(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// An array in an array, and so on, `depth` deep; a byte at the bottom.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 1..depth {
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.push(7);
    bytes
}

/// Damaged files, each with the name of its damage.
pub(crate) fn corpus() -> Vec<(String, Vec<u8>)> {
    let sample = sample();
    let whole = sample.bytes();
    let mut corpus = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>| corpus.push((name, bytes));

    // Truncations at the beginning of every field, a byte before and a byte after it.
    for (field, at) in sample.fields() {
        for length in at.saturating_sub(1)..=(at + 1).min(whole.len()) {
            add(
                format!("cut at {field}, {length} bytes"),
                whole[..length].to_vec(),
            );
        }
    }

    // Absurd numbers in place of every count, length, type, dimension and offset.
    for (field, at) in sample.fields() {
        let number = [
            "count",
            "length",
            "type",
            "dimension",
            "kind",
            "offset",
            "version",
        ]
        .iter()
        .any(|kind| field.contains(kind) && !field.starts_with("value"));
        if !number || at + 8 > whole.len() {
            continue;
        }
        for value in [0, 1, 255, 1 << 31, 1 << 40, i64::MAX as u64, u64::MAX] {
            let mut bytes = whole.to_vec();
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
            add(format!("{field} is {value}"), bytes);
        }
    }

    // Bits flipped all over the file.
    let mut random = 0x81u64;
    for _ in 0..200 {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let at = (random >> 20) as usize % whole.len();
        let bit = (random >> 60) & 7;
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << bit;
        add(format!("bit {bit} of byte {at} flipped"), bytes);
        // Half of them in the header, which is a small part of the file.
        let at = at % 1500;
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << bit;
        add(
            format!("bit {bit} of byte {at} of the header flipped"),
            bytes,
        );
    }

    // Values that ggml or a ternary matrix cannot have.
    for (tensor, skip, replacement) in [
        ("output_norm.weight", 0, &f32::NAN.to_le_bytes()[..]),
        ("blk.0.attn_output.weight", 8, &f32::INFINITY.to_le_bytes()),
        ("blk.0.attn_output.weight", 8, &1e30f32.to_le_bytes()),
        ("token_embd.weight", 2, &[0xff, 0x7f]),
        ("blk.0.attn_q.weight", 52, &[0xff, 0x7f]),
        ("blk.0.attn_q.weight", 5, &[0x28]),
        ("blk.0.attn_k.weight", 64, &[0x00, 0xfc]),
        ("blk.0.attn_k.weight", 9, &[0xff]),
        ("blk.0.attn_v.weight", 0, &[0xff, 0x7f]),
        ("blk.0.attn_v.weight", 3, &[0xff]),
        ("blk.0.ffn_gate.weight", 0, &[0xff, 0x7f]),
        ("blk.0.ffn_up.weight", 2, &[0x00, 0x7c]),
        ("blk.0.ffn_down.weight", 0, &[0xff, 0xff]),
    ] {
        let field = format!("data of {tensor}");
        add(
            format!("{field}, {skip}: {replacement:x?}"),
            sample.with(&field, skip, replacement),
        );
    }

    // Text that is none, names that clash, tensors that share bytes.
    for field in ["key general.architecture", "name of output_norm.weight"] {
        add(
            format!("{field} is no UTF-8"),
            sample.with(field, 0, &[0xff]),
        );
    }
    add(
        "two tensors of one name".into(),
        sample.with("name of blk.0.attn_k.weight", 0, b"blk.0.attn_q.weight"),
    );
    add(
        "two keys".into(),
        sample.with(
            "key llama.attention.value_length",
            0,
            b"llama.attention.key_length\0\0",
        ),
    );
    add(
        "two tokens of one text".into(),
        sample.with("tokenizer.ggml.tokens 1", 0, b"a"),
    );
    add(
        "overlap".into(),
        sample.with("offset of blk.0.attn_k.weight", 0, &1536u64.to_le_bytes()),
    );
    add(
        "misaligned".into(),
        sample.with("offset of blk.0.attn_k.weight", 0, &1537u64.to_le_bytes()),
    );
    for alignment in [0u32, 1, 3, 8, 24, 64, 4096, 1 << 20, 1 << 31, u32::MAX] {
        let bytes = sample.with("value of general.alignment", 0, &alignment.to_le_bytes());
        add(format!("alignment {alignment}"), bytes);
    }
    for blocks in [0u32, 2, 512, 513, 1 << 31, u32::MAX] {
        let bytes = sample.with("value of llama.block_count", 0, &blocks.to_le_bytes());
        add(format!("{blocks} blocks"), bytes);
    }
    for heads in [0u32, 3, 257, u32::MAX] {
        for key in ["head_count", "key_length", "value_length"] {
            let field = format!("value of llama.attention.{key}");
            add(
                format!("{key} {heads}"),
                sample.with(&field, 0, &heads.to_le_bytes()),
            );
        }
    }

    // Bombs: counts and nesting that promise more than there is.
    let entry = |value: &[u8]| Bytes::header(0, 1).entry("bomb", 9, value).bytes().to_vec();
    for depth in [3, 4, 5, 100, 10_000] {
        add(format!("arrays {depth} deep"), entry(&nested(depth)));
    }
    for element in 0..14u32 {
        for count in [1u64 << 20, 1 << 60, u64::MAX] {
            let value = [&element.to_le_bytes()[..], &count.to_le_bytes(), &[0; 64]].concat();
            add(format!("{count} elements of type {element}"), entry(&value));
        }
    }
    let many = [&9u32.to_le_bytes()[..], &300u64.to_le_bytes(), &[0; 3600]].concat();
    add("300 empty arrays".into(), entry(&many));
    for alignment in [1u32 << 31, 1 << 30] {
        let bytes = Bytes::header(0, 1).entry("general.alignment", 4, &alignment.to_le_bytes());
        add(
            format!("nothing, aligned to {alignment}"),
            bytes.bytes().to_vec(),
        );
    }
    corpus
}
