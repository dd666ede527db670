//! What the documents point to is there.

use std::path::{Path, PathBuf};

const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "storage/FORMAT.md",
    "models/pictor-mini/README.md",
];

#[test]
fn every_link_to_a_file_leads_to_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for document in DOCUMENTS {
        let path = root.join(document);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{document}: {e}"));
        let folder = path.parent().expect("a file has a folder");
        broken.extend(links(&text).filter(|link| !folder.join(link).exists()).map(|link| (document, link)));
    }
    assert!(broken.is_empty(), "{broken:?}");
}

/// The targets of `[…](target)` that are paths, without their fragment.
fn links(text: &str) -> impl Iterator<Item = PathBuf> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let paths = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    paths.map(|target| target.split('#').next().unwrap_or(target).into())
}
