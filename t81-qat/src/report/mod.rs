//! `t81-qat report`: what a run left, as one page of HTML.

mod charts;
mod float_weights;
mod histogram;
mod layers;
mod markup;
mod page;
mod run_files;
mod svg;
mod tables;
mod weights;

use std::path::PathBuf;

use t81_hub::terminal::{print, print_error};

use crate::cli::ReportArguments;
use crate::command::Run;
use crate::error::QatError;
use crate::output::{result_file, write_whole};
use run_files::RunFiles;
use weights::Weights;

pub(crate) fn run(arguments: &ReportArguments) -> Result<Run, QatError> {
    let path = result_file(
        arguments.directory.join("report.html"),
        arguments.output.as_deref(),
        Some(&arguments.directory),
    )?;
    let mut files = RunFiles::read(&arguments.directory)?;
    let weights = Weights::read(&mut files);
    let page = page::write(&files, weights.as_ref());
    write_whole(&path, page.as_bytes())?;
    for note in &files.notes {
        print_error(format_args!("note: {note}"));
    }
    print(format_args!("{}: the report", shown(path)));
    Ok(Run::Finished)
}

fn shown(path: PathBuf) -> String {
    path.display().to_string()
}
