#!/usr/bin/env bash
# Repacks what the real llama.cpp makes of a GGUF file, and has llama.cpp judge the results.
#
#   LLAMA_CPP_BIN=llama.cpp/build/bin t81-gguf/tests/llama_cpp_repack.sh MODEL.gguf [WORK_DIR]
#
#   MODEL.gguf  a model of any type that llama-quantize reads
#   WORK_DIR    where the files go and stay (default: a temporary directory, removed afterwards)
#
# Environment:
#   LLAMA_CPP_BIN  directory of llama-quantize and llama-completion (default: those on PATH); llama-logits
#                  (llama_logits.cpp beside this script), if it is there, adds the comparison of logits
#   T81_GGUF       the t81-gguf program (default: target/{release,debug} of this workspace, else on PATH)
#   THREADS        threads for llama.cpp (default 2)
#
# Checks, each a line that begins with ok or FAIL:
#   1. `check` finds nothing wrong with MODEL.gguf and with llama-quantize's files in every type;
#   2. `dequant --type F32` gives the very floats that llama-quantize makes of the same file;
#   3. `--from-gguf --validate` repacks every one of them; `check` finds nothing wrong; llama.cpp loads it and generates;
#   4. of a repacked file, `dequant` gives a file of which llama-quantize makes the ternary blocks again, byte for byte,
#      and whose logits llama.cpp computes alike.
# Exit code: 0 when nothing failed, 1 otherwise. Without llama.cpp it says so and exits with 0.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,/^set -/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 1; }
model=$1
workspace=$(cd "$(dirname "$0")/../.." && pwd)
threads=${THREADS:-2}
if [ $# -ge 2 ]; then
  mkdir -p "$2"; work=$2
else
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fi

# program NAME DIRECTORY...: the first executable of that name in the directories, else on PATH, else nothing.
program() {
  local name=$1 directory; shift
  for directory in "$@"; do
    if [ -n "$directory" ] && [ -x "$directory/$name" ]; then echo "$directory/$name"; return; fi
  done
  command -v "$name" || true
}

quantize=$(program llama-quantize "${LLAMA_CPP_BIN:-}")
completion=$(program llama-completion "${LLAMA_CPP_BIN:-}")
if [ -z "$quantize" ] || [ -z "$completion" ]; then
  echo "skip: llama-quantize and llama-completion are not installed (set LLAMA_CPP_BIN); nothing compared"
  exit 0
fi
logits=$(program llama-logits "${LLAMA_CPP_BIN:-}")
t81_gguf=${T81_GGUF:-$(program t81-gguf "$workspace/target/release" "$workspace/target/debug")}
[ -n "$t81_gguf" ] || { echo "error: t81-gguf is not built; set T81_GGUF" >&2; exit 1; }

failures=0
ok() { echo "ok    $*"; }
fail() { echo "FAIL  $*"; failures=$((failures + 1)); }
# run NAME COMMAND...: runs it with its output in a log; on failure the last line is shown.
run() {
  local name=$1; shift
  if ! "$@" >"$work/run.log" 2>&1 </dev/null; then
    fail "$name: $(basename "$1"): $(tail -n 1 "$work/run.log")"; return 1
  fi
}
check() {
  local found
  if found=$("$t81_gguf" check "$2" 2>&1); then return 0; fi
  fail "$1: check: $(head -n 1 <<<"$found")"; return 1
}
generate() { run "$1" "$completion" -m "$2" -p "Once upon a time" -n 8 -t "$threads" -c 64 --temp 0 -no-cnv --no-warmup; }

check "$(basename "$model")" "$model" && ok "$(basename "$model"): check finds nothing"
run F16 "$quantize" --allow-requantize "$model" "$work/F16.gguf" F16 "$threads"

for type in F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K_M Q5_K_M Q6_K; do
  source=$work/$type.gguf ternary=$work/ternary-$type.gguf
  [ "$type" = F16 ] || run "$type" "$quantize" "$work/F16.gguf" "$source" "$type" "$threads" || continue
  kinds=$("$t81_gguf" info "$source" --no-tensors | awk '/^type /{table = 1; next} table && NF >= 6 {printf " %s %s", $2, $1}')
  check "$type" "$source" || continue

  run "$type" "$t81_gguf" dequant "$source" "$work/ours-F32.gguf" --type F32 --overwrite || continue
  run "$type" "$quantize" --allow-requantize "$source" "$work/theirs-F32.gguf" F32 "$threads" || continue
  if ! difference=$("$t81_gguf" diff "$work/ours-F32.gguf" "$work/theirs-F32.gguf"); then
    fail "$type: dequant: $(tail -n 1 <<<"$difference")"; continue
  fi
  rm -f "$work/ours-F32.gguf" "$work/theirs-F32.gguf"

  run "$type" "$t81_gguf" "$ternary" --from-gguf "$source" --validate --overwrite || continue
  check "$type, repacked" "$ternary" || continue
  generate "$type" "$ternary" || continue
  ok "$type (tensors:$kinds): floats equal ggml's; repacked, valid, runs"
  [ "$type" = F16 ] || rm -f "$source" "$ternary"
done

# The ternary file against its floats.
ternary=$work/ternary-F16.gguf
quant=$("$t81_gguf" info "$ternary" --no-tensors | awk '/^(TQ1_0|TQ2_0|Q2_0) /{print $1; exit}')
for type in F16 F32; do
  run "$type" "$t81_gguf" dequant "$ternary" "$work/float-$type.gguf" --type "$type" --overwrite || continue
  check "dequant --type $type" "$work/float-$type.gguf" || continue
  generate "dequant --type $type" "$work/float-$type.gguf" || continue
  ok "dequant --type $type: valid, runs"
done
if run "$quant again" "$quantize" --token-embedding-type f16 --output-tensor-type f16 "$work/float-F16.gguf" \
  "$work/again.gguf" "$quant" "$threads"; then
  if difference=$("$t81_gguf" diff "$ternary" "$work/again.gguf"); then
    ok "llama-quantize makes the same $quant blocks of the dequantized file ($difference)"
  else
    fail "llama-quantize: $(tail -n 1 <<<"$difference")"
  fi
fi
if [ -n "$logits" ]; then
  seq 100 227 | tr '\n' ' ' >"$work/ids.txt"
  for name in ternary-F16 float-F16 float-F32; do
    run logits "$logits" "$work/$name.gguf" --ids-file "$work/ids.txt" -o "$work/$name.f32" -t "$threads" -q
  done
  for name in ternary-F16 float-F16; do
    python3 - "$work/$name.f32" "$work/float-F32.f32" "$name" <<'PYTHON' && ok "$(cat "$work/logits.txt" 2>/dev/null || true)" || fail "logits of $name"
import array, sys
found, exact = array.array("f"), array.array("f")
for values, path in ((found, sys.argv[1]), (exact, sys.argv[2])):
    with open(path, "rb") as file:
        values.frombytes(file.read())
assert len(found) == len(exact) > 0
rms = lambda numbers: (sum(x * x for x in numbers) / len(numbers)) ** 0.5
difference = [a - b for a, b in zip(found, exact)]
line = (f"logits of {sys.argv[3]} differ from those of float-F32 by rms {rms(difference):.3g}, "
        f"largest {max(map(abs, difference)):.3g}, of logits with rms {rms(exact):.3g} ({len(exact)} values)")
with open(sys.argv[1].rsplit("/", 1)[0] + "/logits.txt", "w") as file:
    file.write(line)
sys.exit(rms(difference) > 0.3 * rms(exact))
PYTHON
  done
fi
echo "$failures failed"
[ "$failures" -eq 0 ]
