//! Images with the class that each is of.
//!
//! Two layouts: torchvision's ImageFolder (`folder/class/image.jpg`, classes in the order of their folders' names), and
//! CLIP_benchmark's webdatasets of classes (`key.cls` holds the label's number, `classnames.txt` the names). What must stay true:
//! every image that is there takes part, and every class that is named competes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::names::{ClassNames, parse_class_names};
use crate::EvalError;
use crate::dataset::{ImageRef, samples, shards};

/// Extensions of image files, as torchvision's `IMG_EXTENSIONS` without the kinds that no encoder here decodes.
const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "bmp", "gif"];

/// Which files a set of classes is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelledOptions {
    /// A folder with a sub-folder a class, or a webdataset: a `.tar` shard, a folder of shards, or a pattern of them.
    pub images: PathBuf,
    /// A file of class names in any layout of [`parse_class_names`]; by default a folder's name with `_` as spaces, or the
    /// `classnames.txt` of a webdataset's folder.
    pub class_names: Option<PathBuf>,
    /// Sub-folder of a webdataset's folder; by default the only one.
    pub split: Option<PathBuf>,
}

/// Images and their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledImages {
    /// Name of each class, for prompts.
    pub classes: Vec<String>,
    /// Where the bytes of each image are.
    pub images: Vec<ImageRef>,
    /// Each image by its path below the folder, or `0.tar/s0000000.webp`.
    pub image_names: Vec<String>,
    /// The class of each image, an index into `classes`.
    pub labels: Vec<u32>,
    /// Files in the class folders that are no images by their extension, and took no part.
    pub other_files: usize,
    /// What was read, by its role: `images`, `class_names`.
    pub sources: BTreeMap<String, PathBuf>,
}

impl LabelledImages {
    /// Reads the folder or the shards.
    ///
    /// # Errors
    /// [`EvalError`] when something is unreadable, names and classes do not fit one another, a label is no number of a class, or there
    /// is no image.
    pub fn read(options: &LabelledOptions) -> Result<Self, EvalError> {
        let LabelledOptions { images, class_names, split } = options;
        let has_tars = !images.is_dir() || holds_tars(images, split.as_deref())?;
        let mut labelled = match if has_tars { shards(images, split.as_deref())? } else { None } {
            Some(shards) => Self::of_shards(options, &shards)?,
            None if images.is_dir() => Self::of_folder(images, class_names.as_deref())?,
            None => {
                let reason =
                    "expected a folder with a sub-folder for each class, or a webdataset's shards".into();
                return Err(EvalError::Format { path: images.clone(), reason });
            }
        };
        if labelled.images.is_empty() {
            let reason = format!(
                "there is no image ({}) in its sub-folders; give a folder with one for each class",
                EXTENSIONS.join(", ")
            );
            return Err(EvalError::Format { path: images.clone(), reason });
        }
        labelled.sources.insert("images".into(), images.clone());
        Ok(labelled)
    }

