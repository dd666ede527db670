//! Models on disk: directories of the search path, each with a receipt that says where it came from.
//!
//! What must stay true: a directory of the search path is either a whole model or none. A model is put together in a hidden
//! directory beside its place, opened there, and renamed; a process that dies leaves only the hidden directory, which the next
//! installation removes.

mod receipt;
pub(crate) mod space;
mod staging;

use std::io;
use std::path::{Path, PathBuf};

pub use receipt::{InstalledFile, Origin, Receipt};
pub(crate) use staging::Staging;

use crate::bundled;
use crate::folder::{ModelFolder, model_search_path};
use crate::hub::InstallError;

/// A model in a directory of the search path.
#[derive(Clone, Debug, PartialEq)]
pub struct InstalledModel {
    /// The directory's name, by which the model is found.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
    /// What `pictor model add` noted; absent when the directory was put there by other means.
    pub receipt: Option<Receipt>,
}

impl InstalledModel {
    fn at(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_owned();
        let receipt = Receipt::read(&path);
        Some(Self { name, path, receipt })
    }
}

/// The models of the [`model_search_path`], in its order, then by name. A name that an earlier directory has hides a later one.
pub fn installed_models() -> Vec<InstalledModel> {
    let holds_model = |path: &Path| path.to_str().is_some_and(|path| ModelFolder::find(path).is_ok());
    let mut models = directories();
    models.retain(|model| model.receipt.is_some() || holds_model(&model.path));
    models
}

/// The directories of the search path that are not hidden, models or not.
fn directories() -> Vec<InstalledModel> {
    let mut all: Vec<InstalledModel> = Vec::new();
    for place in model_search_path() {
        let mut here: Vec<_> = fs_err::read_dir(&place)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
            .filter_map(InstalledModel::at)
            .filter(|model| !model.name.starts_with('.'))
            .collect();
        here.sort_by(|a, b| a.name.cmp(&b.name));
        here.retain(|model| all.iter().all(|earlier| earlier.name != model.name));
        all.extend(here);
    }
    all
}

/// The installed models whose receipts have `name` as their hub id, or as the name that their manifest states, which an index
/// remembers; the one that is installed under the id itself first.
pub(crate) fn noted_as(name: &str) -> Vec<InstalledModel> {
    let mut models = directories();
    models.retain(|model| {
        model.receipt.as_ref().is_some_and(|receipt| receipt.hub_id() == Some(name) || receipt.model == name)
    });
    models.sort_by_key(|model| model.name != name.replace('/', "--"));
    models
}

/// Names and sizes in bytes of a model's files, sorted by name.
///
/// # Errors
/// The file system's, with the path.
pub fn model_files(folder: &ModelFolder) -> io::Result<Vec<(String, u64)>> {
    match folder.directory() {
        Some(directory) => {
            let sized = |file: String| {
                let bytes = fs_err::metadata(directory.join(&file))?.len();
                Ok((file, bytes))
            };
            files_below(directory)?.into_iter().map(sized).collect()
        }
        None => {
            let mut files: Vec<_> =
                bundled::FILES.iter().map(|(file, bytes)| ((*file).to_owned(), bytes.len() as u64)).collect();
            files.sort();
            Ok(files)
        }
    }
}

/// Deletes an installed model. The bundled one, and a directory without a receipt, are refused.
///
/// # Errors
/// [`InstallError::NotInstalled`], [`InstallError::NotOurs`], or the file system's.
pub fn remove_model(name: &str) -> Result<InstalledModel, InstallError> {
    let not_ours = |reason: String| InstallError::NotOurs { name: name.into(), reason };
    if name == bundled::NAME {
        return Err(not_ours(
            "is inside the binary and takes no space of its own; there is nothing to remove".into(),
        ));
    }
    let by_directory = installed_models().into_iter().find(|model| model.name == name);
    let mut meant = by_directory.map_or_else(|| noted_as(name), |model| vec![model]);
    if meant.len() > 1 && meant[0].name != name.replace('/', "--") {
        let names: Vec<&str> = meant.iter().map(|model| model.name.as_str()).collect();
        return Err(not_ours(format!("is installed as {}; remove one of these", names.join(" and as "))));
    }
    let Some(model) = (!meant.is_empty()).then(|| meant.swap_remove(0)) else {
        let searched: Vec<_> = model_search_path().iter().map(|path| path.display().to_string()).collect();
        let searched =
            if searched.is_empty() { String::new() } else { format!(" in {}", searched.join(", ")) };
        return Err(InstallError::NotInstalled { name: name.into(), searched });
    };
    if model.receipt.is_none() {
        let path = model.path.display();
        return Err(not_ours(format!(
            "({path}) was not installed by `pictor model add`; delete the directory yourself"
        )));
    }
    staging::discard(&model.path)?;
    Ok(model)
}

/// Paths of all files below `folder`, relative and with `/`, sorted; hidden files and directories at the top are left out, and
/// so are names that are not UTF-8, which no layout has.
pub(crate) fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !(prefix.is_empty() && name.starts_with('.')))
            else {
                continue;
            };
            let path = format!("{prefix}{name}");
            // Through links: a cache's snapshot consists of them.
            match fs_err::metadata(entry.path())? {
                metadata if metadata.is_dir() => walk(&entry.path(), &format!("{path}/"), files)?,
                metadata if metadata.is_file() => files.push(path),
                _ => {}
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    walk(folder, "", &mut files)?;
    files.sort();
    Ok(files)
}
