//! `t81-gguf diff A B`

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use t81_gguf::{Comparison, GgufFile};

use super::{Outcome, printable};

pub(crate) fn run(first: &Path, second: &Path) -> Outcome {
    let comparison = Comparison::of(&GgufFile::open(first)?, &GgufFile::open(second)?);
    writeln!(io::stdout(), "{}", printable(&comparison.to_string()))?;
    Ok(if comparison.is_equal() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
