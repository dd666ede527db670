//! Images and their captions, as published datasets name them.
//!
//! The caption file is the list of images: files of the folder that it does not name take no part. Layouts are the business
//! of [`pictor_core::parse_captions`]; here names become paths and a split is chosen. What must stay true: the dataset is
//! exactly what was asked for, or an error; an image that is missing would make a figure that compares with nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use pictor_core::CaptionEntry;

use crate::EvalError;

/// How many names an error shows.
const SHOWN: usize = 5;

/// A retrieval dataset: which caption belongs to which image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Paths of the images, each an existing file, in the order of the caption file.
    pub images: Vec<PathBuf>,
    /// Every caption of every image, grouped by image.
    pub captions: Vec<Caption>,
}

/// A text and the image it describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    /// Index into [`Dataset::images`].
    pub image: usize,
    /// The caption as the file has it, surrounding white space removed.
    pub text: String,
}

impl Dataset {
    /// Reads a caption file (any layout of [`pictor_core::parse_captions`]) and finds its images in `images_dir`: each at
    /// the path it is named by (`images_dir/val2014/COCO_val2014_000000391895.jpg`), or by its file name alone.
    ///
    /// `split` keeps part of the images: a list file with one image name per line (Flickr8k's `…devImages.txt`; folders and
    /// the file extension may be absent), or the name of a split that the caption file itself knows (`test` in
    /// `dataset_coco.json`). A file of that name comes first.
    ///
    /// # Errors
    /// [`EvalError`] when a file is unreadable or no caption file, the split is unknown, the split list or the caption file
    /// names an image that is not there, two images lead to one file, or nothing remains.
    pub fn read(captions_file: &Path, images_dir: &Path, split: Option<&Path>) -> Result<Self, EvalError> {
        let text = fs_err::read_to_string(captions_file)?;
        let entries = pictor_core::parse_captions(&text)
            .map_err(|source| EvalError::Captions { path: captions_file.into(), source })?;
        let entries = match split {
            None => entries,
            Some(list) if list.is_file() => listed(entries, list, captions_file)?,
            Some(name) => of_split(entries, &name.to_string_lossy(), captions_file)?,
        };
        let images = find_images(&entries, images_dir)?;
        let captions: Vec<Caption> = entries
            .into_iter()
            .enumerate()
            .flat_map(|(image, entry)| entry.captions.into_iter().map(move |text| Caption { image, text }))
            .collect();
        if images.is_empty() || captions.is_empty() {
            return Err(EvalError::Nothing { images: images.len(), captions: captions.len() });
        }
        Ok(Self { images, captions })
    }

    /// The text of each caption, in order: what to encode.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.captions.iter().map(|caption| caption.text.as_str())
    }

    /// The image index of each caption, in order: what [`crate::Relevance::from_captions`] takes.
    pub fn image_of_text(&self) -> Vec<usize> {
        self.captions.iter().map(|caption| caption.image).collect()
    }
}

/// The entries that a split list names.
fn listed(
    mut entries: Vec<CaptionEntry>,
    list: &Path,
    captions_file: &Path,
) -> Result<Vec<CaptionEntry>, EvalError> {
    let text = fs_err::read_to_string(list)?;
    let names: Vec<&str> =
        text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    let wanted: HashSet<&str> = names.iter().copied().collect();
    let mut met: HashSet<&str> = HashSet::new();
    entries.retain(|entry| {
        let name = spellings(&entry.image).into_iter().find_map(|name| wanted.get(name));
        met.extend(name);
        name.is_some()
    });
    let unmet: Vec<&str> = names.into_iter().filter(|name| !met.contains(name)).collect();
    if !unmet.is_empty() {
        return Err(EvalError::NotInCaptions {
            list: list.into(),
            captions: captions_file.into(),
            count: unmet.len(),
            first: unmet.into_iter().take(SHOWN).map(String::from).collect(),
        });
    }
    Ok(entries)
}

