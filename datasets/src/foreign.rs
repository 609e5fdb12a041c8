//! What downloads and clones leave in place of a data file.

use std::path::Path;

use t81_hub::{ForeignContent, HubError};

use crate::encoding::BEGINNING_BYTES;
use crate::error::DataError;
use crate::layout::Format;

/// Fails if the file at `path`, whose first bytes are `beginning`, is plainly not what its name promises.
pub(crate) fn check_foreign(
    path: &Path,
    beginning: &[u8],
    format: Format,
) -> Result<(), DataError> {
    let is_page = path
        .extension()
        .is_some_and(|extension| extension == "html" || extension == "htm");
    let found = ForeignContent::recognize(beginning).filter(|found| match found {
        ForeignContent::LfsPointer { .. } => true,
        ForeignContent::WebPage => !is_page,
        // A text may begin like a message, and a message is the whole file.
        ForeignContent::ServerMessage(_) => {
            format != Format::Text && beginning.len() < BEGINNING_BYTES
        }
        _ => false,
    });
    match found {
        None => Ok(()),
        Some(found) => Err(DataError::Hub(HubError::Foreign {
            path: path.to_owned(),
            found,
        })),
    }
}
