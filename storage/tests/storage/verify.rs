//! Verify and repair: whatever happens to whichever file, it is found, and what comes back is the truth or an error.

use std::path::{Path, PathBuf};

use pictor_core::ImageId;
use pictor_storage::{Finding, Part, Remedy, Skipped, StorageError, Store, Verification};
use tempfile::TempDir;

use crate::{put, record, store_of, vector};

/// Two segments with graphs, a deleted row, a died record, a ledger entry: every kind of file there is.
fn sample() -> (TempDir, Store) {
    let (dir, store) = store_of("hnsw", &["ant", "bee", "cat", "dog"]);
    let mut writer = store.writer().unwrap();
    writer.delete(ImageId(1)).unwrap();
    put(&mut writer, "elk");
    writer.skip(Skipped { uri: "bad".into(), reason: "empty".into(), bytes: 0, modified_ns: None });
    writer.commit().unwrap();
    drop(writer);
    (dir, store)
}

fn verify(dir: &Path) -> Result<Verification, StorageError> {
    pictor_storage::verify(dir, &|done, total| assert!(done <= total))
}

fn findings(dir: &Path) -> Vec<Finding> {
    verify(dir).unwrap().findings
}

/// Everything that the index answers.
fn contents(dir: &Path) -> Result<String, StorageError> {
    let snapshot = Store::open(dir)?.snapshot()?;
    let mut text = format!("{:?} {:?}\n", snapshot.ids(), snapshot.skipped()?);
    for entry in snapshot.records() {
        let (id, record) = entry?;
        let by_vector = snapshot.search_vectors(&vector(&record.uri), 9, None, None)?;
        // Without scores: tantivy counts what was deleted until it rewrites its files, so a new text index has others.
        let by_words = snapshot.search_text(&record.uri, 9, None)?;
        let by_words: Vec<ImageId> = by_words.iter().map(|hit| hit.id).collect();
        text += &format!("{id} {record:?} {:?} {by_vector:?} {by_words:?}\n", snapshot.vector(id)?);
    }
    Ok(text)
}

/// All files below `dir`, by their path from there.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(&file);
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(from.join(file), to).unwrap();
    }
}

#[test]
fn a_sound_index_has_no_findings_and_needs_no_repair() {
    let (_dir, store) = sample();
    let verification = verify(store.dir()).unwrap();
    assert_eq!((verification.images, verification.vectors), (4, 5));
    assert_eq!(verification.findings, []);
    let repair = pictor_storage::repair(store.dir(), &|_, _| {}).unwrap();
    assert!(repair.repaired.is_empty() && repair.done.is_empty() && repair.remaining.is_empty());
    let writer = store.writer().unwrap();
    assert!(matches!(verify(store.dir()), Err(StorageError::Busy { .. })));
    drop(writer);
    assert!(matches!(verify(&store.dir().join("none")), Err(StorageError::Missing { .. })));
    assert!(matches!(verify(&store.dir().join("text")), Err(StorageError::NotAnIndex { .. })));
    assert!(!store.dir().join("text/LOCK").exists(), "no lock is left where no index is");
}

/// The damages tried on each file.
fn damages(intact: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let mut all = vec![("gone".to_owned(), None)];
    for len in [0, intact.len() / 2, intact.len().saturating_sub(1)] {
        all.push((format!("cut to {len}"), Some(intact[..len].to_vec())));
    }
    for step in 0..6 {
        let at = (intact.len().saturating_sub(1)) * step / 5;
        let mut flipped = intact.to_vec();
        if let Some(byte) = flipped.get_mut(at) {
            *byte ^= 1 << (step % 8);
            all.push((format!("flipped at {at}"), Some(flipped)));
        }
    }
    all
}

