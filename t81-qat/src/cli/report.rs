//! Arguments of `report`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArguments {
    /// The output directory of a run, finished or not.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Where the page is written [default: report.html in DIR].
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
