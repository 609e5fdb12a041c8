#!/usr/bin/env bash
# Builds ggml_kernels, the peer of the kernel benchmark, against a llama.cpp whose sources and build are at hand.
#
#   ggml_kernels.sh SOURCE BUILD OUT    SOURCE has ggml/include, BUILD/bin has libggml*.so, OUT is the program to write
set -euo pipefail
source=${1:?usage: ggml_kernels.sh SOURCE BUILD OUT} build=$(cd "$2" && pwd) out=${3:?}
"${CXX:-g++}" -O2 -std=c++17 "$(dirname "$0")/ggml_kernels.cpp" -I "$source/ggml/include" -L "$build/bin" -lggml -lggml-cpu \
  -lggml-base -Wl,-rpath,"$build/bin" -o "$out"
