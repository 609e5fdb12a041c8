"""Tiny models of every architecture, trained briefly with ternary weights, as Hugging Face checkpoints.

    python3 -m venv venv && venv/bin/pip install torch transformers tokenizers sentencepiece safetensors
    venv/bin/python make_models.py TEXT OUTPUT [NAME...]

TEXT is any UTF-8 text of some 100 kB or more: it trains the tokenizers and, for a few hundred steps, the models, so that their answers
are clear-cut and survive the rounding of activations. Each checkpoint holds the float weights in BF16; making them ternary is
what is tested. Two models of an architecture differ in whether their rows divide by 256 (`wide`) or only by 64 (`narrow`); rows of 96, in
qwen3-narrow, fit no ternary format.
"""

import json
import random
import sys
from pathlib import Path

import sentencepiece
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn.utils import parametrize
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.pytorch_utils import Conv1D

VOCABULARY = 640
STEPS, BATCH, LENGTH = 300, 8, 64
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace("{1,3}", "")


# --- Tokenizers -----------------------------------------------------------------------------------------------------


def byte_level(text, splitter, special, begin=None, ignore_merges=False, normalizer=None):
    """A byte-level BPE tokenizer whose text is cut by the expression `splitter` (GPT-2's where it is none)."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    if splitter:
        split = pre_tokenizers.Split(Regex(splitter), "isolated", invert=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    if begin:
        put_first(tokenizer, begin)
    return tokenizer


def put_first(tokenizer, begin):
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )


def sentence_piece(text, directory, special, begin, space_prefix):
    """A SentencePiece BPE model and its counterpart for `tokenizers`, made as transformers converts one."""
    source = directory / "sentencepiece.txt"
    source.write_text(text, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(source), model_prefix=str(directory / "tokenizer"), model_type="bpe", byte_fallback=True,
        vocab_size=VOCABULARY - len(special), normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, allow_whitespace_only_pieces=True, add_dummy_prefix=space_prefix, minloglevel=2,
    )
    source.unlink()
    (directory / "tokenizer.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(str(directory / "tokenizer.model"))
    pieces = {processor.id_to_piece(index): index for index in range(processor.get_piece_size())}
    merges = []
    for piece in pieces:
        if processor.is_byte(pieces[piece]):
            continue
        splits = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        splits = [(left, right) for left, right in splits if left in pieces and right in pieces]
        merges += [(pieces[piece], pieces[left], pieces[right], left, right) for left, right in splits]
    # Ids of a trained BPE model rise as scores fall.
    merges = [(left, right) for _, _, _, left, right in sorted(merges)]
    tokenizer = Tokenizer(models.BPE(pieces, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    if space_prefix:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace])
    else:
        tokenizer.normalizer = replace
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    strip = [decoders.Strip(" ", 1, 0)] if space_prefix else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    names = ["<unk>", "<s>", "</s>", *special]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    put_first(tokenizer, begin)
    return tokenizer


# --- Models ---------------------------------------------------------------------------------------------------------

WIDE = dict(hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2)
NARROW = dict(hidden_size=192, intermediate_size=320, num_attention_heads=3, num_key_value_heads=1)
COMMON = dict(num_hidden_layers=2, max_position_embeddings=256)
LLAMA_3_SCALING = {
    "rope_type": "llama3", "rope_theta": 50000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def long_rope(pairs):
    return {
        "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "original_max_position_embeddings": 128,
        "short_factor": [1.0 + pair / 40 for pair in range(pairs)], "long_factor": [1.0 + pair / 10 for pair in range(pairs)],
    }


def gpt2(hidden, heads, inner):
    return GPT2Config(
        n_embd=hidden, n_head=heads, n_inner=inner, n_layer=2, n_positions=256, vocab_size=VOCABULARY, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0,
    )


def rope(theta):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}


def gemma3(**sizes):
    return Gemma3TextConfig(
        **sizes, num_hidden_layers=7, max_position_embeddings=256, vocab_size=VOCABULARY, head_dim=64,
        query_pre_attn_scalar=64, sliding_window=16,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 100000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    )


VOCAB = dict(vocab_size=VOCABULARY)
PHI3 = dict(pad_token_id=2, **COMMON, **VOCAB)
MODELS = {
    "llama-wide": (LlamaForCausalLM, LlamaConfig(**WIDE, **COMMON, **VOCAB, rope_parameters=LLAMA_3_SCALING), "llama3"),
    "llama-narrow": (LlamaForCausalLM, LlamaConfig(**NARROW, **COMMON, **VOCAB, **rope(1e4), tie_word_embeddings=True), "llama2"),
    "mistral-wide": (MistralForCausalLM, MistralConfig(**WIDE, **COMMON, **VOCAB, **rope(1e6), head_dim=32, sliding_window=None), "llama2"),
    "qwen2-wide": (Qwen2ForCausalLM, Qwen2Config(**WIDE, **COMMON, **VOCAB, **rope(1e6), tie_word_embeddings=True), "qwen"),
    "qwen2-narrow": (Qwen2ForCausalLM, Qwen2Config(**NARROW, **COMMON, **VOCAB, **rope(1e6)), "qwen"),
    "qwen3-wide": (Qwen3ForCausalLM, Qwen3Config(**WIDE, **COMMON, **VOCAB, **rope(1e6), head_dim=128), "qwen"),
    "qwen3-narrow": (Qwen3ForCausalLM, Qwen3Config(**NARROW, **COMMON, **VOCAB, **rope(1e6), head_dim=32, tie_word_embeddings=True), "qwen"),
    "gemma3-wide": (Gemma3ForCausalLM, gemma3(**WIDE), "gemma"),
    "gemma3-narrow": (Gemma3ForCausalLM, gemma3(**NARROW), "gemma"),
    "phi3-wide": (Phi3ForCausalLM, Phi3Config(**WIDE, **PHI3, original_max_position_embeddings=128, rope_parameters=long_rope(24)), "llama2"),
    "phi3-narrow": (Phi3ForCausalLM, Phi3Config(**NARROW, **PHI3, original_max_position_embeddings=256, **rope(1e4)), "llama2"),
    "gpt2-wide": (GPT2LMHeadModel, gpt2(256, 4, None), "gpt2"),
    "gpt2-narrow": (GPT2LMHeadModel, gpt2(192, 3, 320), "gpt2"),
}


def tokenizer_files(kind, text, directory):
    """Writes tokenizer.json and tokenizer_config.json; returns the tokenizer and the ids that begin and end a text."""
    match kind:
        case "llama3":
            names = ["<|begin_of_text|>", "<|end_of_text|>"]
            tokenizer = byte_level(text, LLAMA_3, names, names[0], ignore_merges=True)
            begin, end, cls = *names, "PreTrainedTokenizerFast"
        case "qwen":
            names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
            tokenizer = byte_level(text, QWEN_2, names, normalizer=normalizers.NFC())
            begin, end, cls = None, "<|im_end|>", "Qwen2Tokenizer"
        case "gpt2":
            tokenizer = byte_level(text, None, ["<|endoftext|>"])
            begin, end, cls = "<|endoftext|>", "<|endoftext|>", "GPT2Tokenizer"
        case "llama2":
            # llama.cpp looks for <|endoftext|> in every model that is called phi3.
            tokenizer = sentence_piece(text, directory, ["<|endoftext|>", "<|user|>"], "<s>", space_prefix=True)
            begin, end, cls = "<s>", "</s>", "LlamaTokenizer"
        case "gemma":
            tokenizer = sentence_piece(text, directory, ["<start_of_turn>"], "<s>", space_prefix=False)
            begin, end, cls = "<s>", "</s>", "GemmaTokenizer"
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": cls, "bos_token": begin, "eos_token": end, "model_max_length": 256}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    assert tokenizer.get_vocab_size() <= VOCABULARY
    return tokenizer, begin and tokenizer.token_to_id(begin), tokenizer.token_to_id(end)


class Ternary(torch.nn.Module):
    """absmean threshold 0.45 and least-squares scales over groups of inputs, with a straight-through gradient."""

    def __init__(self, transposed):
        super().__init__()
        self.transposed = transposed

    def forward(self, weight):
        matrix = (weight.T if self.transposed else weight).detach()
        group = next(size for size in (256, 64, 32) if matrix.shape[1] % size == 0)
        groups = matrix.reshape(matrix.shape[0], -1, group)
        size = groups.abs()
        kept = size >= 0.45 * size.mean(-1, keepdim=True)
        scale = (size * kept).sum(-1, keepdim=True) / kept.sum(-1, keepdim=True)
        value = (groups.sign() * kept * scale).reshape(matrix.shape)
        value = value.T if self.transposed else value
        return value + (weight - weight.detach())


def train(model, ids):
    layers = [m for name, m in model.named_modules() if isinstance(m, (torch.nn.Linear, Conv1D)) and "lm_head" not in name]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", Ternary(isinstance(layer, Conv1D)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    # A small text, learned nearly by heart.
    ids = torch.tensor(ids[:4000], device=DEVICE)
    for _ in range(STEPS):
        starts = [random.randrange(len(ids) - LENGTH) for _ in range(BATCH)]
        batch = torch.stack([ids[start : start + LENGTH] for start in starts])
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return loss.item()


def main(text_path, output, names):
    text = Path(text_path).read_text(encoding="utf-8")[:200_000]
    for name in names or MODELS:
        cls, config, kind = MODELS[name]
        torch.manual_seed(1)
        random.seed(1)
        directory = Path(output) / name
        directory.mkdir(parents=True, exist_ok=True)
        tokenizer, begin, end = tokenizer_files(kind, text, directory)
        config.bos_token_id, config.eos_token_id = begin, end
        model = cls(config)
        for key, weight in model.named_parameters():
            # Gains and biases other than 1 and 0, so that a lost one shows.
            if weight.dim() == 1:
                weight.data += 0.1 * torch.randn_like(weight)
        loss = train(model.to(DEVICE), tokenizer.encode(text, add_special_tokens=False).ids)
        model.cpu().to(torch.bfloat16).save_pretrained(directory)
        print(f"{name}: loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
