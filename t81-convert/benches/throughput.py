#!/usr/bin/env python3
"""Times t81-gguf, t81-convert, llama-quantize and gguf-py on one model, in turns, and prints their ratios.

    cargo build --release -p t81-convert -p t81-gguf
    python3 t81-convert/benches/throughput.py MODEL --llama-quantize path/to/llama-quantize [--rounds 3] [--work DIR]

MODEL is a llama checkpoint in BF16. It needs the Python packages gguf, numpy and safetensors. llama-quantize reads a BF16 GGUF file
of the same weights, which the script writes first; the others read the safetensors. Everything is read once before the clock
starts, so that each program finds its input in the page cache. Embedding, output and norms stay float in all of them.
"""

import argparse, json, os, pathlib, shutil, subprocess, sys, tempfile, time
import numpy as np
import gguf


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--llama-quantize", type=pathlib.Path, required=True)
    parser.add_argument("--binaries", type=pathlib.Path, default=pathlib.Path("target/release"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--types", nargs="+", default=["TQ2_0", "Q2_0"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=pathlib.Path, help="where outputs go [default: a temporary directory]")
    parser.add_argument("--gguf-py", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.gguf_py:
        return quantize_with_gguf_py(arguments.model, arguments.out)
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        compare(arguments, pathlib.Path(work))


def compare(arguments, work):
    floats, out = work / "float.gguf", work / "out.gguf"
    write_float_gguf(arguments, floats, work)
    size = sum(data.nbytes for _, data in tensors(arguments.model))
    print(f"{arguments.model}: {size / 1e9:.2f} GB of BF16 weights, {arguments.threads} threads, best of {arguments.rounds}")
    print(f"{'':<30} {'seconds':>8} {'core s':>7} {'MB/core s':>10} {'of t81-gguf: time':>18} {'core time':>10}")
    environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)}
    for kind in arguments.types:
        runs = {
            f"t81-gguf --from-hf {kind}": [arguments.binaries / "t81-gguf", out, "--from-hf", arguments.model, "--quant", kind,
                                           "--quiet", "--overwrite"],
            f"llama-quantize {kind}": [arguments.llama_quantize, "--token-embedding-type", "bf16", "--output-tensor-type", "bf16",
                                       floats, out, kind, str(arguments.threads)],
            f"t81-convert --quant {kind}": [arguments.binaries / "t81-convert", arguments.model, work / "t81", "--quant", kind,
                                            "--quiet", "--overwrite"],
        }
        if kind == "TQ2_0":
            runs["gguf-py (numpy) TQ2_0"] = [sys.executable, __file__, arguments.model, "--llama-quantize", "-", "--gguf-py",
                                             "--out", out]
        best = {name: (float("inf"),) * 2 for name in runs}
        for _ in range(arguments.rounds):
            for name, command in runs.items():
                out.unlink(missing_ok=True)
                found = timed([str(part) for part in command], environment)
                best[name] = tuple(map(min, best[name], found))
        ours = best[f"t81-gguf --from-hf {kind}"]
        for name, (seconds, cores) in best.items():
            print(f"{name:<30} {seconds:>8.2f} {cores:>7.2f} {size / 1e6 / cores:>10.0f}  "
                  f"{seconds / ours[0]:>17.2f}x {cores / ours[1]:>9.2f}x", flush=True)


def timed(command, environment):
    """Seconds, and seconds of all cores together."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} failed:\n{errors.decode()}")
    return seconds, usage.ru_utime + usage.ru_stime


def tensors(model):
    """Names and raw 16-bit arrays, mapped."""
    for path in sorted(model.glob("*.safetensors")):
        data = np.memmap(path, dtype=np.uint8, mode="r")
        length = int(data[:8].view(np.uint64)[0])
        header = json.loads(bytes(data[8:8 + length]))
        for name, info in header.items():
            if name == "__metadata__":
                continue
            assert info["dtype"] == "BF16", f"{name} is {info['dtype']}"
            start, end = info["data_offsets"]
            yield name, data[8 + length + start:8 + length + end].view(np.uint16).reshape(info["shape"])


def names_of(model):
    layers = json.loads((model / "config.json").read_text())["num_hidden_layers"]
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    return lambda name: names.get_name(name, try_suffixes=(".weight", ".bias"))


def as_f32(bf16):
    return (bf16.astype(np.uint32) << 16).view(np.float32)


def add_tensors(writer, model, matrix):
    """Adds all tensors; `matrix` gives array and type of a linear weight."""
    rename = names_of(model)
    for name, data in tensors(model):
        renamed = rename(name)
        if data.ndim == 1:
            writer.add_tensor(renamed, as_f32(data))
        elif renamed in ("token_embd.weight", "output.weight"):
            writer.add_tensor(renamed, data.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            array, kind = matrix(data)
            writer.add_tensor(renamed, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_float_gguf(arguments, path, work):
    """BF16, with the metadata that t81-gguf writes (llama-quantize asks for the dimensions). Heads are not permuted: the numbers
    are another order of the same, and nobody runs the file."""
    described = work / "described.gguf"
    subprocess.run([arguments.binaries / "t81-gguf", described, "--from-hf", arguments.model, "--quiet"], check=True)
    writer = gguf.GGUFWriter(path, "llama")
    for field in gguf.GGUFReader(described).fields.values():
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        item = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=item)
    described.unlink()
    add_tensors(writer, arguments.model, lambda data: (data.view(np.uint8), gguf.GGMLQuantizationType.BF16))


def quantize_with_gguf_py(model, path):
    kind = gguf.GGMLQuantizationType.TQ2_0
    writer = gguf.GGUFWriter(path, "llama")
    add_tensors(writer, model, lambda data: (gguf.quants.quantize(as_f32(data), kind), kind))


if __name__ == "__main__":
    main()
