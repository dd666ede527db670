//! A test hook: `PICTOR_FAILPOINT=<name>` makes the process die, as in a power cut, at a named point of a commit, a merge, a
//! compaction or a migration. `<name>:<n>` dies when it comes by for the n-th time, `<name>:<n>:kill` by SIGKILL and not by abort.
//!
//! RocksDB and tantivy do their own I/O, so a crash between the steps can only be shown by a process that really dies. The
//! names are those of the steps that have just finished; FORMAT.md lists them. Compiled in always, because the binary that is
//! tested is the one that is shipped; unset, it costs a look at the environment at each point.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The points, each in the order of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// A commit: the lists of deleted rows are durable.
    Deleted,
    /// `vectors.bin` and `ids.bin` of the new segment are durable.
    Vectors,
    /// Its nearest-neighbour index is durable.
    Ann,
    /// tantivy has committed.
    Text,
    /// RocksDB has synced its batch.
    Catalog,
    /// The manifest is in place: the commit has happened, old files are still there.
    Manifest,
    /// Old files are gone.
    Garbage,
    /// A merge: `vectors.bin` and `ids.bin` of the new segment are durable.
    MergeRows,
    /// Its nearest-neighbour index is durable.
    MergeAnn,
    /// The list of its rows that were deleted meanwhile is durable.
    MergeDeleted,
    /// The manifest is in place: the new segment counts, those it was made of are still there.
    MergeManifest,
    /// They are gone.
    MergeGarbage,
    /// A compaction: RocksDB is compacted.
    CompactCatalog,
    /// tantivy's segments are merged.
    CompactText,
    /// A migration: the old manifest is kept for the way back.
    SwitchPrevious,
    /// The manifest names the successor's stores: the migration has happened.
    SwitchManifest,
    /// The way back: the manifest that is to be undone is kept.
    RollbackUndone,
    /// The manifest is that from before the migration.
    RollbackManifest,
}

impl Point {
    const fn name(self) -> &'static str {
        match self {
            Self::Deleted => "after-deleted",
            Self::Vectors => "after-vectors",
            Self::Ann => "after-ann",
            Self::Text => "after-text",
            Self::Catalog => "after-catalog",
            Self::Manifest => "after-manifest",
            Self::Garbage => "after-garbage",
            Self::MergeRows => "after-merge-rows",
            Self::MergeAnn => "after-merge-ann",
            Self::MergeDeleted => "after-merge-deleted",
            Self::MergeManifest => "after-merge-manifest",
            Self::MergeGarbage => "after-merge-garbage",
            Self::CompactCatalog => "after-compact-catalog",
            Self::CompactText => "after-compact-text",
            Self::SwitchPrevious => "after-switch-previous",
            Self::SwitchManifest => "after-switch-manifest",
            Self::RollbackUndone => "after-rollback-undone",
            Self::RollbackManifest => "after-rollback-manifest",
        }
    }
}

/// Dies here if asked to.
pub(crate) fn reach(point: Point) {
    static HITS: AtomicUsize = AtomicUsize::new(0);
    let Ok(wanted) = std::env::var("PICTOR_FAILPOINT") else { return };
    let mut parts = wanted.split(':');
    if parts.next() != Some(point.name()) {
        return;
    }
    let nth = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    if HITS.fetch_add(1, Ordering::SeqCst) + 1 < nth {
        return;
    }
    if parts.next() == Some("kill") {
        let me = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-KILL", &me]).status();
        assert!(sent.is_ok(), "a failpoint asked for SIGKILL and there is no `kill`");
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
    std::process::abort();
}
