//! Checksums of the files of a checkpoint, as `xxh128sum` writes and checks them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

/// Name of the file beside those that it vouches for.
const FILE: &str = "checksums.xxh128";

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// Writes the checksums of the files `names` in `folder`, and waits until they are on disk.
pub(super) fn write(folder: &Path, names: &[String]) -> io::Result<()> {
    let mut lines = String::new();
    for name in names {
        lines.push_str(&format!("{}  {name}\n", checksum(&folder.join(name))?));
    }
    let path = folder.join(FILE);
    fs::write(&path, lines)?;
    File::open(&path)?.sync_all()
}

/// What a file is not, and the name of the file.
#[derive(Debug, PartialEq)]
pub(super) struct Mismatch {
    pub(super) name: String,
    pub(super) message: String,
}

/// Whether the files in `folder` are those that were written, of which there is nothing to compare with (`Ok(false)`) in a
/// checkpoint from before there were checksums.
pub(super) fn check(folder: &Path, names: &[String]) -> Result<bool, Mismatch> {
    let mismatch = |name: &str, message: String| Mismatch {
        name: name.to_owned(),
        message,
    };
    let lines = match fs::read_to_string(folder.join(FILE)) {
        Ok(lines) => lines,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(mismatch(FILE, error.to_string())),
    };
    for name in names {
        let expected = lines
            .lines()
            .filter_map(|line| line.split_once("  "))
            .find(|(_, listed)| listed == name);
        let Some((expected, _)) = expected else {
            return Err(mismatch(FILE, format!("it has no line for {name}")));
        };
        match checksum(&folder.join(name)) {
            Ok(found) if found == expected => {}
            Ok(found) => {
                let message = format!("its checksum is {found}, {FILE} has {expected}");
                return Err(mismatch(name, message));
            }
            Err(error) => return Err(mismatch(name, error.to_string())),
        }
    }
    Ok(true)
}

/// XXH3-128 of a file in hexadecimal digits.
fn checksum(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Box::new(Xxh3::new());
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(format!("{:032x}", hash.digest128())),
            Ok(length) => hash.update(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_found_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["model.bpk", "state.json"].map(str::to_owned);
        fs::write(folder.path().join("model.bpk"), vec![7; CHUNK + 5]).unwrap();
        fs::write(folder.path().join("state.json"), "{}").unwrap();
        assert_eq!(check(folder.path(), &names), Ok(false));
        write(folder.path(), &names).unwrap();
        assert_eq!(check(folder.path(), &names), Ok(true));
        // As xxh128sum prints it.
        let lines = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(
            lines.lines().nth(1),
            Some("dc7048f8f8747f561349cde127705c16  state.json")
        );

        let mut bytes = vec![7; CHUNK + 5];
        bytes[CHUNK + 2] ^= 1;
        fs::write(folder.path().join("model.bpk"), bytes).unwrap();
        let error = check(folder.path(), &names).unwrap_err();
        assert_eq!(error.name, "model.bpk");
        fs::remove_file(folder.path().join("model.bpk")).unwrap();
        assert_eq!(check(folder.path(), &names).unwrap_err().name, "model.bpk");
        fs::write(folder.path().join(FILE), "").unwrap();
        assert_eq!(check(folder.path(), &names).unwrap_err().name, FILE);
    }
}