    fn of_folder(folder: &Path, names: Option<&Path>) -> Result<Self, EvalError> {
        let mut folders = Vec::new();
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Hidden folders are an editor's or a system's.
            if entry.path().is_dir() && !name.starts_with('.') {
                folders.push((name, entry.path()));
            }
        }
        folders.sort();
        let mut labelled = Self::empty();
        let classes = match names {
            None => {
                labelled.classes = folders.iter().map(|(name, _)| name.replace('_', " ")).collect();
                (0..folders.len()).collect()
            }
            Some(path) => {
                labelled.sources.insert("class_names".into(), path.into());
                let folder_names: Vec<&str> = folders.iter().map(|(name, _)| name.as_str()).collect();
                let (classes, of_folder) = name_folders(read_names(path)?, &folder_names)
                    .map_err(|reason| EvalError::Format { path: path.into(), reason })?;
                labelled.classes = classes;
                of_folder
            }
        };
        for ((_, path), class) in folders.iter().zip::<Vec<usize>>(classes) {
            let before = labelled.images.len();
            let mut files = Vec::new();
            collect_files(path, &mut files)?;
            files.sort();
            for file in files {
                let extension = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
                if !EXTENSIONS.contains(&extension.as_str()) {
                    labelled.other_files += 1;
                    continue;
                }
                let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().replace('\\', "/");
                labelled.image_names.push(name);
                labelled.images.push(ImageRef::File(file));
                labelled.labels.push(class as u32);
            }
            if labelled.images.len() == before && names.is_none() {
                let reason =
                    "the class has no image; add some, remove the folder, or give a file of class names"
                        .into();
                return Err(EvalError::Format { path: path.clone(), reason });
            }
        }
        Ok(labelled)
    }

    fn of_shards(options: &LabelledOptions, shards: &[PathBuf]) -> Result<Self, EvalError> {
        let beside = options.images.join("classnames.txt");
        let path = match &options.class_names {
            Some(path) => path.clone(),
            None if beside.is_file() => beside,
            None => {
                let reason = "it has no classnames.txt; give a file of class names, one a line in the order of the labels".into();
                return Err(EvalError::Format { path: options.images.clone(), reason });
            }
        };
        let mut labelled = Self::empty();
        labelled.classes = match read_names(&path)? {
            ClassNames::Ordered(names) => names,
            ClassNames::ByFolder(pairs) => pairs.into_iter().map(|(_, name)| name).collect(),
        };
        for sample in samples(shards, &["cls"])? {
            let wrong = |reason: String| EvalError::Format { path: sample.shard.clone(), reason };
            let Some(text) = sample.texts.get("cls") else {
                return Err(wrong(format!(
                    "'{}' has no .cls with its label; a set of captions is for `pictor eval retrieval`",
                    sample.name
                )));
            };
            let label =
                text.trim().parse::<u32>().ok().filter(|&label| (label as usize) < labelled.classes.len());
            let Some(label) = label else {
                return Err(wrong(format!(
                    "the label '{}' of '{}' is no number below {}, which is how many names {} has",
                    text.trim(),
                    sample.name,
                    labelled.classes.len(),
                    path.display()
                )));
            };
            labelled.labels.push(label);
            labelled.image_names.push(sample.name);
            labelled.images.push(sample.image);
        }
        labelled.sources.insert("class_names".into(), path);
        Ok(labelled)
    }

    fn empty() -> Self {
        Self {
            classes: Vec::new(),
            images: Vec::new(),
            image_names: Vec::new(),
            labels: Vec::new(),
            other_files: 0,
            sources: BTreeMap::new(),
        }
    }
}

