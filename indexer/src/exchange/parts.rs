//! Which files there are: `img_emb_7.npy` goes with `metadata_7.parquet`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::IndexError;

/// One file of vectors and the file of what is known of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The `.npy` file.
    pub(crate) vectors: PathBuf,
    /// The `.parquet` file, unless the caller does without.
    pub(crate) metadata: Option<PathBuf>,
}

/// The parts in `source`, by ascending number.
///
/// A folder holds them in `img_emb/` and `metadata/`, or side by side (where files that begin with `text_emb` are left alone:
/// they are clip-retrieval's caption vectors). Files belong together when the numbers at the ends of their names are equal, as
/// numbers: 10 comes after 9, and `07` is 7. A `.npy` file named itself is one part; its metadata is the file of its
/// number beside it, in `../metadata/`, or the one that is called as it is.
///
/// # Errors
/// [`IndexError::Source`], and [`IndexError::Parts`] for a part that lacks its other half.
pub(crate) fn find_parts(source: &Path, with_metadata: bool) -> Result<Vec<Part>, IndexError> {
    let failed = |error| IndexError::Source { path: source.to_owned(), source: error };
    if std::fs::metadata(source).map_err(failed)?.is_file() {
        let metadata = if with_metadata { Some(metadata_of_file(source)?) } else { None };
        return Ok(vec![Part { vectors: source.to_owned(), metadata }]);
    }
    let folder = |name: &str| Some(source.join(name)).filter(|path| path.is_dir());
    let vectors = numbered(&folder("img_emb").unwrap_or_else(|| source.to_owned()), "npy")?;
    if vectors.is_empty() {
        return Err(wrong(source, "it holds no .npy file, nor does img_emb/ in it".to_owned()));
    }
    if !with_metadata {
        return Ok(vectors.into_values().map(|vectors| Part { vectors, metadata: None }).collect());
    }
    let mut metadata = numbered(&folder("metadata").unwrap_or_else(|| source.to_owned()), "parquet")?;
    let mut parts = vec![];
    for (number, vectors) in vectors {
        let Some(metadata) = metadata.remove(&number) else {
            return Err(wrong(source, no_metadata(&vectors)));
        };
        parts.push(Part { vectors, metadata: Some(metadata) });
    }
    match metadata.into_values().next() {
        None => Ok(parts),
        Some(alone) => Err(wrong(source, format!("{} has no .npy file of its number", alone.display()))),
    }
}

fn wrong(source: &Path, reason: String) -> IndexError {
    IndexError::Parts { path: source.to_owned(), reason }
}

fn no_metadata(vectors: &Path) -> String {
    format!(
        "{} has no .parquet file of its number; with --no-metadata vectors are imported under the name of their file and row",
        vectors.display()
    )
}

/// The files of a folder with this extension by the number at the end of their stem.
fn numbered(folder: &Path, extension: &str) -> Result<BTreeMap<u64, PathBuf>, IndexError> {
    let failed = |source| IndexError::Source { path: folder.to_owned(), source };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_other = stem.starts_with("text_emb") || stem.starts_with('.');
        if is_other || path.extension().is_none_or(|found| found != extension) || !path.is_file() {
            continue;
        }
        let Some(number) = number(&stem) else {
            return Err(wrong(folder, format!("{} does not end in a number", path.display())));
        };
        if let Some(first) = files.insert(number, path.clone()) {
            let (first, path) = (first.display(), path.display());
            return Err(wrong(folder, format!("{first} and {path} have the same number")));
        }
    }
    Ok(files)
}

/// The number at the end of `stem`.
fn number(stem: &str) -> Option<u64> {
    let digits = stem.bytes().rev().take_while(u8::is_ascii_digit).count();
    stem[stem.len() - digits..].parse().ok()
}

fn metadata_of_file(vectors: &Path) -> Result<PathBuf, IndexError> {
    let folder = vectors.parent().unwrap_or(Path::new(""));
    let beside = vectors.with_extension("parquet");
    if beside.is_file() {
        return Ok(beside);
    }
    let stem = vectors.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(wanted) = number(&stem) {
        for folder in [folder.to_owned(), folder.join("../metadata")] {
            let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
            if folder.is_dir()
                && let Some(found) = numbered(&folder, "parquet")?.remove(&wanted)
            {
                return Ok(found);
            }
        }
    }
    Err(wrong(vectors, no_metadata(vectors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        dir
    }

    fn names(dir: &Path, parts: &[Part]) -> Vec<[String; 2]> {
        let name = |path: &Path| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        let pair = |part: &Part| {
            [name(&part.vectors), part.metadata.as_ref().map_or_else(String::new, |path| name(path))]
        };
        parts.iter().map(pair).collect()
    }

    #[test]
    fn ten_comes_after_nine_in_either_layout() {
        let nested = tree(&[
            "img_emb/img_emb_10.npy",
            "img_emb/img_emb_9.npy",
            "metadata/metadata_9.parquet",
            "metadata/metadata_10.parquet",
            "text_emb/text_emb_9.npy",
        ]);
        assert_eq!(
            names(nested.path(), &find_parts(nested.path(), true).unwrap()),
            [
                ["img_emb/img_emb_9.npy", "metadata/metadata_9.parquet"],
                ["img_emb/img_emb_10.npy", "metadata/metadata_10.parquet"]
            ]
        );
        let flat = tree(&["img_emb_007.npy", "text_emb_7.npy", "metadata_7.parquet", "notes.txt"]);
        assert_eq!(
            names(flat.path(), &find_parts(flat.path(), true).unwrap()),
            [["img_emb_007.npy", "metadata_7.parquet"]]
        );
        assert_eq!(names(flat.path(), &find_parts(flat.path(), false).unwrap()), [["img_emb_007.npy", ""]]);
        let file = nested.path().join("img_emb/img_emb_9.npy");
        let alone = find_parts(&file, true).unwrap();
        assert!(alone[0].metadata.as_ref().unwrap().ends_with("metadata_9.parquet"));
    }

    #[test]
    fn says_which_half_is_missing() {
        for (files, words) in [
            (&["notes.txt"][..], "no .npy file"),
            (&["img_emb_1.npy"], "no .parquet file of its number"),
            (
                &["img_emb_1.npy", "metadata_1.parquet", "metadata_2.parquet"],
                "metadata_2.parquet has no .npy",
            ),
            (&["img_emb_1.npy", "img_emb_01.npy", "metadata_1.parquet"], "the same number"),
            (&["vectors.npy", "vectors.parquet"], "does not end in a number"),
        ] {
            let dir = tree(files);
            let error = find_parts(dir.path(), true).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let alone = tree(&["vectors.npy", "other.npy", "vectors.parquet"]);
        assert!(find_parts(&alone.path().join("vectors.npy"), true).is_ok());
        assert!(find_parts(&alone.path().join("other.npy"), true).is_err());
        assert!(find_parts(&alone.path().join("other.npy"), false).is_ok());
        assert!(find_parts(&alone.path().join("none"), false).is_err());
    }
}
