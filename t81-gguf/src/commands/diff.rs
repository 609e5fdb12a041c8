//! `t81-gguf diff A B`

use std::path::Path;
use std::process::ExitCode;

use t81_gguf::{Comparison, GgufFile};

use super::{Outcome, print_result, printable};

pub(crate) fn run(first: &Path, second: &Path) -> Outcome {
    let comparison = Comparison::of(&GgufFile::open(first)?, &GgufFile::open(second)?);
    print_result(format!("{}\n", printable(&comparison.to_string())).as_bytes())?;
    Ok(if comparison.is_equal() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