/// Whether a folder is a webdataset's: it, its split, or a sub-folder of it holds `.tar` files.
fn holds_tars(folder: &Path, split: Option<&Path>) -> Result<bool, EvalError> {
    if split.is_some() {
        return Ok(true);
    }
    let is_tar =
        |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"));
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if is_tar(&path) {
            return Ok(true);
        }
        if path.is_dir() {
            for inner in fs_err::read_dir(&path)? {
                if is_tar(&inner?.path()) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn read_names(path: &Path) -> Result<ClassNames, EvalError> {
    parse_class_names(&fs_err::read_to_string(path)?)
        .map_err(|error| EvalError::Format { path: path.into(), reason: error.to_string() })
}

/// The classes, and which of them each folder is.
fn name_folders(names: ClassNames, folders: &[&str]) -> Result<(Vec<String>, Vec<usize>), String> {
    match names {
        ClassNames::Ordered(names) if names.len() == folders.len() => {
            Ok((names, (0..folders.len()).collect()))
        }
        ClassNames::Ordered(names) => Err(format!(
            "it has {} names for {} folders; give as many, in the order of the folders' names, or lines of folder, tab, name",
            names.len(),
            folders.len()
        )),
        ClassNames::ByFolder(pairs) => {
            let at: HashMap<&str, usize> =
                pairs.iter().enumerate().map(|(i, (folder, _))| (folder.as_str(), i)).collect();
            let of_folder = folders
                .iter()
                .map(|folder| {
                    at.get(folder)
                        .copied()
                        .ok_or_else(|| format!("it does not name the folder '{folder}'; add a line for it"))
                })
                .collect::<Result<_, _>>()?;
            Ok((pairs.into_iter().map(|(_, name)| name).collect(), of_folder))
        }
    }
}

/// All files below a folder; links to folders are not followed.
fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), EvalError> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join("set").join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, names: Option<&str>) -> Result<LabelledImages, EvalError> {
        let class_names = names.map(|text| {
            let path = dir.path().join("names");
            fs_err::write(&path, text).unwrap();
            path
        });
        LabelledImages::read(&LabelledOptions { images: dir.path().join("set"), class_names, split: None })
    }

    #[test]
    fn folders_are_classes() {
        let dir = folder(&[
            "great_white/b.JPG",
            "great_white/deep/a.png",
            "dog/x.webp",
            "dog/Thumbs.db",
            ".git/a.jpg",
            "readme",
        ]);
        let read_as = |names: Option<&str>| {
            let set = read(&dir, names).unwrap();
            (set.classes, set.labels, set.other_files)
        };
        let set = read(&dir, None).unwrap();
        assert_eq!(set.image_names, ["dog/x.webp", "great_white/b.JPG", "great_white/deep/a.png"]);
        assert_eq!(read_as(None), (vec!["dog".into(), "great white".into()], vec![0, 1, 1], 1));
        assert_eq!(read_as(Some("hound\nshark")).0, ["hound", "shark"]);
        // In the order of the file; a class without a folder competes.
        let named = read_as(Some("great_white\tshark\nfish\tcod\ndog\thound"));
        assert_eq!(named, (vec!["shark".into(), "cod".into(), "hound".into()], vec![2, 0, 0], 1));
        for (names, words) in
            [("one", "1 names for 2 folders"), ("dog\thound", "'great_white'"), ("", "no class names")]
        {
            let error = read(&dir, Some(names)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn folders_without_images() {
        let dir = folder(&["dog/a.jpg", "cat/notes.txt"]);
        assert!(read(&dir, None).unwrap_err().to_string().contains("cat: the class has no image"));
        assert_eq!(read(&dir, Some("cat\ndog")).unwrap().labels, [1]);
        assert!(read(&folder(&["a.jpg"]), None).unwrap_err().to_string().contains("no image"));
        let file = folder(&["a.jpg"]);
        let images = file.path().join("set/a.jpg");
        let error = LabelledImages::read(&LabelledOptions { images, ..Default::default() }).unwrap_err();
        assert!(error.to_string().contains("expected a folder"), "{error}");
    }

    #[test]
    fn shards_with_labels() {
        let shard = |label: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            for (name, bytes) in [("s0.webp", "image"), ("s0.cls", label)] {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, bytes.as_bytes()).unwrap();
            }
            builder.into_inner().unwrap()
        };
        let dir = folder(&[]);
        let at = |name: &str| dir.path().join("set").join(name);
        fs_err::create_dir_all(at("test")).unwrap();
        fs_err::write(at("test/0.tar"), shard("1\n")).unwrap();
        assert!(read(&dir, None).unwrap_err().to_string().contains("classnames.txt"));
        fs_err::write(at("classnames.txt"), "cat\ndog\n").unwrap();
        let set = read(&dir, None).unwrap();
        assert_eq!((set.classes, set.labels), (vec!["cat".into(), "dog".into()], vec![1]));
        assert_eq!(set.images[0].read().unwrap(), b"image");
        for bad in ["2", "-1", "cat", ""] {
            fs_err::write(at("test/0.tar"), shard(bad)).unwrap();
            assert!(read(&dir, None).unwrap_err().to_string().contains("is no number below 2"), "{bad}");
        }
    }
}
