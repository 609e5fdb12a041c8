//! Files that the tests read, and what is in them (`../fixtures/make_fixtures.py`).

use std::path::PathBuf;
use std::sync::LazyLock;

use t81_datasets::{DataError, DatasetSource, LoadOptions, TokenStreams, Tokens, story_tokenizer};
use tokenizers::Tokenizer;

/// The training text of the small configuration of `wikitext/`, as its rows join.
pub(crate) const TRAIN: &str = concat!(
    " = Marsh beacon = \n",
    " The marsh beacon is a wooden tower of 14 @.@ 5 m at the mouth of a small river . It was built by the people of three \
     villages , who took turns to keep its fire . \n",
    " In dry years the keepers planted reeds around it ; in wet years they came by boat . \n",
    " = Glass ferry = \n",
    " The ferry known as the \" glass ferry \" carried sand to the kilns and bottles back . Its crew of 6 counted 1 @,@ 200 \
     crossings in a single summer . \n",
    " A caf\u{e9} on the quay still shows the bell , which is said to ring 3 \u{bd} times before rain . \n",
    " = Low orchard = \n",
    " The low orchard grows pears that ripen late . They are picked with hooks , wrapped in paper and kept in straw until the \
     new year . \n",
);

/// The validation text.
pub(crate) const VALIDATION: &str = concat!(
    " = Stone clock = \n",
    " The stone clock has no hands . At noon the shadow of a rod falls into a groove , and a boy strikes the hour . \n",
);

/// The test text.
pub(crate) const TEST: &str = concat!(
    " = Salt road = \n",
    " The salt road leads from the coast to the hills . Its inns are a day 's walk apart . \n",
);

/// The texts of `documents.parquet` that are not empty.
pub(crate) const DOCUMENTS: [&str; 3] = [
    "Mia put the ball in the box.\n\nTom saw it.",
    "A second story ends with a line end.\n",
    "\u{4f60}\u{597d}, caf\u{e9}! \u{1F600} The last one.",
];

/// The path of a fixture.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A small tokenizer, trained once.
pub(crate) fn tokenizer() -> Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| story_tokenizer(400).unwrap());
    TOKENIZER.clone()
}

/// Options of one configuration.
pub(crate) fn configuration(name: &str) -> LoadOptions {
    LoadOptions {
        configuration: Some(name.to_owned()),
        ..LoadOptions::default()
    }
}

/// The training text of a source as its tokens decode.
pub(crate) fn load(
    source: &DatasetSource,
    options: &LoadOptions,
) -> Result<TokenStreams, DataError> {
    source.load(&tokenizer(), options)
}

pub(crate) fn decoded(tokens: &Tokens) -> String {
    tokenizer().decode(&tokens.to_vec(), false).unwrap()
}

/// The whole training stream of a file, validated on something else.
pub(crate) fn train_text(name: &str, options: LoadOptions) -> Result<String, DataError> {
    train_text_of(DatasetSource::Files(vec![path(name)]), options)
}

/// The whole training stream of a source, validated on something else.
pub(crate) fn train_text_of(
    source: DatasetSource,
    options: LoadOptions,
) -> Result<String, DataError> {
    let options = LoadOptions {
        validation_file: Some(path("wikitext/README.md")),
        ..options
    };
    Ok(decoded(&load(&source, &options)?.train))
}
