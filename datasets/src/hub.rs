//! Datasets of the Hugging Face Hub.

use std::path::PathBuf;

use t81_hub::{HubClient, RepoId, RepoListing};

use crate::error::DataError;
use crate::repository::Repository;

/// Configurations that are taken where the user names none and the dataset has no default.
const DEFAULT_CONFIGURATIONS: &[(&str, &str)] = &[
    ("wikitext", "wikitext-2-raw-v1"),
    ("Salesforce/wikitext", "wikitext-2-raw-v1"),
];

/// The configuration to take of a dataset of which the user named none.
pub(crate) fn default_configuration(id: &str) -> Option<&'static str> {
    DEFAULT_CONFIGURATIONS
        .iter()
        .find(|(known, _)| *known == id)
        .map(|(_, configuration)| *configuration)
}

/// A dataset repository at one commit.
pub(crate) struct HubDataset<'c> {
    client: &'c HubClient,
    name: String,
    asked: RepoId,
    repo: RepoId,
    listing: RepoListing,
}

impl<'c> HubDataset<'c> {
    /// Looks up the dataset `id` at a branch, tag or commit.
    pub(crate) fn open(
        client: &'c HubClient,
        id: &str,
        revision: Option<&str>,
    ) -> Result<Self, DataError> {
        let wrong = |error: t81_hub::RemoteError| DataError::Hub(error.into());
        let mut repo = RepoId::dataset(id).map_err(wrong)?;
        if let Some(revision) = revision {
            repo = repo.at_revision(revision).map_err(wrong)?;
        }
        let listing = client.list(&repo)?;
        Ok(Self {
            client,
            name: repo.to_string(),
            asked: repo.clone(),
            // All files are of the same commit, should the branch move meanwhile.
            repo: repo.at_revision(&listing.commit).map_err(wrong)?,
            listing,
        })
    }

    /// Makes this commit the one that is read offline, once all files that were needed have been downloaded.
    pub(crate) fn record_revision(&self) {
        self.client
            .record_revision(&self.asked, &self.listing.commit);
    }
}

impl Repository for HubDataset<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn files(&self) -> Result<Vec<String>, DataError> {
        let files = self.listing.files.iter();
        Ok(files.map(|file| file.path.clone()).collect())
    }

    fn fetch(&self, file: &str) -> Result<PathBuf, DataError> {
        Ok(self.client.download(&self.repo, file)?)
    }
}
