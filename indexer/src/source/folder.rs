//! Folders and files on disk.
//!
//! The rules, all of which a user can see:
//! - A folder is walked to any depth, each folder's entries sorted by name, so the same tree gives the same order everywhere.
//! - In a folder a file counts as an image by its extension ([`IMAGE_EXTENSIONS`], any case). Photographs in a format that Pictor
//!   does not read ([`UNREAD_EXTENSIONS`]) are skipped with that reason; any other file is none of our business. A file that is
//!   named itself is tried whatever its extension.
//! - Hidden entries (a leading dot, such as `.thumbnails`, and `@eaDir`, where Synology keeps its thumbnails) are left alone
//!   unless named themselves. So is the directory of the index.
//! - A link to a file counts as the file it leads to. A link to a folder is not followed, so there are no loops; it is skipped with
//!   that reason unless its target is walked anyway.
//! - A file counts once, however many sources and links reach it.
//!
//! What must stay true: memory does not grow with the number of files, only with the entries of one folder and the number of
//! links; hence no set of everything seen.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{FileType, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use pictor_storage::Skipped;
use walkdir::{DirEntry, WalkDir};

use super::{Asset, Found};
use crate::IndexError;

/// Extensions of the files that are tried in a folder, in lower case.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];

/// Extensions of photographs that Pictor does not read: a folder of them must not look empty.
const UNREAD_EXTENSIONS: [&str; 15] = [
    "heic", "heif", "avif", "jxl", "jp2", "tif", "tiff", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2",
    "raf",
];

/// The sources of a job, checked.
pub(crate) struct Sources {
    roots: Vec<Root>,
    /// Canonical path of the index directory, which is never walked.
    index: PathBuf,
}

/// A source, by canonical path.
enum Root {
    Folder(PathBuf),
    File(PathBuf),
}

impl Sources {
    /// Checks that every source is there and that every folder has an image.
    pub fn open(paths: &[PathBuf], index: &Path) -> Result<Self, IndexError> {
        if paths.is_empty() {
            return Err(IndexError::NoSource);
        }
        // An index that is still to be made has no canonical path, and nothing lies inside it.
        let index = std::fs::canonicalize(index)
            .or_else(|_| std::path::absolute(index))
            .map_err(|source| IndexError::Source { path: index.into(), source })?;
        let mut sources = Self { roots: Vec::new(), index };
        for path in paths {
            let failed = |source| IndexError::Source { path: path.clone(), source };
            let canonical = std::fs::canonicalize(path).map_err(failed)?;
            if canonical.starts_with(&sources.index) {
                return Err(IndexError::SourceInIndex { path: path.clone(), index: sources.index });
            }
            if std::fs::metadata(&canonical).map_err(failed)?.is_dir() {
                sources.require_image(path, &canonical)?;
                sources.roots.push(Root::Folder(canonical));
            } else {
                sources.roots.push(Root::File(canonical));
            }
        }
        Ok(sources)
    }

    /// Walks a folder up to its first image, so that a wrong path is told before hours of work on the others.
    fn require_image(&self, path: &Path, folder: &Path) -> Result<(), IndexError> {
        let alone = Self { roots: vec![Root::Folder(folder.into())], index: self.index.clone() };
        let mut first_skipped = None;
        for found in alone.walk() {
            match found {
                Ok(_) => return Ok(()),
                Err(skipped) if first_skipped.is_none() => {
                    first_skipped = Some(format!("{}: {}", skipped.uri, skipped.reason));
                }
                Err(_) => {}
            }
        }
        Err(IndexError::NoImages { path: path.into(), first_skipped })
    }

    /// Everything in the sources, in order.
    pub fn walk(&self) -> Walk<'_> {
        Walk { sources: self, at: 0, entries: None, linked: HashSet::new() }
    }

    /// Whether `path` lies below one of the folders, hidden or not.
    pub fn lie_above(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| matches!(root, Root::Folder(folder) if path.starts_with(folder)))
    }
}