#[test]
fn any_damage_to_any_file_is_found_or_harmless() {
    let (_dir, store) = sample();
    let expected = contents(store.dir()).unwrap();
    let (mut found, mut repaired, mut kinds) = (0, 0, std::collections::BTreeSet::new());
    for file in files(store.dir()) {
        let intact = fs_err::read(store.dir().join(&file)).unwrap();
        for (what, damaged) in damages(&intact) {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            copy(store.dir(), dir);
            match damaged {
                None => fs_err::remove_file(dir.join(&file)).unwrap(),
                Some(bytes) => fs_err::write(dir.join(&file), bytes).unwrap(),
            }
            let name = format!("{} {what}", file.display());
            let verification = match verify(dir) {
                Ok(verification) => verification,
                Err(StorageError::Version { .. } | StorageError::NotAnIndex { .. }) => continue,
                Err(error) => panic!("{name}: {error}"),
            };
            if verification.findings.is_empty() {
                assert_eq!(contents(dir).unwrap(), expected, "{name}: not found and not harmless");
                continue;
            }
            found += 1;
            for finding in &verification.findings {
                assert!(finding.path.starts_with(dir) && !finding.problem.is_empty(), "{name}: {finding:?}");
            }
            let repair = pictor_storage::repair(dir, &|_, _| {}).unwrap();
            if repair.remaining.is_empty() {
                repaired += 1;
                kinds.extend(verification.findings.iter().map(|finding| format!("{:?}", finding.part)));
                assert_eq!(findings(dir), [], "{name}");
                assert_eq!(contents(dir).unwrap(), expected, "{name}: {:?}", repair.done);
                continue;
            }
            let lost = repair.remaining.iter().any(|finding| finding.remedy == Remedy::Restore);
            assert!(lost, "{name}: {:?} could have been repaired", repair.remaining);
            if let Ok(answered) = contents(dir) {
                assert_eq!(answered, expected, "{name}: another answer");
            }
        }
    }
    assert!(found > 100, "only {found} damages were found");
    assert!(repaired > 30, "only {repaired} damages were repaired");
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["Neighbors", "Text"]);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let (_dir, store) = sample();
    let segments = store.dir().join("segments");
    let flip = |path: &Path| {
        let mut bytes = fs_err::read(path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs_err::write(path, bytes).unwrap();
    };
    flip(&segments.join("00000001/vectors.bin"));
    flip(&segments.join("00000001/ids.bin"));
    flip(&segments.join("00000001/deleted-2.bin"));
    flip(&segments.join("00000002/ann.bin"));
    fs_err::remove_dir_all(store.dir().join("text")).unwrap();
    fs_err::create_dir(segments.join("00000009")).unwrap();
    fs_err::write(segments.join("00000002/deleted-7.bin"), "").unwrap();

    let found = findings(store.dir());
    let mut seen: Vec<_> = found
        .iter()
        .map(|f| (f.path.strip_prefix(store.dir()).unwrap().to_str().unwrap(), f.remedy))
        .collect();
    seen.sort_by_key(|(path, _)| *path);
    use Remedy::{Repair, Restore};
    assert_eq!(
        seen,
        [
            ("segments/00000001/deleted-2.bin", Restore),
            ("segments/00000001/ids.bin", Restore),
            ("segments/00000001/vectors.bin", Restore),
            ("segments/00000002/ann.bin", Repair),
            ("segments/00000002/deleted-7.bin", Repair),
            ("segments/00000009", Repair),
            ("text", Repair),
        ]
    );
    // What can be made again is, and nothing that may be needed goes.
    let repair = pictor_storage::repair(store.dir(), &|_, _| {}).unwrap();
    assert_eq!(repair.repaired.len(), 1, "{:?}", repair.done);
    assert!(repair.remaining.iter().all(|finding| !finding.path.ends_with("ann.bin")));
    assert!(segments.join("00000009").exists());
}

#[test]
fn a_commit_that_was_cut_short_is_found_and_repaired() {
    // What the commit after these parts were written would have replaced is put back: it died before it came to them.
    for put_back in
        [&["manifest.json"][..], &["manifest.json", "catalog"], &["manifest.json", "catalog", "text"]]
    {
        let (dir, store) = sample();
        let expected = contents(store.dir()).unwrap();
        let before = dir.path().join("before");
        copy(store.dir(), &before);
        let mut writer = store.writer().unwrap();
        put(&mut writer, "fox");
        writer.commit().unwrap();
        drop(writer);
        for part in put_back {
            let (from, to) = (before.join(part), store.dir().join(part));
            if from.is_dir() {
                fs_err::remove_dir_all(&to).unwrap();
                copy(&from, &to);
            } else {
                fs_err::copy(from, to).unwrap();
            }
        }
        let found = findings(store.dir());
        let parts: Vec<Part> = found.iter().map(|finding| finding.part).collect();
        assert!(parts.contains(&Part::Segments), "{put_back:?}: {found:?}");
        assert_eq!(parts.contains(&Part::Catalog), !put_back.contains(&"catalog"), "{put_back:?}: {found:?}");
        assert_eq!(parts.contains(&Part::Text), !put_back.contains(&"text"), "{put_back:?}: {found:?}");
        assert!(found.iter().all(|finding| finding.remedy == Remedy::Repair), "{put_back:?}: {found:?}");

        let repair = pictor_storage::repair(store.dir(), &|_, _| {}).unwrap();
        assert_eq!((repair.remaining, findings(store.dir())), (vec![], vec![]), "{put_back:?}");
        assert_eq!(contents(store.dir()).unwrap(), expected, "{put_back:?}");
    }
}

#[test]
fn records_that_are_missing_are_named_and_not_made_up() {
    // The catalog of an index with fewer images in the place of its own.
    let (_dir, store) = store_of("flat", &["ant", "bee", "cat"]);
    let (_other_dir, other) = store_of("flat", &["fox", "gnu"]);
    fs_err::remove_dir_all(store.dir().join("catalog")).unwrap();
    copy(&other.dir().join("catalog"), &store.dir().join("catalog"));
    let found = findings(store.dir());
    let missing = "it holds records of 2 images, the manifest shows 3: image 2";
    assert!(
        found.iter().any(|f| f.part == Part::Catalog && f.problem == missing && f.remedy == Remedy::Restore),
        "{found:?}"
    );
    let repair = pictor_storage::repair(store.dir(), &|_, _| {}).unwrap();
    assert!(repair.done.is_empty(), "{:?}", repair.done);
}

#[test]
fn every_commit_leaves_nothing_to_find() {
    let (_dir, store) = sample();
    for name in ["fox", "gnu", "ant", "fox"] {
        let mut writer = store.writer().unwrap();
        writer.put(record(name, name), &vector(name)).unwrap();
        writer.commit().unwrap();
        drop(writer);
        assert_eq!(findings(store.dir()), []);
    }
}
