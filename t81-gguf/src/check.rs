//! Checking a GGUF file against everything that llama.cpp expects of it.
//!
//! The rules are those of llama.cpp b11434: `gguf.cpp` for the container, `llama-model-loader.cpp`, `llama-model.cpp` and
//! `models/*.cpp` for hyper-parameters and tensors, `llama-vocab.cpp` for the tokenizer, `ggml-quants.c` for the values.

mod expected;
mod hyper_parameters;
mod layout;
mod tensor_tables;
mod tensors;
mod tokenizer;
mod values;

use std::fmt;
use std::path::Path;

use crate::error::GgufError;
use crate::reader::GgufFile;

/// What a [`Problem`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The header cannot be read; nothing else was checked.
    Header,
    /// Where tensor data lies: order, padding, the end of the file.
    Layout,
    /// Metadata that is missing, of another type or out of range.
    Metadata,
    /// Tensors that are missing, or that the architecture does not consume.
    Tensors,
    /// A tensor's dimensions.
    Shape,
    /// A tensor's type.
    Type,
    /// The tokenizer.
    Tokenizer,
    /// Values: floats that are not finite, blocks that are not valid.
    Values,
}

impl Rule {
    /// The rule's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Layout => "layout",
            Self::Metadata => "metadata",
            Self::Tensors => "tensors",
            Self::Shape => "shape",
            Self::Type => "type",
            Self::Tokenizer => "tokenizer",
            Self::Values => "values",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The rule that is broken.
    pub rule: Rule,
    /// The tensor or metadata key; empty where the whole file is meant.
    pub subject: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            subject,
            message,
        } = self;
        if subject.is_empty() {
            write!(f, "{rule}: {message}")
        } else {
            write!(f, "{rule}: `{subject}` {message}")
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The value of `general.architecture`, if there is one.
    pub architecture: Option<String>,
    /// Whether the architecture's hyper-parameters and tensors were checked: its rules are known here.
    pub known: bool,
    /// The number of tensors.
    pub tensors: usize,
    /// Everything wrong, in the order of the rules.
    pub problems: Vec<Problem>,
    /// What llama.cpp takes, but is hardly meant.
    pub remarks: Vec<Problem>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks the file at `path`: container, metadata, tensors, tokenizer and every value.
///
/// # Errors
///
/// [`GgufError::Io`] and [`GgufError::NotAFile`] when the file cannot be read. What is wrong inside it is no error but a
/// [`Problem`].
///
/// ```
/// use t81_gguf::{GgufWriter, Metadata, Rule, TensorPlan, TensorType, check};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("model.gguf");
/// let plan = [TensorPlan { name: "t".into(), tensor_type: TensorType::F32, dimensions: vec![1] }];
/// let mut writer = GgufWriter::create(&path, &Metadata::new(), &plan, false)?;
/// writer.write_tensor("t", &f32::NAN.to_le_bytes())?;
/// writer.finish()?;
///
/// let report = check(&path)?;
/// assert!(report.problems.iter().any(|problem| problem.rule == Rule::Values && problem.subject == "t"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(path: impl AsRef<Path>) -> Result<CheckReport, GgufError> {
    match GgufFile::open(path) {
        Ok(file) => Ok(check_file(&file)),
        Err(GgufError::Malformed { source, .. }) => Ok(CheckReport {
            architecture: None,
            known: false,
            tensors: 0,
            problems: vec![Problem {
                rule: Rule::Header,
                subject: String::new(),
                message: source.to_string(),
            }],
            remarks: Vec::new(),
        }),
        Err(error) => Err(error),
    }
}

/// Checks an open file.
pub(crate) fn check_file(file: &GgufFile) -> CheckReport {
    let mut findings = Findings::default();
    layout::check(file, &mut findings);
    let metadata = file.metadata();
    let architecture = metadata.string("general.architecture").map(str::to_owned);
    let known = match &architecture {
        Some(architecture) => {
            let parameters = hyper_parameters::check(metadata, architecture, &mut findings);
            tensors::check(file, architecture, parameters.as_ref(), &mut findings)
        }
        None => {
            findings.add(
                Rule::Metadata,
                "general.architecture",
                "is missing or no text",
            );
            false
        }
    };
    tensors::check_types(file, &mut findings);
    tokenizer::check(file, &mut findings);
    values::check(file, &mut findings);
    CheckReport {
        architecture,
        known,
        tensors: file.header().tensors.len(),
        problems: findings.problems,
        remarks: values::remarks(file),
    }
}

/// Problems found so far.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
}

impl Findings {
    fn add(&mut self, rule: Rule, subject: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem {
            rule,
            subject: subject.into(),
            message: message.into(),
        });
    }
}
