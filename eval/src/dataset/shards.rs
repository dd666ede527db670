//! Which `.tar` files a webdataset is made of.
//!
//! CLIP_benchmark's folders (`webdataset_builder.py`, `build_wds_dataset`) are `test/0.tar`, `test/1.tar` … with their number in
//! `test/nshards.txt`; others are given as webdataset's own patterns, `path/{000..041}.tar`. What must stay true: shards come in
//! the order of their numbers, and one that is missing is an error.

use std::path::{Path, PathBuf};

use super::archive::{Content, content};
use super::parent;
use crate::EvalError;

/// Shards that a pattern may lead to: a slip of the finger such as `{0..99999999}` is an error, not a full memory.
const MOST: usize = 1 << 20;

/// The shards that `path` means, or `None` when it is no webdataset but a file of another kind (or not there at all).
///
/// # Errors
/// [`EvalError::Format`] when a folder holds no shards or not all of them, a pattern finds nothing, or a shard is compressed.
pub(crate) fn shards(path: &Path, split: Option<&Path>) -> Result<Option<Vec<PathBuf>>, EvalError> {
    let wrong = |reason: String| Err(EvalError::Format { path: path.into(), reason });
    if path.is_dir() {
        return of_folder(path, split).map(Some);
    }
    let shards = if path.is_file() {
        match content(path)? {
            Content::Tar => vec![path.to_owned()],
            Content::Gzip => {
                return wrong(
                    "it is compressed; unpack it with gunzip first, so that images can be read in place"
                        .into(),
                );
            }
            Content::Other => return Ok(None),
        }
    } else {
        match path.to_str() {
            Some(pattern) if pattern.contains(['{', '*', '?']) => of_pattern(path, pattern)?,
            _ => return Ok(None),
        }
    };
    if let Some(split) = split {
        return wrong(format!(
            "shards know no split '{}'; name the shards of that split, or the folder that has a sub-folder for each",
            split.display()
        ));
    }
    Ok(Some(shards))
}

fn of_folder(folder: &Path, split: Option<&Path>) -> Result<Vec<PathBuf>, EvalError> {
    let wrong = |reason: String| Err(EvalError::Format { path: folder.into(), reason });
    if let Some(split) = split {
        let inner = folder.join(split);
        let found = if inner.is_dir() { tars(&inner)? } else { Vec::new() };
        if found.is_empty() {
            return wrong(format!(
                "it has no split '{}' with .tar shards; it has {}",
                split.display(),
                splits(folder)?
            ));
        }
        return complete(&inner, found);
    }
    let found = tars(folder)?;
    if !found.is_empty() {
        return complete(folder, found);
    }
    let mut inner = Vec::new();
    for name in split_names(folder)? {
        inner.push(folder.join(name));
    }
    match inner.as_slice() {
        [only] => complete(only, tars(only)?),
        _ => wrong(format!("it holds no .tar shards; it has {}", splits(folder)?)),
    }
}

/// Sub-folders with shards, sorted.
fn split_names(folder: &Path) -> Result<Vec<String>, EvalError> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() && !tars(&entry.path())?.is_empty() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn splits(folder: &Path) -> Result<String, EvalError> {
    Ok(match split_names(folder)?.as_slice() {
        [] => "no sub-folder with shards either; give a caption file, or the folder of a webdataset".into(),
        names => format!("the splits {}; choose one", names.join(", ")),
    })
}

/// The `.tar` files of a folder, in the order of their numbers.
fn tars(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar")) && path.is_file() {
            found.push(path);
        }
    }
    found.sort_by_cached_key(|path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let letters = stem.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: u64 = stem[letters.len()..].parse().unwrap_or(0);
        (letters.to_owned(), number, stem.clone())
    });
    Ok(found)
}

/// Holds the shards against `nshards.txt`, where there is one.
fn complete(folder: &Path, found: Vec<PathBuf>) -> Result<Vec<PathBuf>, EvalError> {
    let stated = folder.join("nshards.txt");
    if !stated.is_file() {
        return Ok(found);
    }
    let text = fs_err::read_to_string(&stated)?;
    match text.trim().parse::<usize>() {
        Ok(number) if number == found.len() => Ok(found),
        Ok(number) => {
            let reason =
                format!("nshards.txt says {number} shards, there are {}; fetch all of them", found.len());
            Err(EvalError::Format { path: folder.into(), reason })
        }
        Err(_) => {
            Err(EvalError::Format { path: stated, reason: "it holds no number of shards; correct it".into() })
        }
    }
}