impl Root {
    /// Whether walking this root comes by `path` itself, not by a link to it.
    fn reaches(&self, path: &Path, is_folder: bool) -> bool {
        match self {
            Root::File(file) => file == path,
            Root::Folder(folder) => path.strip_prefix(folder).is_ok_and(|below| {
                !below.iter().any(is_hidden)
                    && (is_folder
                        || extension_is_in(path, &IMAGE_EXTENSIONS)
                        || extension_is_in(path, &UNREAD_EXTENSIONS))
            }),
        }
    }
}

/// The walk over all sources.
pub(crate) struct Walk<'a> {
    sources: &'a Sources,
    /// Index of the root being walked.
    at: usize,
    /// What is left of it, if it is a folder that was begun.
    entries: Option<Box<dyn Iterator<Item = walkdir::Result<DirEntry>> + 'a>>,
    /// Targets of links seen so far.
    linked: HashSet<PathBuf>,
}

impl Iterator for Walk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let found = match self.sources.roots.get(self.at)? {
                Root::File(file) => {
                    self.at += 1;
                    self.file(file)
                }
                Root::Folder(folder) => match self.entries(folder).next() {
                    None => {
                        self.at += 1;
                        self.entries = None;
                        continue;
                    }
                    Some(Ok(entry)) => self.entry(&entry),
                    Some(Err(error)) => {
                        let path = error.path().map_or_else(|| folder.clone(), Path::to_path_buf);
                        let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                        Some(Err(skip(&path, None, reason)))
                    }
                },
            };
            if found.is_some() {
                return found;
            }
        }
    }
}

impl<'a> Walk<'a> {
    fn entries(&mut self, folder: &'a Path) -> &mut dyn Iterator<Item = walkdir::Result<DirEntry>> {
        let index = &self.sources.index;
        self.entries.get_or_insert_with(|| {
            let keep = move |entry: &DirEntry| {
                // The folder itself was named, so it may be hidden.
                entry.depth() == 0 || !(is_hidden(entry.file_name()) || entry.path() == index)
            };
            Box::new(WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(keep))
        })
    }

    /// A file that a source names.
    fn file(&self, path: &Path) -> Option<Found> {
        let earlier = &self.sources.roots[..self.at - 1];
        (!earlier.iter().any(|root| root.reaches(path, false))).then(|| asset(path, path))
    }

    /// An entry of a folder.
    fn entry(&mut self, entry: &DirEntry) -> Option<Found> {
        let path = entry.path();
        let kind: FileType = entry.file_type();
        if kind.is_dir() {
            return None;
        }
        if kind.is_symlink() {
            return self.link(path);
        }
        let earlier = &self.sources.roots[..self.at];
        if earlier.iter().any(|root| root.reaches(path, false)) {
            return None;
        }
        by_extension(path).map(|readable| readable.and_then(|()| asset(path, path)))
    }

    fn link(&mut self, path: &Path) -> Option<Found> {
        let target = match std::fs::canonicalize(path) {
            Ok(target) => target,
            // Broken links that do not even claim to be images are as uninteresting as other files that do not.
            Err(error) => {
                let reason = format!("the link leads nowhere: {error}");
                return by_extension(path).map(|_| Err(skip(path, None, reason)));
            }
        };
        let is_folder = target.is_dir();
        let roots = &self.sources.roots;
        if target.starts_with(&self.sources.index)
            || roots.iter().any(|root| root.reaches(&target, is_folder))
        {
            return None;
        }
        let found = if is_folder {
            Err(skip(path, None, "links to folders are not followed; name the folder as a source".into()))
        } else {
            // The link's own name counts: stores that name files by their hash link to them by their real name.
            match by_extension(path)? {
                Ok(()) => asset(path, &target),
                Err(skipped) => Err(skipped),
            }
        };
        self.linked.insert(target).then_some(found)
    }
}

/// Whether a file in a folder is worth trying, by its extension; `None` for a file that is no photograph at all.
fn by_extension(path: &Path) -> Option<Result<(), Skipped>> {
    if extension_is_in(path, &IMAGE_EXTENSIONS) {
        return Some(Ok(()));
    }
    extension_is_in(path, &UNREAD_EXTENSIONS).then(|| {
        let format = path.extension().unwrap_or_default().to_string_lossy().to_uppercase();
        let reason = format!("{format} is not a format that Pictor reads; convert it to JPEG, PNG or WebP");
        Err(skip(path, std::fs::metadata(path).ok().as_ref(), reason))
    })
}

