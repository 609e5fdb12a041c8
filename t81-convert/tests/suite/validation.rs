//! What `validate` finds.
#![cfg(unix)]

use std::fs;
use std::path::Path;

use t81_convert::{ConvertOptions, Progress, convert, convert_with_progress};
use t81_hub::{Dtype, OutputFormat};

use crate::model::{names, write};

/// Changes a byte of the weights between their writing and their validation.
struct Saboteur<'a> {
    place: &'a Path,
    tensor: &'a str,
    byte: u8,
}

impl Progress for Saboteur<'_> {
    fn validating(&mut self, name: &str) {
        if name != self.tensor {
            return;
        }
        let partial = fs::read_dir(self.place)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_str().unwrap().contains(".t81-partial-"))
            .unwrap();
        let path = partial.join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let stored = tensors
            .tensor(&format!("{name}.codes"))
            .or_else(|_| tensors.tensor(name))
            .unwrap();
        let at = stored.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[self.byte], at as u64).unwrap();
    }
}

#[test]
fn validation_finds_what_the_disk_did() {
    let place = tempfile::tempdir().unwrap();
    let (source, out) = (place.path().join("source"), place.path().join("out"));
    write(&source);
    for format in [OutputFormat::Packed, OutputFormat::Dense] {
        let options = ConvertOptions {
            validate: true,
            dtype: Some(Dtype::F16),
            format,
            overwrite: true,
            ..Default::default()
        };
        convert(&source, &out, &options).unwrap();
        let before = fs::read(out.join("model.safetensors")).unwrap();
        for tensor in ["model.layers.0.mlp.up_proj.weight", "model.norm.weight"] {
            // Four codes of 0, or the low byte of a float that is none.
            let mut saboteur = Saboteur {
                place: place.path(),
                tensor,
                byte: 0b0101_0101,
            };
            let result = convert_with_progress(&source, &out, &options, &mut saboteur);
            let message = result.unwrap_err().to_string();
            assert!(
                message.contains(tensor)
                    && (message.contains("read back") || message.contains("not ternary")),
                "{format}: {message}"
            );
            assert_eq!(names(place.path()), ["out", "source"]);
            assert!(fs::read(out.join("model.safetensors")).unwrap() == before);
        }
    }
}
