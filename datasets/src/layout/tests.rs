//! File choices for the listings of well-known datasets and for odd ones.

use super::*;

fn names(listing: &[&str]) -> Vec<String> {
    listing.iter().map(|name| (*name).to_owned()).collect()
}

fn chosen(listing: &[&str], card: &str, configuration: Option<&str>) -> Vec<(String, Vec<String>)> {
    let card = read_card(card).unwrap();
    choose_files("owner/name", &names(listing), &card, configuration)
        .unwrap()
        .splits
}

fn refused(listing: &[&str], card: &str, configuration: Option<&str>) -> DataError {
    let card = read_card(card).unwrap();
    choose_files("owner/name", &names(listing), &card, configuration).unwrap_err()
}

fn expected(splits: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    splits
        .iter()
        .map(|(split, files)| ((*split).to_owned(), names(files)))
        .collect()
}

const WIKITEXT: &[&str] = &[
    ".gitattributes",
    "README.md",
    "wikitext-103-raw-v1/test-00000-of-00001.parquet",
    "wikitext-103-raw-v1/train-00000-of-00002.parquet",
    "wikitext-103-raw-v1/train-00001-of-00002.parquet",
    "wikitext-103-raw-v1/validation-00000-of-00001.parquet",
    "wikitext-2-raw-v1/test-00000-of-00001.parquet",
    "wikitext-2-raw-v1/train-00000-of-00001.parquet",
    "wikitext-2-raw-v1/validation-00000-of-00001.parquet",
];

const WIKITEXT_CARD: &str = "---\npretty_name: WikiText\nconfigs:\n\
    - config_name: wikitext-103-raw-v1\n  data_files:\n  - split: test\n    path: wikitext-103-raw-v1/test-*\n  \
    - split: train\n    path: wikitext-103-raw-v1/train-*\n  - split: validation\n    path: wikitext-103-raw-v1/validation-*\n\
    - config_name: wikitext-2-raw-v1\n  data_files:\n  - split: test\n    path: wikitext-2-raw-v1/test-*\n  \
    - split: train\n    path: wikitext-2-raw-v1/train-*\n  - split: validation\n    path: wikitext-2-raw-v1/validation-*\n\
    ---\n# WikiText\n";

#[test]
fn wikitext_by_its_card_and_by_its_folders() {
    let raw_2 = expected(&[
        ("test", &["wikitext-2-raw-v1/test-00000-of-00001.parquet"]),
        ("train", &["wikitext-2-raw-v1/train-00000-of-00001.parquet"]),
        (
            "validation",
            &["wikitext-2-raw-v1/validation-00000-of-00001.parquet"],
        ),
    ]);
    assert_eq!(
        chosen(WIKITEXT, WIKITEXT_CARD, Some("wikitext-2-raw-v1")),
        raw_2
    );
    let mut sorted = chosen(WIKITEXT, "", Some("wikitext-2-raw-v1"));
    sorted.sort();
    assert_eq!(sorted, raw_2);
    let large = chosen(WIKITEXT, WIKITEXT_CARD, Some("wikitext-103-raw-v1"));
    assert_eq!(large[1].1.len(), 2);

    let known = ["wikitext-103-raw-v1", "wikitext-2-raw-v1"];
    for card in [WIKITEXT_CARD, ""] {
        let error = refused(WIKITEXT, card, Some("wikitext-3"));
        assert!(
            matches!(&error, DataError::UnknownConfiguration { configuration, known: k, .. }
                if configuration == "wikitext-3" && *k == known),
            "{error}"
        );
    }
    let error = refused(WIKITEXT, WIKITEXT_CARD, None);
    assert!(
        matches!(&error, DataError::SeveralConfigurations { known: k, .. } if *k == known),
        "{error}"
    );
}

