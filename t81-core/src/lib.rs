//! Ternary quantizer, packed ternary matrices and GGUF block codecs
