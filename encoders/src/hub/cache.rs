//! A repository in the cache that Hugging Face's tools share: `blobs/` by checksum, `snapshots/<commit>/` as links to them,
//! `refs/<revision>` with a commit each. What `hf download` fetched is found here, and the other way round.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::client::{Client, RemoteFile};
use super::digest::Checksum;
use super::download::Download;
use super::error::InstallError;
use super::progress::Meter;
use super::source::HubId;
use crate::install;

/// The part of the cache that belongs to one repository.
pub(super) struct RepoCache {
    repo: CacheRepo,
    root: PathBuf,
    hub: HubId,
}

impl RepoCache {
    pub fn new(cache: &Cache, hub: &HubId) -> Self {
        let repo = Repo::with_revision(hub.id.clone(), RepoType::Model, hub.revision.clone());
        let root = cache.path().join(repo.folder_name());
        Self { repo: cache.repo(repo), root, hub: hub.clone() }
    }

    /// The repository's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes that are still to be fetched of these files.
    pub fn missing<'a>(&self, files: impl IntoIterator<Item = &'a RemoteFile>) -> u64 {
        let missing = |file: &RemoteFile| {
            let blob = self.blob(file.checksum.as_ref()?);
            let there =
                [part_of(&blob), blob].iter().filter_map(|p| p.metadata().ok()).map(|m| m.len()).max();
            Some(file.size?.saturating_sub(there.unwrap_or(0)))
        };
        files.into_iter().filter_map(missing).sum()
    }

    /// Has `file` as a blob: from the cache when its checksum holds, otherwise over the network.
    pub fn fetch(
        &self,
        client: &Client,
        commit: &str,
        file: &RemoteFile,
        meter: &Meter<'_>,
    ) -> Result<PathBuf, InstallError> {
        let url = client.file_url(&self.hub.id, commit, &file.name);
        let mut file = file.clone();
        client.complete(&url, &mut file)?;
        let Some(checksum) = file.checksum.clone() else { return Err(super::client::refused(&url, 404, "")) };
        let blob = self.blob(&checksum);
        fs_err::create_dir_all(self.root.join("blobs"))?;
        let _lock = lock(&blob, &file.name)?;
        if blob.is_file() && checksum.of_file(&blob)? != checksum {
            fs_err::remove_file(&blob)?;
        }
        if !blob.is_file() {
            let part = part_of(&blob);
            let download = Download {
                client,
                url,
                file: &file.name,
                size: file.size,
                checksum: Some(checksum),
                part,
                etag: None,
            };
            download.run(meter)?;
            fs_err::rename(&download.part, &blob)?;
        }
        meter.finish(&file.name, fs_err::metadata(&blob)?.len());
        self.point(commit, &file.name, &blob)?;
        Ok(blob)
    }

    /// Notes which commit the revision is at, for offline use.
    pub fn note(&self, commit: &str) -> Result<(), InstallError> {
        if self.hub.revision != commit {
            self.repo.create_ref(commit)?;
        }
        Ok(())
    }

    /// The commit that the revision was at when it was last fetched, and the files there are of it.
    pub fn offline(&self) -> Option<(String, Vec<(String, PathBuf)>)> {
        let revision = &self.hub.revision;
        let commit =
            fs_err::read_to_string(self.root.join("refs").join(revision)).map(|text| text.trim().to_owned());
        let commit = commit.unwrap_or_else(|_| revision.clone());
        if commit.contains('/') {
            return None;
        }
        let snapshot = self.repo.pointer_path(&commit);
        let files = install::files_below(&snapshot).ok()?;
        let files: Vec<_> = files.into_iter().map(|name| (name.clone(), snapshot.join(name))).collect();
        (!files.is_empty()).then_some((commit, files))
    }

    fn blob(&self, checksum: &Checksum) -> PathBuf {
        self.root.join("blobs").join(checksum.digits())
    }

    /// `snapshots/<commit>/<file>` as a relative link to the blob, so that the cache can be moved.
    fn point(&self, commit: &str, file: &str, blob: &Path) -> Result<(), InstallError> {
        let pointer = self.repo.pointer_path(commit).join(file);
        if pointer.exists() {
            return Ok(());
        }
        if let Some(parent) = pointer.parent() {
            fs_err::create_dir_all(parent)?;
        }
        // A link whose blob is gone exists as a link.
        let _ = fs_err::remove_file(&pointer);
        let up = "../".repeat(2 + file.matches('/').count());
        let target = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
        #[cfg(unix)]
        fs_err::os::unix::fs::symlink(&target, &pointer)?;
        #[cfg(not(unix))]
        fs_err::copy(blob, &pointer).map(drop)?;
        Ok(())
    }
}

fn part_of(blob: &Path) -> PathBuf {
    blob.with_extension("part")
}

/// Holds off other processes that would write the same part file. The lock goes with the process, however that ends.
pub(super) fn lock(blob: &Path, file: &str) -> Result<File, InstallError> {
    let path = blob.with_extension("lock");
    let lock = fs_err::File::create(&path)?.into_parts().0;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(InstallError::Busy { file: file.into(), lock: path }),
        // A file system without locks: go on, as the hub's own tools do there.
        Err(TryLockError::Error(_)) => Ok(lock),
    }
}
