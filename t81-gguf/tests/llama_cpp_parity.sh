#!/usr/bin/env bash
# Compares exported GGUF files with what the real llama.cpp makes of them.
#
#   LLAMA_CPP_BIN=llama.cpp/build/bin t81-gguf/tests/llama_cpp_parity.sh T81_DIR [TEXT] [options]
#
#   T81_DIR             a t81 directory, or the output directory of t81-qat
#   TEXT                text to evaluate on; without it perplexity is not compared
#   --logits FILE       raw little-endian f32 logits [tokens, vocabulary] of a forward pass of T81_DIR in f32
#   --ids FILE          the token ids of those logits, separated by spaces
#   --context N         tokens a window (default 512)
#   --chunks N          windows (default 16)
#   --tolerance PERCENT largest difference in perplexity of a ternary file (default 1; an untrained model needs more,
#                       since llama.cpp rounds activations to 8 bits)
#   --keep DIR          write the files there and keep them
#
# Environment:
#   LLAMA_CPP_BIN  directory of llama-quantize, llama-perplexity and llama-completion (default: those on PATH);
#                  llama-logits (llama_logits.cpp beside this script, which says how to build it), if it is there,
#                  adds the comparison of logits
#   T81_GGUF       the t81-gguf program (default: on PATH, else target/{release,debug} of this workspace)
#   T81_QAT        the t81-qat program, found likewise; without it perplexity is shown but not compared, and logits
#                  are compared only if --logits and --ids are given
#   THREADS        threads for llama.cpp (default 2)
#
# Checks, each a line that begins with ok, FAIL or skip:
#   1. every type (F32, F16, Q2_0, TQ2_0, TQ1_0) exports, and llama.cpp loads it and generates from it;
#   2. llama-quantize makes, from our F16 file, the very bytes of our Q2_0, TQ2_0 and TQ1_0 tensors;
#   3. the F32 file gives the logits of our forward pass (rms below 1e-3, largest below 1e-2);
#   4. perplexity agrees with t81-qat evaluate: F32 within 0.1 %, the others within --tolerance.
# Exit code: 0 when nothing failed, 1 otherwise. Without llama.cpp it says so and exits with 0.
set -euo pipefail

usage() { sed -n '2,/^set -/p' "$0" | sed '$d; s/^# \{0,1\}//'; }

model='' text='' logits='' ids='' context=512 chunks=16 tolerance=1 keep=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --logits | --ids | --context | --chunks | --tolerance | --keep)
      [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 1; }
      printf -v "${1#--}" %s "$2"; shift 2 ;;
    -*) echo "error: unknown option $1 (see --help)" >&2; exit 1 ;;
    *)
      if [ -z "$model" ]; then model=$1; elif [ -z "$text" ]; then text=$1; else
        echo "error: unexpected argument $1 (see --help)" >&2; exit 1
      fi
      shift ;;
  esac
done
[ -n "$model" ] || { usage >&2; exit 1; }

workspace=$(cd "$(dirname "$0")/../.." && pwd)
threads=${THREADS:-2}

# program NAME DIRECTORY...: the first executable of that name in the directories, else on PATH, else nothing.
program() {
  local name=$1 directory; shift
  for directory in "$@"; do
    if [ -n "$directory" ] && [ -x "$directory/$name" ]; then echo "$directory/$name"; return; fi
  done
  command -v "$name" || true
}

quantize=$(program llama-quantize "${LLAMA_CPP_BIN:-}")
perplexity=$(program llama-perplexity "${LLAMA_CPP_BIN:-}")
completion=$(program llama-completion "${LLAMA_CPP_BIN:-}")
if [ -z "$quantize" ] || [ -z "$perplexity" ] || [ -z "$completion" ]; then
  echo "skip: llama-quantize, llama-perplexity and llama-completion are not installed (set LLAMA_CPP_BIN); nothing compared"
  exit 0
fi
llama_logits=$(program llama-logits "${LLAMA_CPP_BIN:-}")
t81_gguf=${T81_GGUF:-$(program t81-gguf "$workspace/target/release" "$workspace/target/debug")}
t81_qat=${T81_QAT:-$(program t81-qat "$workspace/target/release" "$workspace/target/debug")}
[ -n "$t81_gguf" ] || { echo "error: t81-gguf is not built; set T81_GGUF" >&2; exit 1; }

if [ -n "$keep" ]; then
  mkdir -p "$keep"; work=$keep
else
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fi

failures=0
ok() { echo "ok    $*"; }
skip() { echo "skip  $*"; }
fail() { echo "FAIL  $*"; failures=$((failures + 1)); }

# Below: true if the first number is at most the second.
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }'; }

# 1. Export, load, generate.
types=()
for type in F32 F16 Q2_0 TQ2_0 TQ1_0; do
  file=$work/ours-$type.gguf
  if ! summary=$("$t81_gguf" "$file" --from-t81 "$model" --quant "$type" --overwrite 2>&1); then
    fail "$type: export: $summary"; continue
  fi
  case $type in
    Q2_0 | TQ*)
      if grep -q "instead of $type" <<<"$summary"; then
        skip "$type: $(grep -m 1 "instead of $type" <<<"$summary")"; continue
      fi ;;
  esac
  if "$completion" -m "$file" -p "a" -n 4 -t "$threads" -c 64 --temp 0 -no-cnv >"$work/$type.log" 2>&1 </dev/null; then
    ok "$type: llama.cpp loads it and generates"; types+=("$type")
  else
    fail "$type: llama.cpp: $(tail -n 1 "$work/$type.log")"
  fi
