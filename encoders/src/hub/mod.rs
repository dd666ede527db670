//! Models from elsewhere: the only code of Pictor that uses the network, and only when `pictor model add` asks for it.
//!
//! The cache's layout and the repository's names are those of the crate `hf-hub`, 0.5 without its HTTP clients. Its version 1
//! brings a second HTTP stack, an async runtime and a chunk store (105 crates more, AWS-LC among them) and starts an interrupted
//! file from the beginning; the blocking client of 0.5 passes the token on to the host that a hub redirects to, checks no
//! checksum, and appends a whole file to half a one when a server ignores `Range`. So the transport is ureq, used here.
//!
//! | question | file |
//! |---|---|
//! | What can be added? | `source.rs` |
//! | Which variables count? | `settings.rs` |
//! | Which files are fetched? | `select.rs` |
//! | Who gets the token, what is tried again? | `client.rs` |
//! | How is an interrupted file resumed, and checked? | `download.rs`, `digest.rs` |
//! | Where is it kept meanwhile? | `cache.rs` |
//! | What is unpacked from an archive? | `archive.rs` |
//!
//! Putting the files in place is `install/`.

mod archive;
mod cache;
mod client;
mod digest;
mod download;
mod error;
mod progress;
mod select;
mod settings;
mod source;

use std::path::{Path, PathBuf};

use cache::RepoCache;
use client::{Client, RemoteFile};
pub(crate) use digest::sha256_of_file;
pub use error::InstallError;
use progress::Meter;
pub use progress::{AddProgress, AddState};
use settings::Settings;
use source::without_credentials;
pub use source::{HubId, Source};

use crate::install::{InstalledModel, Origin, Staging, files_below, space};
use crate::manifest::{MANIFEST_FILE, ModelManifest};
use crate::runtime::Precision;

/// How a model is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddOptions {
    /// Name to install it under; otherwise `organisation--name`, or the last part of the path or address.
    pub name: Option<String>,
    /// Precisions to fetch; at least one.
    pub precisions: Vec<Precision>,
    /// Whether to replace an installed model of the same name.
    pub replace: bool,
}

impl Default for AddOptions {
    fn default() -> Self {
        Self { name: None, precisions: vec![Precision::Fp32], replace: false }
    }
}

/// Fetches a model and installs it into the first directory of the search path that can be written to.
///
/// # Errors
/// [`InstallError`]; nothing is installed then, and what an earlier installation left stays. What was downloaded is kept in the
/// hub's cache, so a second call goes on.
pub fn add_model(
    source: &Source,
    options: &AddOptions,
    progress: &dyn AddProgress,
) -> Result<InstalledModel, InstallError> {
    let name = options.name.clone().unwrap_or_else(|| default_name(source));
    let staging = Staging::new(&name, options.replace)?;
    match source {
        Source::Hub(hub) => add_hub(hub, staging, options, progress),
        Source::Folder(folder) => add_folder(folder, staging, options, progress),
        Source::Archive(url) => add_archive(url, staging, progress),
    }
}