#[test]
fn c4_by_its_card_and_by_its_folders() {
    let listing = [
        "README.md",
        "c4.py",
        "en.noblocklist/c4-train.00000-of-01024.json.gz",
        "en/c4-train.00000-of-01024.json.gz",
        "en/c4-train.00001-of-01024.json.gz",
        "en/c4-validation.00000-of-00008.json.gz",
        "multilingual/c4-af.tfrecord-00000-of-00064.json.gz",
    ];
    let card = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/c4-train.*.json.gz\n  \
        - split: validation\n    path: en/c4-validation.*.json.gz\n- config_name: af\n  data_files:\n  - split: train\n    \
        path: multilingual/c4-af.*.json.gz\n---\n";
    let english = expected(&[
        (
            "train",
            &[
                "en/c4-train.00000-of-01024.json.gz",
                "en/c4-train.00001-of-01024.json.gz",
            ],
        ),
        ("validation", &["en/c4-validation.00000-of-00008.json.gz"]),
    ]);
    assert_eq!(chosen(&listing, card, Some("en")), english);
    assert_eq!(chosen(&listing, "", Some("en")), english);
    assert_eq!(
        chosen(&listing, card, Some("af")),
        expected(&[(
            "train",
            &["multilingual/c4-af.tfrecord-00000-of-00064.json.gz"]
        )])
    );
}

#[test]
fn tiny_stories_by_its_sharded_names() {
    let listing = [
        ".gitattributes",
        "Evaluation prompts.yaml",
        "README.md",
        "TinyStories-train.txt",
        "TinyStories-valid.txt",
        "TinyStories_all_data.tar.gz",
        "data/train-00000-of-00004-2d5a1467fff1081b.parquet",
        "data/train-00001-of-00004-5852b56a2bd28fd9.parquet",
        "data/validation-00000-of-00001-869c898b519ad725.parquet",
    ];
    let files = chosen(&listing, "---\nlicense: cdla-sharing-1.0\n---\n", None);
    assert_eq!(
        files,
        expected(&[
            (
                "train",
                &[
                    "data/train-00000-of-00004-2d5a1467fff1081b.parquet",
                    "data/train-00001-of-00004-5852b56a2bd28fd9.parquet"
                ]
            ),
            (
                "validation",
                &["data/validation-00000-of-00001-869c898b519ad725.parquet"]
            ),
        ])
    );
    assert_eq!(
        chosen(&listing[..6], "", None),
        expected(&[
            ("train", &["TinyStories-train.txt"]),
            ("validation", &["TinyStories-valid.txt"]),
        ])
    );
}

