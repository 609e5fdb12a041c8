//! The GGUF file that a run ends in: checked before the first step, written when the model is complete.

use std::fs;
use std::path::Path;

use t81_core::Quantizer;
use t81_gguf::{
    ExportOptions, ExportSummary, ModelOutline, Origin, check_export, check_output, export_t81,
};
use t81_hub::{GgufPlace, ModelConfig, T81Directory, TensorPlan, check_apart};

use crate::cli::TrainArguments;
use crate::error::QatError;
use crate::source::Source;

/// `--output-gguf` and the flags that go with it.
pub(crate) struct GgufOutput<'a> {
    path: &'a Path,
    options: ExportOptions,
}

impl<'a> GgufOutput<'a> {
    /// What the command line asks for.
    pub(crate) fn of(arguments: &'a TrainArguments) -> Option<Self> {
        Some(Self {
            path: arguments.output_gguf.as_deref()?,
            options: ExportOptions {
                quant: arguments.gguf_quant,
                tokenizer_pre: arguments.tokenizer_pre,
                overwrite: arguments.overwrite || arguments.resume,
                ..ExportOptions::default()
            },
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.path
    }

    /// Checks that the file can be written beside or into the output directory `run`, and is none of its own files.
    pub(crate) fn check_path(&self, run: &Path) -> Result<(), QatError> {
        GgufPlace::of(self.path, run)?;
        check_output(self.path, self.options.overwrite)?;
        Ok(check_apart(self.path, [run])?)
    }

    /// Checks everything else that the export needs, by its own plan: the tokenizer, the configuration, and `tensors`, which
    /// the run will write.
    pub(crate) fn check_model(
        &self,
        source: &Source,
        tensors: Vec<TensorPlan>,
        quantizer: Quantizer,
    ) -> Result<(), QatError> {
        let scratch;
        let directory = match &source.checkpoint {
            Some(checkpoint) => checkpoint.directory(),
            None => {
                scratch = tempfile::tempdir()
                    .map_err(QatError::file("write to", std::env::temp_dir()))?;
                for (name, contents) in source.companion_files()? {
                    let path = scratch.path().join(name);
                    fs::write(&path, contents).map_err(QatError::file("write", path))?;
                }
                scratch.path()
            }
        };
        let config = ModelConfig::from_json(source.config_json.clone())?;
        let model = ModelOutline {
            directory,
            config: &config,
            tensors,
        };
        let origin = Origin {
            source: source.name.clone(),
            tool: concat!("t81-qat ", env!("CARGO_PKG_VERSION")).to_string(),
            quantizer,
        };
        Ok(check_export(&model, &origin, &self.options)?)
    }

    /// Exports the complete model in `directory`.
    pub(crate) fn write(&self, directory: &T81Directory) -> Result<ExportSummary, QatError> {
        export_t81(directory, self.path, &self.options).map_err(|source| QatError::Export {
            directory: directory.directory().to_path_buf(),
            command: self.command(directory.directory()),
            source: Box::new(source),
        })
    }

    /// The command line that exports `directory` as the run would have.
    fn command(&self, directory: &Path) -> String {
        let mut command = format!(
            "t81-gguf {} --from-t81 {}",
            shell_word(self.path),
            shell_word(directory)
        );
        if let Some(quant) = self.options.quant {
            command.push_str(&format!(" --quant {quant}"));
        }
        if let Some(name) = self.options.tokenizer_pre {
            command.push_str(&format!(" --tokenizer-pre {name}"));
        }
        if self.options.overwrite {
            command.push_str(" --overwrite");
        }
        command
    }
}

/// A path as a POSIX shell reads it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |character: char| character.is_alphanumeric() || "/._-+=@:,".contains(character);
    match text.chars().all(plain) && !text.is_empty() {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_command_to_retry_with_has_all_that_the_run_was_given() {
        let line = "t81-qat tiny --dataset-name stories --output-dir x --gguf-quant tq1_0 --tokenizer-pre olmo --overwrite";
        let mut line: Vec<&str> = line.split(' ').collect();
        line.extend(["--output-gguf", "it's a model.gguf"]);
        let arguments = Cli::parse_from(line).train.unwrap();
        let output = GgufOutput::of(&arguments).unwrap();
        assert_eq!(
            output.command(Path::new("run/t81")),
            r"t81-gguf 'it'\''s a model.gguf' --from-t81 run/t81 --quant TQ1_0 --tokenizer-pre olmo --overwrite"
        );
    }
}