/// `organisation--name`, or the last part of the path or address without its ending.
fn default_name(source: &Source) -> String {
    match source {
        Source::Hub(hub) => hub.id.replace('/', "--"),
        Source::Folder(folder) => {
            let folder = fs_err::canonicalize(folder).unwrap_or_else(|_| folder.clone());
            folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
        Source::Archive(url) => {
            let url = without_credentials(url);
            let file = url.rsplit('/').next().unwrap_or_default();
            let ending = [".tar.gz", ".tgz", ".tar"].iter().find(|ending| file.ends_with(**ending));
            file.trim_end_matches(ending.copied().unwrap_or_default()).to_owned()
        }
    }
}

fn add_hub(
    hub: &HubId,
    staging: Staging,
    options: &AddOptions,
    progress: &dyn AddProgress,
) -> Result<InstalledModel, InstallError> {
    let settings = Settings::from_env()?;
    let cache = RepoCache::new(&settings.cache, hub);
    let (commit, files, license) = if settings.offline {
        let (commit, files) = offline(hub, &settings, &cache, options)?;
        (commit, files, None)
    } else {
        online(hub, &settings, &cache, options, progress)?
    };
    for (file, blob) in &files {
        staging.take(file, blob, true)?;
    }
    let (id, revision) = (hub.id.clone(), hub.revision.clone());
    staging.finish(Origin::Hub { endpoint: settings.endpoint, id, revision, commit }, license)
}

/// Commit, files as `(name, path in the cache)`, and the licence that the model's page states.
type Fetched = (String, Vec<(String, PathBuf)>, Option<String>);

fn online(
    hub: &HubId,
    settings: &Settings,
    cache: &RepoCache,
    options: &AddOptions,
    progress: &dyn AddProgress,
) -> Result<Fetched, InstallError> {
    let client = Client::new(settings);
    let listing = client.listing(hub)?;
    let names: Vec<String> = listing.files.iter().map(|file| file.name.clone()).collect();
    let find = |name: &String| listing.files.iter().find(|file| file.name == *name);
    let manifest = match listing.files.iter().find(|file| file.name == MANIFEST_FILE) {
        Some(file) => {
            let path = cache.fetch(&client, &listing.commit, file, &Meter::new(progress, None))?;
            Some(ModelManifest::parse(&fs_err::read(path)?, Path::new(MANIFEST_FILE))?)
        }
        None => None,
    };
    let wanted = choose(&format!("{}/{}", settings.endpoint, hub.id), &names, options, manifest.as_ref())?;
    let wanted: Vec<&RemoteFile> = wanted.iter().filter_map(find).collect();
    space::require(cache.root(), cache.missing(wanted.iter().copied()), "HF_HOME")?;
    let total = wanted.iter().map(|file| file.size).sum();
    let meter = Meter::new(progress, total);
    let mut files = Vec::new();
    for file in wanted {
        files.push((file.name.clone(), cache.fetch(&client, &listing.commit, file, &meter)?));
    }
    for file in unnamed_data(&files).iter().filter_map(find) {
        files.push((file.name.clone(), cache.fetch(&client, &listing.commit, file, &meter)?));
    }
    cache.note(&listing.commit)?;
    Ok((listing.commit, files, listing.license))
}

fn offline(
    hub: &HubId,
    settings: &Settings,
    cache: &RepoCache,
    options: &AddOptions,
) -> Result<(String, Vec<(String, PathBuf)>), InstallError> {
    let missing = |what: String| InstallError::Offline { what, cache: settings.cache.path().clone() };
    let (commit, files) =
        cache.offline().ok_or_else(|| missing(format!("{} at {}", hub.id, hub.revision)))?;
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let manifest = match files.iter().find(|(name, _)| name == MANIFEST_FILE) {
        Some((_, path)) => Some(ModelManifest::parse(&fs_err::read(path)?, path)?),
        None => None,
    };
    let wanted = choose(&hub.id, &names, options, manifest.as_ref());
    let wanted = wanted.map_err(|error| missing(format!("what is needed of {error}")))?;
    let (mut chosen, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(name, _)| wanted.contains(name));
    let data = unnamed_data(&chosen);
    chosen.extend(others.into_iter().filter(|(name, _)| data.contains(name)));
    Ok((commit, chosen))
}

/// What the graphs among `files`, given with their paths, keep their weights in and is not among them.
fn unnamed_data(files: &[(String, PathBuf)]) -> Vec<String> {
    let graphs = files.iter().filter(|(name, _)| name.ends_with(".onnx"));
    let mut data: Vec<String> = graphs.flat_map(|(name, path)| select::external(name, path)).collect();
    data.retain(|name| files.iter().all(|(there, _)| there != name));
    data.sort();
    data.dedup();
    data
}

fn choose(
    origin: &str,
    names: &[String],
    options: &AddOptions,
    manifest: Option<&ModelManifest>,
) -> Result<Vec<String>, InstallError> {
    select::wanted(names, &options.precisions, manifest)
        .map_err(|reason| InstallError::Incomplete { origin: origin.into(), reason })
}

fn add_folder(
    folder: &Path,
    staging: Staging,
    options: &AddOptions,
    progress: &dyn AddProgress,
) -> Result<InstalledModel, InstallError> {
    let folder = fs_err::canonicalize(folder)?;
    let names = files_below(&folder)?;
    let manifest = if select::has_manifest(&names) {
        let path = folder.join(MANIFEST_FILE);
        Some(ModelManifest::parse(&fs_err::read(&path)?, &path)?)
    } else {
        None
    };
    let mut files = choose(&folder.display().to_string(), &names, options, manifest.as_ref())?;
    let at: Vec<_> = files.iter().map(|file| (file.clone(), folder.join(file))).collect();
    files.extend(unnamed_data(&at).into_iter().filter(|name| names.contains(name)));
    let sizes = files.iter().map(|file| Ok(fs_err::metadata(folder.join(file))?.len()));
    let sizes: Vec<u64> = sizes.collect::<std::io::Result<_>>()?;
    let total = sizes.iter().sum();
    space::require(&staging.folder(), total, "PICTOR_MODELS")?;
    let meter = Meter::new(progress, Some(total));
    for (file, size) in files.iter().zip(sizes) {
        meter.file(file, 0, Some(size));
        staging.take(file, &folder.join(file), false)?;
        meter.finish(file, size);
    }
    staging.finish(Origin::Folder { path: folder.display().to_string() }, None)
}

fn add_archive(
    url: &str,
    staging: Staging,
    progress: &dyn AddProgress,
) -> Result<InstalledModel, InstallError> {
    let settings = Settings::from_env()?;
    if settings.offline {
        let cache = settings.cache.path().clone();
        return Err(InstallError::Offline { what: without_credentials(url), cache });
    }
    archive::fetch(&Client::new(&settings), url, &staging.folder(), progress)?;
    staging.strip_wrapper()?;
    staging.finish(Origin::Archive { url: without_credentials(url) }, None)
}