/// The names by which a list may mean an image: as the caption file has it, without folders, without extension (Flickr30k's
/// lists hold bare numbers).
fn spellings(image: &str) -> [&str; 3] {
    let file_name = image.rsplit('/').next().unwrap_or(image);
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
    [image, file_name, stem]
}

/// The entries that the caption file itself puts into `split`.
fn of_split(
    mut entries: Vec<CaptionEntry>,
    split: &str,
    captions_file: &Path,
) -> Result<Vec<CaptionEntry>, EvalError> {
    let known: BTreeSet<String> = entries.iter().filter_map(|entry| entry.split.clone()).collect();
    if !known.contains(split) {
        return Err(EvalError::UnknownSplit {
            split: split.into(),
            captions: captions_file.into(),
            known: known.into_iter().collect(),
        });
    }
    entries.retain(|entry| entry.split.as_deref() == Some(split));
    Ok(entries)
}

/// The file of each entry.
fn find_images(entries: &[CaptionEntry], dir: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let mut images = Vec::with_capacity(entries.len());
    let mut missing = Vec::new();
    let mut owners: HashMap<PathBuf, &str> = HashMap::new();
    for entry in entries {
        let [name, file_name, _] = spellings(&entry.image);
        let Some(path) = [name, file_name].map(|name| dir.join(name)).into_iter().find(|path| path.is_file())
        else {
            missing.push(name);
            continue;
        };
        if let Some(first) = owners.insert(path.clone(), name) {
            return Err(EvalError::SameFile { first: first.into(), second: name.into(), path });
        }
        images.push(path);
    }
    if !missing.is_empty() {
        return Err(EvalError::MissingImages {
            dir: dir.into(),
            count: missing.len(),
            of: entries.len(),
            first: missing.into_iter().take(SHOWN).map(String::from).collect(),
        });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these (empty) images and a caption file.
    fn folder(images: &[&str], captions: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for image in images {
            let path = dir.path().join("images").join(image);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        fs_err::write(dir.path().join("captions"), captions).unwrap();
        dir
    }

    fn read(dir: &tempfile::TempDir, split: Option<&str>) -> Result<Dataset, EvalError> {
        let at = |name: &str| dir.path().join(name);
        // A split argument is a file of the folder where there is one, else a name.
        let split = split.map(|name| if at(name).exists() { at(name) } else { PathBuf::from(name) });
        Dataset::read(&at("captions"), &at("images"), split.as_deref())
    }

    fn summary(dataset: &Dataset) -> (Vec<String>, Vec<(usize, &str)>) {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let captions = dataset.captions.iter().map(|c| (c.image, c.text.as_str())).collect();
        (dataset.images.iter().map(name).collect(), captions)
    }

    const FLICKR: &str = "b.jpg#0\tA dog .\nb.jpg#1\tA brown dog .\na.jpg#0\tA cat .\nc.jpg#0\tA cow .\n";

    #[test]
    fn flickr_tokens_with_a_split_list() {
        let dir = folder(&["a.jpg", "b.jpg"], FLICKR);
        fs_err::write(dir.path().join("dev.txt"), "a.jpg\r\nb.jpg\r\n\r\n").unwrap();
        let dataset = read(&dir, Some("dev.txt")).unwrap();
        let (images, captions) = summary(&dataset);
        assert_eq!(images, ["b.jpg", "a.jpg"]);
        assert_eq!(captions, [(0, "A dog ."), (0, "A brown dog ."), (1, "A cat .")]);
        assert_eq!(dataset.image_of_text(), [0, 0, 1]);
        assert_eq!(dataset.texts().collect::<Vec<_>>(), ["A dog .", "A brown dog .", "A cat ."]);

        fs_err::write(dir.path().join("stems.txt"), "a").unwrap();
        assert_eq!(summary(&read(&dir, Some("stems.txt")).unwrap()).0, ["a.jpg"]);
    }

    #[test]
    fn coco_captions_keep_images_without_captions() {
        let dir = folder(
            &["1.jpg", "2.jpg"],
            r#"{"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
                "annotations": [{"id": 5, "image_id": 1, "caption": "a bus"}]}"#,
        );
        let dataset = read(&dir, None).unwrap();
        let (images, captions) = summary(&dataset);
        assert_eq!((images.len(), captions), (2, vec![(0, "a bus")]));
    }

    #[test]
    fn karpathy_list_with_sub_folders_or_without() {
        let captions = r#"[{"image": "val2014/x.jpg", "caption": ["a bus", "a red bus"]}]"#;
        for place in ["val2014/x.jpg", "x.jpg"] {
            let dir = folder(&[place], captions);
            let dataset = read(&dir, None).unwrap();
            assert!(dataset.images[0].ends_with(place));
            assert_eq!(dataset.captions.len(), 2);
        }
    }

    #[test]
    fn karpathy_dataset_with_its_own_splits() {
        let dir = folder(
            &["1.jpg", "2.jpg"],
            r#"{"images": [{"filename": "1.jpg", "split": "train", "sentences": [{"raw": "one"}]},
                           {"filename": "2.jpg", "split": "test", "sentences": [{"raw": "two"}]}]}"#,
        );
        assert_eq!(summary(&read(&dir, Some("test")).unwrap()), (vec!["2.jpg".into()], vec![(0, "two")]));
        assert_eq!(read(&dir, None).unwrap().images.len(), 2);
        let error = read(&dir, Some("dev")).unwrap_err().to_string();
        assert!(error.contains("'dev'") && error.contains("test, train"), "{error}");
    }

    #[test]
    fn csv_with_a_heading() {
        let dir = folder(&["a.jpg"], "image,caption\na.jpg,\"A cat, asleep .\"\n");
        assert_eq!(summary(&read(&dir, None).unwrap()).1, [(0, "A cat, asleep .")]);
    }

    #[test]
    fn missing_images_are_counted_and_named() {
        let dir = folder(&["a.jpg"], FLICKR);
        let error = read(&dir, None).unwrap_err();
        assert!(matches!(error, EvalError::MissingImages { count: 2, of: 3, .. }), "{error}");
        assert!(error.to_string().contains("first: b.jpg, c.jpg"), "{error}");
    }

    #[test]
    fn a_list_must_fit_the_captions() {
        let dir = folder(&["a.jpg"], FLICKR);
        fs_err::write(dir.path().join("dev.txt"), "a.jpg\nzebra.jpg\n").unwrap();
        let error = read(&dir, Some("dev.txt")).unwrap_err();
        assert!(
            matches!(&error, EvalError::NotInCaptions { count: 1, first, .. } if first == &["zebra.jpg"])
        );
    }

    #[test]
    fn one_file_is_not_two_images() {
        let captions = r#"[{"image": "x/1.jpg", "caption": "a"}, {"image": "y/1.jpg", "caption": "b"}]"#;
        let dir = folder(&["1.jpg"], captions);
        assert!(matches!(read(&dir, None), Err(EvalError::SameFile { .. })));
        assert_eq!(read(&folder(&["x/1.jpg", "y/1.jpg"], captions), None).unwrap().images.len(), 2);
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let dir = folder(&[], "");
        let error = Dataset::read(&dir.path().join("none.json"), dir.path(), None).unwrap_err();
        assert!(error.to_string().contains("none.json"), "{error}");
        let error = read(&dir, None).unwrap_err();
        assert!(matches!(error, EvalError::Captions { .. }), "{error}");
        let empty = folder(&["a.jpg"], r#"[{"image": "a.jpg", "caption": []}]"#);
        assert!(matches!(read(&empty, None), Err(EvalError::Nothing { images: 1, captions: 0 })));
    }
}