fn extension_is_in(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|own| extensions.iter().any(|known| own.eq_ignore_ascii_case(known)))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "@eaDir"
}

/// The file at `path`, which is to be named by `canonical`.
fn asset(path: &Path, canonical: &Path) -> Found {
    let metadata = std::fs::metadata(canonical).map_err(|error| skip(path, None, error.to_string()))?;
    let skipped = |reason: String| Err(skip(path, Some(&metadata), reason));
    // Reading a pipe would wait for ever.
    if !metadata.is_file() {
        return skipped("it is not a regular file".into());
    }
    match canonical.to_str() {
        Some(uri) => Ok(Asset {
            uri: uri.into(),
            path: path.into(),
            bytes: metadata.len(),
            modified_ns: modified_ns(&metadata),
        }),
        None => skipped("its path is not valid UTF-8; rename it".into()),
    }
}

fn skip(path: &Path, metadata: Option<&Metadata>, reason: String) -> Skipped {
    Skipped {
        uri: path.to_string_lossy().into_owned(),
        reason,
        bytes: metadata.map_or(0, Metadata::len),
        modified_ns: metadata.and_then(modified_ns),
    }
}

pub(crate) fn modified_ns(metadata: &Metadata) -> Option<i128> {
    let modified = metadata.modified().ok()?;
    Some(match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder with `photos/` made of `files` and an empty `index/`.
    fn tree(files: &[&str]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir(root.path().join("index")).unwrap();
        for file in files {
            write(&root, file);
        }
        root
    }

    fn write(root: &TempDir, file: &str) {
        let path = root.path().join("photos").join(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "x").unwrap();
    }

    fn open(root: &TempDir, sources: &[&str]) -> Result<Sources, IndexError> {
        let paths: Vec<_> = sources.iter().map(|source| root.path().join(source)).collect();
        Sources::open(&paths, &root.path().join("index"))
    }

    /// Paths of the assets below `photos`, and names with reasons of what was skipped.
    fn walk(root: &TempDir, sources: &[&str]) -> (Vec<String>, Vec<(String, String)>) {
        let photos = fs_err::canonicalize(root.path().join("photos")).unwrap();
        let short =
            |uri: &str| Path::new(uri).strip_prefix(&photos).unwrap_or(Path::new(uri)).display().to_string();
        let (mut assets, mut skipped) = (Vec::new(), Vec::new());
        for found in open(root, sources).unwrap().walk() {
            match found {
                Ok(asset) => assets.push(short(&asset.uri)),
                Err(Skipped { uri, reason, .. }) => skipped.push((short(&uri), reason)),
            }
        }
        (assets, skipped)
    }

    #[test]
    fn folders_are_walked_in_order_by_extension_without_hidden_entries() {
        let root = tree(&[
            "b.JPG",
            "a/2.png",
            "a/10.webp",
            "a.gif",
            "c.jpeg",
            "d.bmp",
            "notes.txt",
            "no-extension",
            "jpg",
            ".hidden.jpg",
            ".thumbnails/t.jpg",
            "@eaDir/b.jpg",
            "z/deep/er/e.jpg",
        ]);
        let (assets, skipped) = walk(&root, &["photos"]);
        assert_eq!(assets, ["a/10.webp", "a/2.png", "a.gif", "b.JPG", "c.jpeg", "d.bmp", "z/deep/er/e.jpg"]);
        assert!(skipped.is_empty(), "{skipped:?}");
    }

    #[test]
    fn what_is_named_is_tried() {
        let root = tree(&["scan.dat", ".thumbnails/t.jpg", "a.jpg"]);
        assert_eq!(
            walk(&root, &["photos/scan.dat", "photos/.thumbnails"]).0,
            ["scan.dat", ".thumbnails/t.jpg"]
        );
    }

    #[test]
    fn a_file_counts_once() {
        let root = tree(&["a.jpg", "s/b.jpg", "s/odd.dat"]);
        assert_eq!(
            walk(&root, &["photos", "photos/s", "photos/a.jpg", "photos/s/odd.dat"]).0,
            ["a.jpg", "s/b.jpg", "s/odd.dat"]
        );
        assert_eq!(walk(&root, &["photos/s", "photos", "photos"]).0, ["s/b.jpg", "a.jpg"]);
        assert_eq!(walk(&root, &["photos/s/b.jpg", "photos/s/b.jpg", "photos/s"]).0, ["s/b.jpg"]);
    }

    #[test]
    fn photographs_in_other_formats_are_told() {
        let root = tree(&["a.jpg", "b.HEIC", "c.nef"]);
        let (assets, skipped) = walk(&root, &["photos"]);
        assert_eq!(assets, ["a.jpg"]);
        assert_eq!(skipped.iter().map(|(uri, _)| uri.as_str()).collect::<Vec<_>>(), ["b.HEIC", "c.nef"]);
        assert!(skipped[0].1.starts_with("HEIC is not a format"), "{skipped:?}");

        let only = tree(&["b.heic"]);
        let error = open(&only, &["photos"]).err().unwrap().to_string();
        assert!(error.contains("b.heic: HEIC is not a format"), "{error}");
    }

    #[test]
    fn the_index_is_left_alone() {
        let root = tree(&["a.jpg"]);
        fs_err::write(root.path().join("index/thumbnail.jpg"), "x").unwrap();
        assert_eq!(walk(&root, &["."]).0, ["a.jpg"]);
        for source in ["index", "index/thumbnail.jpg"] {
            assert!(matches!(open(&root, &[source]), Err(IndexError::SourceInIndex { .. })), "{source}");
        }
    }

    #[test]
    fn sources_must_be_there_and_hold_an_image() {
        let root = tree(&["a.txt", ".hidden.jpg"]);
        assert!(matches!(open(&root, &[]), Err(IndexError::NoSource)));
        assert!(
            matches!(open(&root, &["photo"]), Err(IndexError::Source { path, .. }) if path.ends_with("photo"))
        );
        let empty = open(&root, &["photos"]).err().unwrap();
        assert!(matches!(&empty, IndexError::NoImages { first_skipped: None, .. }));
        assert!(empty.to_string().contains("or below (jpg, jpeg, png, webp, gif, bmp); name"), "{empty}");
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_to_files_and_never_in_circles() {
        use std::os::unix::fs::symlink;

        let root = tree(&["a.jpg", "s/b.jpg"]);
        let outside = root.path().join("outside");
        fs_err::create_dir(&outside).unwrap();
        fs_err::write(outside.join("6f3a"), "x").unwrap();
        let link =
            |target: &Path, name: &str| symlink(target, root.path().join("photos").join(name)).unwrap();
        link(&outside.join("6f3a"), "dog.jpg");
        link(&outside.join("6f3a"), "same-dog.jpg");
        link(&outside.join("6f3a"), "not-an-image");
        link(Path::new("a.jpg"), "0-also-a.jpg");
        link(Path::new(".."), "s/up");
        link(&outside, "elsewhere");
        link(Path::new("gone"), "broken.jpg");
        link(Path::new("gone"), "broken.txt");

        let (assets, skipped) = walk(&root, &["photos"]);
        let dog = fs_err::canonicalize(outside.join("6f3a")).unwrap().display().to_string();
        assert_eq!(assets, ["a.jpg", &dog, "s/b.jpg"]);
        let [(broken, leads_nowhere), (elsewhere, folder)] = &skipped[..] else { panic!("{skipped:?}") };
        assert_eq!((broken.as_str(), elsewhere.as_str()), ("broken.jpg", "elsewhere"));
        assert!(leads_nowhere.starts_with("the link leads nowhere") && folder.contains("not followed"));
    }

    #[cfg(unix)]
    #[test]
    fn paths_and_files_that_cannot_be_used_are_told() {
        use std::os::unix::ffi::OsStrExt;

        let root = tree(&["a.jpg"]);
        let odd = root.path().join("photos").join(OsStr::from_bytes(b"b\xff.jpg"));
        fs_err::write(odd, "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("photos/d.jpg")).unwrap();

        let (assets, skipped) = walk(&root, &["photos"]);
        assert_eq!(assets, ["a.jpg"]);
        let reasons: Vec<_> = skipped.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(reasons, ["its path is not valid UTF-8; rename it", "it is not a regular file"]);
    }
}
