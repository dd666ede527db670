//! A test hook: `PICTOR_FAILPOINT=<name>` makes the process abort, as a power cut would, at a named point of a commit.
//!
//! RocksDB and tantivy do their own I/O, so a crash between the steps of a commit can only be shown by a process that really
//! dies. The names are those of the steps that have just finished; FORMAT.md lists them. Compiled in always, because the
//! binary that is tested is the one that is shipped; unset, it costs one look at the environment per commit.

/// The points of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// `vectors.bin`, `ids.bin` and the lists of deleted rows are durable.
    Vectors,
    /// The nearest-neighbour index is durable.
    Ann,
    /// tantivy has committed.
    Text,
    /// RocksDB has synced its batch.
    Catalog,
    /// The manifest is in place: the commit has happened, old files are still there.
    Manifest,
}

impl Point {
    const fn name(self) -> &'static str {
        match self {
            Self::Vectors => "after-vectors",
            Self::Ann => "after-ann",
            Self::Text => "after-text",
            Self::Catalog => "after-catalog",
            Self::Manifest => "after-manifest",
        }
    }
}

/// The failpoint asked for, read once per commit.
pub(crate) struct Failpoint(Option<String>);

impl Failpoint {
    /// What the environment asks for.
    pub(crate) fn from_env() -> Self {
        Self(std::env::var("PICTOR_FAILPOINT").ok())
    }

    /// Dies here if asked to.
    pub(crate) fn reach(&self, point: Point) {
        if self.0.as_deref() == Some(point.name()) {
            std::process::abort();
        }
    }
}
