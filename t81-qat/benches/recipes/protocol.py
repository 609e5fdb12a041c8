#!/usr/bin/env python3
"""Compares the recipes of t81-qat on one protocol, prints the tables and keeps every run.

    cargo build --release -p t81-qat --features vulkan
    python3 corpus.py VALID_TXT BROWN_DIR DATA
    python3 protocol.py CHECKPOINT DATA RUNS [--device vulkan:0] [--peer] [--llama-perplexity PATH]

Every run: 200 optimizer steps of 32 x 512 tokens on DATA/train.txt, evaluated on DATA/eval.txt with exact ternary weights. `taught` learns
from the float fine-tune of the same run. With --peer pytorch_step.py measures PyTorch's training speed on the same machine, before
and after ours. With --llama-perplexity the GGUF (Q2_0) of the best ternary run goes through llama.cpp, beside our own evaluation
in its windows. Flags behind `--` go to every run of t81-qat. A run whose summary is there already is not made again.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

RECIPES = {
    "float": ["--recipe", "float"],
    "bitnet": ["--recipe", "bitnet"],
    "t81lib": ["--recipe", "t81lib"],
    "default": [],
    "taught": ["--teacher"],
}
HERE = Path(__file__).resolve().parent


def main():
    own, _, passed_on = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--t81-qat", type=Path, default=Path("target/release/t81-qat"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--teacher", type=Path, help="t81 directory to learn from [default: that of the float run]")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--python", default=sys.executable, help="the Python that has PyTorch and transformers")
    parser.add_argument("--llama-perplexity", type=Path)
    arguments = parser.parse_args(own.split())
    arguments.passed_on = passed_on.split()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    peers = [peer_speeds(arguments)] if arguments.peer else []
    summaries = {recipe: train(arguments, recipe) for recipe in arguments.recipes}
    if arguments.peer:
        peers.append(peer_speeds(arguments))
    print_table(arguments, summaries, peers)
    if arguments.llama_perplexity:
        compare_with_llama_cpp(arguments, summaries)


def train(arguments, recipe):
    """Runs one recipe; its summary, with the speed of the steps after the first tenth."""
    output = arguments.runs / f"{recipe}-{arguments.seed}"
    if not (output / "summary.json").exists():
        flags = list(RECIPES[recipe])
        if recipe == "taught":
            flags.append(arguments.teacher or arguments.runs / f"float-{arguments.seed}" / "t81")
        command = [
            arguments.t81_qat, arguments.checkpoint, *flags,
            "--train-file", arguments.data / "train.txt", "--validation-file", arguments.data / "eval.txt",
            "--max-steps", arguments.steps, "--per-device-train-batch-size", arguments.batch, "--block-size", arguments.length,
            "--seed", arguments.seed, "--device", arguments.device, "--output-dir", output, "--overwrite",
            # Speed, not safety: a checkpoint of 1.6 GB would be written beside the steps that are timed.
            "--save-steps", arguments.steps, *arguments.passed_on,
        ]
        run([str(part) for part in command], arguments.runs / f"{recipe}-{arguments.seed}.log")
    summary = json.loads((output / "summary.json").read_text())
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    steady = [line["tokens_per_second"] for line in lines
              if "tokens_per_second" in line and line["step"] > arguments.steps // 10]
    summary["tokens_per_second"] = sorted(steady)[len(steady) // 2] if steady else float("nan")
    return summary


def run(command, log):
    with log.open("w") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        sys.exit(f"{' '.join(command)}\nended with {status}:\n{log.read_text()[-2000:]}")


def peer_speeds(arguments):
    """Tokens a second of PyTorch: float, ternary."""
    command = [arguments.python, HERE.parent / "pytorch_step.py", arguments.checkpoint,
               "--batch", arguments.batch, "--length", arguments.length]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"pytorch_step.py: {result.stderr[-2000:]}")
    print(result.stdout, end="", flush=True)
    return dict(re.findall(r"pytorch (\w+)\s+(\d+) tokens/s", result.stdout))


def print_table(arguments, summaries, peers):
    float_run = summaries.get("float")
    print(f"{arguments.steps} steps of {arguments.batch} x {arguments.length} tokens, seed {arguments.seed}, {arguments.device}")
    print("| run | perplexity | of the float fine-tune | tokens/s | of PyTorch | GPU memory, GB |")
    print("|---|---:|---:|---:|---:|---:|")
    for recipe, summary in summaries.items():
        ratio = f"{summary['perplexity'] / float_run['perplexity']:.3f}" if float_run else ""
        kind = "float" if recipe == "float" else "ternary"
        speeds = [float(peer[kind]) for peer in peers]
        speed = summary["tokens_per_second"]
        # A teacher costs a forward pass that the peer does not make.
        share = f"{speed * len(speeds) / sum(speeds):.2f}" if speeds and recipe != "taught" else ""
        memory = (summary.get("peak_memory") or {}).get("device")
        memory = f"{memory / 1e9:.1f}" if memory else ""
        print(f"| {recipe} | {summary['perplexity']:.2f} | {ratio} | {speed:,.0f} | {share} | {memory} |", flush=True)


def compare_with_llama_cpp(arguments, summaries):
    """Perplexity of the best ternary run by llama.cpp and by us, in llama-perplexity's windows."""
    best = min((name for name in summaries if name != "float"), key=lambda name: summaries[name]["perplexity"])
    output = arguments.runs / f"{best}-{arguments.seed}"
    gguf, text = arguments.runs / f"{best}.gguf", arguments.data / "eval.txt"
    export = [arguments.t81_qat.with_name("t81-gguf"), gguf, "--from-t81", output / "t81", "--quant", "Q2_0", "--overwrite"]
    run([str(part) for part in export], arguments.runs / "export.log")
    evaluate = [arguments.t81_qat, "evaluate", output, "--text", text, "--block-size", arguments.length]
    ours = subprocess.run([str(part) for part in evaluate], capture_output=True, text=True, check=True).stdout
    theirs = [arguments.llama_perplexity, "-m", gguf, "-f", text, "-c", arguments.length]
    theirs = subprocess.run([str(part) for part in theirs], capture_output=True, text=True, check=True)
    ours = float(re.search(r"perplexity ([\d.]+)", ours)[1])
    theirs = float(re.search(r"PPL = ([\d.]+)", theirs.stdout + theirs.stderr)[1])
    print(f"{best}: perplexity {ours:.3f} by t81-qat evaluate, {theirs:.3f} by llama-perplexity of {gguf.name}: {theirs / ours - 1:+.2%}")


if __name__ == "__main__":
    main()