fn of_pattern(path: &Path, pattern: &str) -> Result<Vec<PathBuf>, EvalError> {
    let wrong = |reason: String| EvalError::Format { path: path.into(), reason };
    let mut shards = Vec::new();
    for name in expand(pattern).map_err(wrong)? {
        let name = PathBuf::from(name);
        let file_name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !file_name.contains(['*', '?']) {
            shards.push(name);
            continue;
        }
        let before = shards.len();
        let folder = parent(&name);
        if folder.is_dir() {
            let fits = |tar: &PathBuf| {
                tar.file_name().is_some_and(|tar| matches(&file_name, &tar.to_string_lossy()))
            };
            shards.extend(tars(folder)?.into_iter().filter(fits));
        }
        if shards.len() == before {
            return Err(wrong(format!("no .tar file in {} fits it; check the pattern", folder.display())));
        }
    }
    match shards.iter().find(|shard| !shard.is_file()) {
        Some(missing) => {
            Err(wrong(format!("{} is not there; fetch it, or correct the pattern", missing.display())))
        }
        None => Ok(shards),
    }
}

/// Expands braces as the shell and webdataset do: `{0..12}`, `{000..041}` (numbers keep the width), `{a,b}`, several of them.
fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = pattern.split_once('{') else { return Ok(vec![pattern.into()]) };
    let Some((inside, after)) = rest.split_once('}') else {
        return Err("a '{' is not closed by '}'; close it".into());
    };
    let middle: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => {
            let number = |text: &str| {
                text.parse::<usize>().map_err(|_| format!("'{text}' in {{{inside}}} is no number"))
            };
            let (low, high) = (number(first)?, number(last)?);
            if low > high || high - low >= MOST {
                return Err(format!("{{{inside}}} must rise, and by less than {MOST}"));
            }
            let width = if first.starts_with('0') { first.len() } else { 0 };
            (low..=high).map(|n| format!("{n:0width$}")).collect()
        }
        None => inside.split(',').map(String::from).collect(),
    };
    let tails = expand(after)?;
    if middle.len().saturating_mul(tails.len()) > MOST {
        return Err(format!("it stands for more than {MOST} files"));
    }
    Ok(middle
        .iter()
        .flat_map(|middle| tails.iter().map(move |tail| format!("{before}{middle}{tail}")))
        .collect())
}

/// Whether a file name fits a pattern with `*` (any text) and `?` (any character).
fn matches(pattern: &str, name: &str) -> bool {
    // Where in the pattern each prefix of the name can have arrived: no backtracking, whatever the pattern.
    let pattern: Vec<char> = pattern.chars().collect();
    let through_stars = |mut reached: Vec<bool>| {
        for at in 0..pattern.len() {
            reached[at + 1] |= reached[at] && pattern[at] == '*';
        }
        reached
    };
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    reached = through_stars(reached);
    for c in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for at in (0..pattern.len()).filter(|&at| reached[at]) {
            match pattern[at] {
                '*' => next[at] = true,
                wanted => next[at + 1] |= wanted == '?' || wanted == c,
            }
        }
        reached = through_stars(next);
    }
    reached[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_and_stars() {
        assert_eq!(expand("a/{0..2}.tar").unwrap(), ["a/0.tar", "a/1.tar", "a/2.tar"]);
        assert_eq!(expand("{08..10}").unwrap(), ["08", "09", "10"]);
        assert_eq!(expand("{a,b}{1..2}").unwrap(), ["a1", "a2", "b1", "b2"]);
        for bad in ["{0..2", "{2..0}", "{a..b}", "{0..99999999999}", "{0..99999}{0..99999}"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
        for (pattern, name, fits) in [
            ("*.tar", "0.tar", true),
            ("*.tar", ".tar", true),
            ("?.tar", "10.tar", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("**", "", true),
            ("x", "", false),
            ("****************a", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
