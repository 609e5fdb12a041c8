//! Where tensor data lies.

use super::{Findings, Rule};
use crate::reader::GgufFile;

pub(super) fn check(file: &GgufFile, findings: &mut Findings) {
    let header = file.header();
    let alignment = header.alignment;
    let bytes = file.bytes();
    if header.tensors.is_empty() {
        findings.add(Rule::Tensors, "", "the file has no tensors");
    }
    // llama.cpp wants tensors one after the other in the order of the list, each padded to the alignment.
    let mut expected = 0u64;
    for info in &header.tensors {
        if info.offset != expected {
            findings.add(
                Rule::Layout,
                &info.name,
                format!(
                    "begins at offset {} of the data section where llama.cpp expects {expected}",
                    info.offset
                ),
            );
            return;
        }
        expected = (expected + info.bytes).next_multiple_of(alignment);
    }
    let data_end = match header.tensors.last() {
        Some(last) => header.data_start + last.offset + last.bytes,
        None => return,
    };
    let padded_end = header.data_start + expected;
    let size = bytes.len() as u64;
    if size != data_end && size != padded_end {
        findings.add(
            Rule::Layout,
            "",
            format!(
                "the file has {size} bytes, but its tensors end at {data_end} ({padded_end} with padding)"
            ),
        );
    }
    let dirty = header.tensors.iter().filter(|info| {
        let start = header.data_start + info.offset + info.bytes;
        let end = start.next_multiple_of(alignment).min(size);
        bytes[start as usize..end as usize]
            .iter()
            .any(|&byte| byte != 0)
    });
    if let Some(first) = dirty.clone().next() {
        findings.add(
            Rule::Layout,
            &first.name,
            format!(
                "is followed by padding that is not zero (so are {} more tensors)",
                dirty.count() - 1
            ),
        );
    }
}
