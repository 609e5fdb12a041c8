//! Any bytes as a GGUF file: errors are fine, panics and huge allocations are not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use t81_gguf::GgufHeader;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = GgufHeader::parse(bytes) else {
        return;
    };
    for info in &header.tensors {
        assert!(header.data_start + info.offset + info.bytes <= bytes.len() as u64);
    }
});
