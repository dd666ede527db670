//! The hidden directory in which a model is put together, and the step that makes it visible.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::receipt::{InstalledFile, Origin, Receipt};
use super::{InstalledModel, files_below};
use crate::bundled;
use crate::folder::{ModelFolder, model_search_path};
use crate::hub::{InstallError, sha256_of_file};
use crate::layout::UNKNOWN_LICENSE;

/// Prefix of hidden directories; what follows is the process that made it.
const PREFIX: &str = ".pictor-installing-";
/// Held by the process that made the directory for as long as it lives, so that what a dead one left can be told.
const LOCK: &str = "lock";

/// A model that is being put together.
pub(crate) struct Staging {
    /// `.pictor-installing-…`, on the file system of the final place.
    hidden: PathBuf,
    /// Where the model will be.
    target: PathBuf,
    name: String,
    _lock: File,
}

impl Staging {
    /// Makes room for a model called `name`: where a model of that name is if `replace`, otherwise in the first directory of
    /// the search path that can be written to.
    pub fn new(name: &str, replace: bool) -> Result<Self, InstallError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) || name == bundled::NAME {
            return Err(InstallError::Name { name: name.into(), bundled: bundled::NAME });
        }
        let path = model_search_path();
        let taken =
            path.iter().map(|place| place.join(name)).find(|target| target.symlink_metadata().is_ok());
        if let (Some(path), false) = (&taken, replace) {
            return Err(InstallError::Exists { name: name.into(), path: path.clone() });
        }
        let places = match taken.as_ref().and_then(|target| target.parent()) {
            Some(place) => vec![place.to_owned()],
            None => path,
        };
        let mut tried = Vec::new();
        for place in places {
            match hide(&place) {
                Ok((hidden, lock)) => {
                    let target = place.join(name);
                    let staging = Self { hidden, target, name: name.into(), _lock: lock };
                    fs_err::create_dir(staging.folder())?;
                    return Ok(staging);
                }
                Err(error) => tried.push(error.to_string()),
            }
        }
        let tried = if tried.is_empty() { String::new() } else { format!(": {}", tried.join("; ")) };
        Err(InstallError::NoPlace { tried })
    }

    /// Where the files go. It already has the final name, because some layouts leave a model's name to its folder.
    pub fn folder(&self) -> PathBuf {
        self.hidden.join(&self.name)
    }

    /// Takes `file` from `source`: by a hard link if `link` and the file systems allow it, otherwise as a copy.
    pub fn take(&self, file: &str, source: &Path, link: bool) -> Result<(), InstallError> {
        let target = self.folder().join(file);
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        // The blob itself: a link to a link of the cache would not outlive the cache.
        let source = fs_err::canonicalize(source)?;
        if !(link && std::fs::hard_link(&source, &target).is_ok()) {
            fs_err::copy(&source, &target)?;
        }
        Ok(())
    }

    /// When all files lie in one directory inside the folder, as archives have it, makes that directory the model's.
    pub fn strip_wrapper(&self) -> Result<(), InstallError> {
        let folder = self.folder();
        let entries: Vec<PathBuf> =
            fs_err::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        let [wrapper] = entries.as_slice() else { return Ok(()) };
        if !wrapper.is_dir() || ["onnx", "visual", "textual"].iter().any(|part| wrapper.ends_with(part)) {
            return Ok(());
        }
        let inner = self.hidden.join("unwrapped");
        fs_err::rename(wrapper, &inner)?;
        fs_err::remove_dir(&folder)?;
        Ok(fs_err::rename(&inner, &folder)?)
    }

    /// Opens the model where it is, writes its receipt and makes it visible; `license` is that of the model's page.
    pub fn finish(self, origin: Origin, license: Option<String>) -> Result<InstalledModel, InstallError> {
        let folder = self.folder();
        let unusable = |reason: String| InstallError::Unusable {
            origin: origin.to_string(),
            reason: reason.replace(&format!("{}/", folder.display()), ""),
        };
        let path = folder
            .to_str()
            .ok_or_else(|| unusable("the models directory has a name that is not UTF-8".into()))?;
        let manifest = ModelFolder::find(path).and_then(|found| found.manifest());
        let manifest = manifest.map_err(|error| unusable(error.to_string()))?;
        let describe = |file: String| -> io::Result<InstalledFile> {
            let path = folder.join(&file);
            fs_err::File::open(&path)?.sync_all()?;
            Ok(InstalledFile { bytes: fs_err::metadata(&path)?.len(), sha256: sha256_of_file(&path)?, file })
        };
        let files = files_below(&folder)?.into_iter().map(describe).collect::<io::Result<_>>()?;
        let stated =
            Some(manifest.license.clone()).filter(|text| !text.is_empty() && text != UNKNOWN_LICENSE);
        let receipt = Receipt {
            format: Receipt::format(),
            origin,
            model: manifest.name,
            family: manifest.family,
            dim: manifest.dim,
            license: stated.or(license).unwrap_or(manifest.license),
            fingerprint: manifest.fingerprint,
            files,
        };
        receipt.write(&folder)?;
        fs_err::File::open(&folder)?.sync_all()?;
        swap(&folder, &self.target)?;
        if let Some(place) = self.target.parent() {
            fs_err::File::open(place)?.sync_all()?;
        }
        Ok(InstalledModel { name: self.name.clone(), path: self.target.clone(), receipt: Some(receipt) })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be deleted is left to the next installation, as after a crash.
        let _ = fs_err::remove_dir_all(&self.hidden);
    }
}

/// Makes a hidden directory in `place`, and removes those of processes that are no more.
fn hide(place: &Path) -> io::Result<(PathBuf, File)> {
    fs_err::create_dir_all(place)?;
    for entry in fs_err::read_dir(place)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
            && is_abandoned(&path)
        {
            let _ = fs_err::remove_dir_all(&path);
        }
    }
    let mut number = 0;
    loop {
        let hidden = place.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs_err::create_dir(&hidden) {
            Ok(()) => {
                let lock = fs_err::File::create(hidden.join(LOCK))?.into_parts().0;
                // Without locks on this file system, no other process can tell that this one lives; nor can it tell otherwise.
                let _ = lock.try_lock();
                return Ok((hidden, lock));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn is_abandoned(hidden: &Path) -> bool {
    match fs_err::File::open(hidden.join(LOCK)) {
        Ok(lock) => lock.into_parts().0.try_lock().is_ok(),
        // Between making the directory and its lock lie microseconds; a directory that stays without one is no one's.
        Err(_) => hidden
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > std::time::Duration::from_secs(60))),
    }
}

/// Puts `new` in the place of `old`, which may not exist; what `old` was is then at `new`, to be deleted with it.
fn swap(new: &Path, old: &Path) -> io::Result<()> {
    if old.symlink_metadata().is_err() {
        return fs_err::rename(new, old);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    // A file system that cannot exchange: a crash between the two steps leaves no model under this name.
    let aside = new.with_extension("replaced");
    fs_err::rename(old, &aside)?;
    fs_err::rename(new, old)
}

/// Deletes an installed model: first out of sight in one step, then file by file.
pub(super) fn discard(model: &Path) -> Result<(), InstallError> {
    if model.symlink_metadata()?.is_symlink() {
        return Ok(fs_err::remove_file(model)?);
    }
    let place = model.parent().unwrap_or(Path::new("."));
    let (hidden, _lock) = hide(place)?;
    fs_err::rename(model, hidden.join("removed"))?;
    Ok(fs_err::remove_dir_all(hidden)?)
}
