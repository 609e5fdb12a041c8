"""Compares every architecture's GGUF files in real llama.cpp with `transformers`.

    LLAMA_CPP_BIN=llama.cpp/build/bin venv/bin/python compare.py TEXT MODELS OUTPUT [NAME...]

MODELS is the output of make_models.py and TEXT its text. Each model is converted by t81-convert; the same ternary values as plain
F16 safetensors (`--format dense`) are what `transformers` runs in f32. Each GGUF type is then loaded by llama.cpp and given the same
tokens: a stretch of TEXT and what `transformers` continues it with greedily. The table says by how much the logits differ
(rms and largest), whether every greedy token is llama.cpp's choice too, and by how much perplexity on TEXT differs. A last column
counts the characters of awkward_text.txt's lines whose tokens llama.cpp and `tokenizers` agree on.

Environment: LLAMA_CPP_BIN (llama-tokenize, and llama-logits, built as ../llama_logits.cpp says), T81_BIN (t81-convert, t81-gguf;
default: target/release, then target/debug, of this workspace). Exit code 1 if an F32 file's logits differ by more than 1e-2 or its
greedy text, if a file does not load, or if tokens differ.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
WORKSPACE = HERE.parents[2]
TYPES = ["F32", "F16", "Q2_0", "TQ2_0", "TQ1_0"]
PROMPT, GREEDY = 140, 16
TOLERANCE = 1e-2


def t81(name):
    places = [os.environ.get("T81_BIN"), WORKSPACE / "target/release", WORKSPACE / "target/debug"]
    found = [Path(place) / name for place in places if place and (Path(place) / name).exists()]
    return str(found[0] if found else name)


def llama(name):
    return str(Path(os.environ.get("LLAMA_CPP_BIN", "")) / name)


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done.stdout


def reference(directory, prompt):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        ids = torch.tensor([prompt])
        for _ in range(GREEDY):
            ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
        return ids[0].tolist(), model(ids).logits[0].numpy()


def llama_logits(file, ids, scratch):
    (scratch / "ids").write_text(" ".join(map(str, ids)))
    run(llama("llama-logits"), file, "--ids-file", scratch / "ids", "-o", scratch / "logits", "-q")
    return numpy.fromfile(scratch / "logits", "<f4").reshape(len(ids), -1)


def perplexity(logits, ids):
    logits = logits[: PROMPT - 1].astype(numpy.float64)
    logits -= logits.max(-1, keepdims=True)
    chances = logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))
    return numpy.exp(-chances[numpy.arange(PROMPT - 1), ids[1:PROMPT]].mean())


def agreeing_lines(file, tokenizer, scratch):
    """Lines of the awkward text on which llama.cpp and `tokenizers` give the same ids."""
    lines = (HERE / "awkward_text.txt").read_text(encoding="utf-8").split("\n")
    lines.append("\n".join(lines))
    agreed, differing = 0, []
    for line in lines:
        (scratch / "line").write_text(line, encoding="utf-8", newline="")
        output = run(llama("llama-tokenize"), "-m", file, "-f", scratch / "line", "--ids", "--no-bos", "--no-parse-special", "--no-escape", "--log-disable")
        theirs = [int(number) for number in re.findall(r"\d+", output)]
        ours = tokenizer.encode(line, add_special_tokens=False).ids
        agreed += theirs == ours
        if theirs != ours:
            differing.append((line[:40], ours[:12], theirs[:12]))
    return agreed, len(lines), differing


def compare(name, text, models, output):
    source = Path(models) / name
    packed, dense = Path(output) / f"{name}-packed", Path(output) / f"{name}-dense"
    for directory, form in [(packed, "packed"), (dense, "dense")]:
        run(t81("t81-convert"), source, directory, "--format", form, "--quiet", "--overwrite")
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    prompt = tokenizer.encode(text[:4000], add_special_tokens=False).ids[:PROMPT]
    ids, expected = reference(dense, prompt)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for kind in TYPES:
            file = Path(output) / f"{name}.{kind}.gguf"
            try:
                summary = run(t81("t81-gguf"), file, "--from-t81", packed, "--quant", kind, "--overwrite")
                fallback = sorted(set(re.findall(rf"^(\w+) instead of {kind}", summary, re.M)))
                logits = llama_logits(file, ids, scratch)
            except RuntimeError as error:
                print(f"{name:14} {kind:6} no    {error}", flush=True)
                failed = True
                continue
            difference = numpy.abs(logits - expected)
            rms, largest = numpy.sqrt((difference.astype(numpy.float64) ** 2).mean()), difference.max()
            greedy = logits[PROMPT - 1 : -1].argmax(-1).tolist() == ids[PROMPT:]
            ours, theirs = perplexity(expected, ids), perplexity(logits, ids)
            note = f"partly {', '.join(fallback)}" if fallback else ""
            print(
                f"{name:14} {kind:6} yes   {rms:9.2e} {largest:9.2e}  {'yes' if greedy else 'no':6} {ours:10.4f} "
                f"{100 * (theirs / ours - 1):+9.4f} %  {note}",
                flush=True,
            )
            failed |= kind == "F32" and not (largest <= TOLERANCE and greedy)
        agreed, lines, differing = agreeing_lines(Path(output) / f"{name}.F32.gguf", tokenizer, scratch)
        print(f"{name:14} tokens of awkward text agree on {agreed} of {lines} lines", flush=True)
        for line, ours, theirs in differing:
            print(f"    {line!r}: tokenizers {ours}, llama.cpp {theirs}")
        failed |= bool(differing)
    return failed


def main(text_path, models, output, names):
    text = Path(text_path).read_text(encoding="utf-8")[:200_000]
    Path(output).mkdir(parents=True, exist_ok=True)
    print(f"{'model':14} {'type':6} loads {'rms':>9} {'largest':>9}  greedy {'perplexity':>10} {'difference':>11}")
    names = names or sorted(path.name for path in Path(models).iterdir() if path.is_dir())
    failures = [name for name in names if compare(name, text, models, output)]
    print(f"{len(names) - len(failures)} of {len(names)} models agree" + (f"; not: {', '.join(failures)}" if failures else ""))
    sys.exit(bool(failures))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:4], sys.argv[4:])