#[test]
fn fineweb_by_its_patterns() {
    let listing = [
        "README.md",
        "data/CC-MAIN-2013-20/train-00000-of-00014.parquet",
        "data/CC-MAIN-2013-48/train-00000-of-00014.parquet",
        "eval.py",
        "sample/10BT/000_00000.parquet",
        "sample/10BT/001_00000.parquet",
        "sample/350BT/000_00000.parquet",
    ];
    let card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*/*\n  features:\n  \
        - name: text\n    dtype: string\n- config_name: sample-10BT\n  data_files:\n  - split: train\n    path: \
        sample/10BT/*\n---\n";
    assert_eq!(
        chosen(&listing, card, Some("sample-10BT")),
        expected(&[(
            "train",
            &[
                "sample/10BT/000_00000.parquet",
                "sample/10BT/001_00000.parquet"
            ]
        )])
    );
    assert_eq!(chosen(&listing, card, None)[0].1, names(&listing[1..3]));
    assert_eq!(
        chosen(&listing, "", Some("sample/10BT"))[0].1,
        names(&listing[4..6])
    );
}

#[test]
fn the_hubs_own_conversion_has_configurations() {
    let listing = [
        ".gitattributes",
        "all/test/0000.parquet",
        "all/train/0000.parquet",
        "small/train/0000.parquet",
    ];
    assert_eq!(
        chosen(&listing, "", Some("all")),
        expected(&[
            ("train", &["all/train/0000.parquet"]),
            ("test", &["all/test/0000.parquet"]),
        ])
    );
    assert!(matches!(
        refused(&listing, "", None),
        DataError::SeveralConfigurations { known, .. } if known == ["all", "small"]
    ));
    assert_eq!(
        chosen(&listing[3..], "", None),
        expected(&[("train", &["small/train/0000.parquet"])])
    );
}

#[test]
fn keywords_in_folders_come_before_those_in_names() {
    let listing = ["dev/test_a.txt", "my-train_set/b.txt", "train.txt"];
    assert_eq!(
        chosen(&listing, "", None),
        expected(&[
            ("train", &["my-train_set/b.txt"]),
            ("validation", &["dev/test_a.txt"]),
        ])
    );
    let listing = [
        "a_test.jsonl",
        "constraint.jsonl",
        "devel.jsonl",
        "trainer.jsonl",
        "valid-01.jsonl",
        "x/y/Training-train.jsonl",
    ];
    assert_eq!(
        chosen(&listing, "", None),
        expected(&[
            ("train", &["x/y/Training-train.jsonl"]),
            ("validation", &["valid-01.jsonl"]),
            ("test", &["a_test.jsonl"]),
        ])
    );
}

#[test]
fn without_any_sign_everything_is_for_training() {
    let listing = [
        ".cache/c.txt",
        "README.md",
        "__pycache__/d.txt",
        "b.txt",
        "books/a.txt",
        "dataset_infos.json",
    ];
    assert_eq!(
        chosen(&listing, "", None),
        expected(&[("train", &["b.txt", "books/a.txt"])])
    );
    assert_eq!(
        chosen(&["shard_000.jsonl.zst", "shard_001.jsonl.zst"], "", None)[0]
            .1
            .len(),
        2
    );
}

#[test]
fn what_cannot_be_read_is_said_with_the_way_out() {
    for (listing, said) in [
        (&["x.py", "README.md"][..], "loading script"),
        (&["train.arrow", "LICENSE.txt"], "its data files are .arrow"),
        (&["README.md"], "it has no .parquet"),
        (&[], "it has no .parquet"),
    ] {
        let error = refused(listing, "", None);
        assert!(matches!(error, DataError::NoDataFiles { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let card = "---\nconfigs:\n- config_name: a\n  data_files: 'missing/*'\n---\n";
    let error = refused(&["a.txt"], card, None);
    assert!(
        matches!(&error, DataError::CardPattern { pattern, .. } if pattern == "missing/*"),
        "{error}"
    );
    let card = "---\nconfigs:\n- config_name: a\n  data_files: '[a.txt'\n---\n";
    assert!(matches!(
        refused(&["a.txt"], card, None),
        DataError::CardPattern { .. }
    ));
}

#[test]
fn a_folder_of_the_card_is_what_its_patterns_are_relative_to() {
    let listing = ["x/a/train.txt", "x/a/valid.txt", "x/b/train.txt"];
    let card = "---\nconfigs:\n- config_name: a\n  data_dir: x/a\n- config_name: b\n  data_dir: ./x/b/\n  data_files: \
        '*.txt'\n---\n";
    assert_eq!(
        chosen(&listing, card, Some("a")),
        expected(&[
            ("train", &["x/a/train.txt"]),
            ("validation", &["x/a/valid.txt"]),
        ])
    );
    assert_eq!(
        chosen(&listing, card, Some("b")),
        expected(&[("train", &["x/b/train.txt"])])
    );
    let card = "---\nconfigs:\n- config_name: all\n  data_files: x/\n---\n";
    assert_eq!(chosen(&listing, card, None)[0].1, names(&listing));
    let card = "---\nconfigs:\n- config_name: all\n  data_files: '**/train.txt'\n---\n";
    assert_eq!(
        chosen(&listing, card, None)[0].1,
        names(&["x/a/train.txt", "x/b/train.txt"])
    );
}

#[test]
fn splits_whose_files_are_not_there_are_left_out() {
    let files = chosen(&WIKITEXT[7..], WIKITEXT_CARD, Some("wikitext-2-raw-v1"));
    let splits: Vec<&str> = files.iter().map(|(split, _)| split.as_str()).collect();
    assert_eq!(splits, ["train", "validation"]);
    let error = refused(&WIKITEXT[..6], WIKITEXT_CARD, Some("wikitext-2-raw-v1"));
    assert!(matches!(error, DataError::CardPattern { .. }), "{error}");
}