done

# 2. The same bytes as llama-quantize.
for type in "${types[@]}"; do
  case $type in Q2_0 | TQ*) ;; *) continue ;; esac
  theirs=$work/theirs-$type.gguf
  if ! "$quantize" --token-embedding-type f16 --output-tensor-type f16 "$work/ours-F16.gguf" "$theirs" "$type" "$threads" \
    >"$work/quantize-$type.log" 2>&1; then
    fail "$type: llama-quantize: $(tail -n 1 "$work/quantize-$type.log")"; continue
  fi
  if difference=$("$t81_gguf" diff "$work/ours-$type.gguf" "$theirs"); then
    ok "$type: byte-equal to llama-quantize ($difference)"
  else
    fail "$type: llama-quantize: $difference"
  fi
done

# 3. and 4. Our forward pass, once.
ours=''
if [ -n "$text" ] && [ -n "$t81_qat" ]; then
  written=()
  if [ -z "$logits" ]; then
    logits=$work/logits.f32 ids=$work/ids.txt
    written=(--logits-out "$logits" --ids-out "$ids")
  fi
  if evaluation=$("$t81_qat" evaluate "$model" --text "$text" --block-size "$context" --max-windows "$chunks" \
    "${written[@]}" 2>"$work/evaluate.log"); then
    ours=$(sed -n 's/.*perplexity \([0-9.]*\).*/\1/p' <<<"$evaluation" | tail -n 1)
  else
    fail "t81-qat evaluate: $(tail -n 1 "$work/evaluate.log")"
    logits='' ids=''
  fi
fi

# floats FILE COUNT: the first COUNT f32 values, one a line.
floats() { od -An -v -t f4 -w4 -N $((4 * $2)) "$1"; }

if [ -z "$logits" ] || [ -z "$ids" ]; then
  skip "logits: no --logits and --ids, and no t81-qat with a text to make them"
elif [ -z "$llama_logits" ]; then
  skip "logits: llama-logits is not installed"
elif [ ! -f "$work/ours-F32.gguf" ]; then
  skip "logits: no F32 file"
else
  # The first 64 tokens: a causal model's logits of these do not depend on later ones.
  read -r -a tokens <<<"$(tr '\n' ' ' <"$ids")"
  all=${#tokens[@]}
  count=$((all < 64 ? all : 64))
  vocabulary=$(($(wc -c <"$logits") / 4 / all))
  echo "${tokens[*]:0:count}" >"$work/first-ids.txt"
  if "$llama_logits" "$work/ours-F32.gguf" --ids-file "$work/first-ids.txt" -o "$work/theirs.f32" -t "$threads" -q \
    >"$work/logits.log" 2>&1; then
    verdict=$(paste <(floats "$logits" $((count * vocabulary))) <(floats "$work/theirs.f32" $((count * vocabulary))) |
      awk 'NF != 2 { bad = 1; next }
           { d = $1 - $2; s += d * d; m = (d < 0 ? -d : d) > m ? (d < 0 ? -d : d) : m; v += $1 * $1; n++ }
           END { printf "%s rms %.3g, largest %.3g of logits with rms %.3g (%d values)",
                        (bad || !n || sqrt(s / n) > 1e-3 || m > 1e-2) ? "FAIL" : "ok", sqrt(s / n), m, sqrt(v / n), n }')
    case $verdict in ok*) ok "F32: logits differ by ${verdict#ok }" ;; *) fail "F32: logits differ by ${verdict#FAIL }" ;; esac
  else
    fail "F32: llama-logits: $(tail -n 1 "$work/logits.log")"
  fi
fi

if [ -z "$text" ]; then
  skip "perplexity: no text given"
else
  for type in "${types[@]}"; do
    log=$work/perplexity-$type.log theirs='' status=0
    # llama.cpp keeps keys and values as f16 unless told otherwise, which the F32 file is not judged by.
    exact=()
    [ "$type" = F32 ] && exact=(-ctk f32 -ctv f32 -fa off)
    # llama-perplexity prints from a thread of its own and now and then ends, successfully, before its last line.
    for _ in 1 2 3 4 5; do
      "$perplexity" -m "$work/ours-$type.gguf" -f "$text" -c "$context" --chunks "$chunks" -t "$threads" \
        "${exact[@]}" >"$log" 2>&1 </dev/null || status=$?
      theirs=$(sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p' "$log")
      if [ -n "$theirs" ] || [ "$status" -ne 0 ]; then break; fi
    done
    if [ -z "$theirs" ]; then
      fail "$type: llama-perplexity ended with $status: $(tail -n 1 "$log")"; continue
    fi
    if [ -z "$ours" ]; then
      skip "$type: llama.cpp's perplexity is $theirs, with nothing to compare"; continue
    fi
    allowed=$tolerance
    [ "$type" = F32 ] && allowed=0.1
    off=$(awk -v a="$theirs" -v b="$ours" 'BEGIN { d = 100 * (a / b - 1); printf "%.4f", d < 0 ? -d : d }')
    line="$type: perplexity $theirs in llama.cpp, $ours in t81-qat, $off % apart ($allowed % allowed)"
    if at_most "$off" "$allowed"; then ok "$line"; else fail "$line"; fi
  done
fi

echo "$failures failed"
[ "$failures" -eq 0 ]
