//! Reads and writes ternary GGUF files that llama.cpp runs
