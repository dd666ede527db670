//! What kind of nearest-neighbour index the segments of an index get: a kind by name, or whichever suits them.

use std::fmt;
use std::str::FromStr;

use pictor_ann::{AnnError, AutoChoice, Dtype, IndexKind};
use pictor_core::{SizeError, parse_size};
use serde::{Deserialize, Serialize};

/// How a segment's nearest-neighbour index is chosen. As text: `auto`, `auto:BYTES` (such as `auto:4G`), or what [`IndexKind`] reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KindChoice {
    /// By rows and dimension ([`IndexKind::auto`]), with half of the machine's memory to search them in.
    #[default]
    Auto,
    /// The same, with this many bytes of memory.
    AutoWithin(u64),
    /// This kind; segments with too few rows to train it are searched exactly until a merge makes them large enough.
    Fixed(IndexKind),
}

impl KindChoice {
    /// The kind to build over `rows` rows of `dim` components, and why.
    pub fn resolve(&self, rows: usize, dim: usize, dtype: Dtype) -> AutoChoice {
        match self {
            Self::Auto => IndexKind::auto(rows, dim, dtype, machine_memory() / 2),
            Self::AutoWithin(memory) => IndexKind::auto(rows, dim, dtype, *memory),
            Self::Fixed(kind) => AutoChoice { kind: kind.clone(), why: "it was asked for".into() },
        }
    }
}

/// Bytes of memory of this machine (`MemTotal`); where that cannot be read, as if there were enough.
fn machine_memory() -> u64 {
    let kilobytes = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    };
    kilobytes().map_or(u64::MAX, |kilobytes| kilobytes * 1024)
}

impl fmt::Display for KindChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::AutoWithin(memory) => write!(f, "auto:{memory}"),
            Self::Fixed(kind) => kind.fmt(f),
        }
    }
}

impl FromStr for KindChoice {
    type Err = AnnError;

    fn from_str(text: &str) -> Result<Self, AnnError> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            Some(("auto", memory)) => parse_size(memory)
                .map(Self::AutoWithin)
                .map_err(|SizeError(reason)| AnnError::Kind { text: text.into(), reason }),
            _ => text.parse().map(Self::Fixed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_what_they_print() {
        for text in ["auto", "auto:4096", "flat", "hnsw:16:200", "faiss:IVF64,Flat"] {
            assert_eq!(text.parse::<KindChoice>().unwrap().to_string(), text);
        }
        assert_eq!("auto".parse::<KindChoice>().unwrap(), KindChoice::Auto);
        assert_eq!("auto:4G".parse::<KindChoice>().unwrap(), KindChoice::AutoWithin(4 << 30));
        assert!("auto:much".parse::<KindChoice>().unwrap_err().to_string().contains("300, 64K"));
        assert!(machine_memory() > 1 << 28);
        assert!("graph".parse::<KindChoice>().is_err());
        assert_eq!(KindChoice::Auto.resolve(10, 4, Dtype::F16).kind, IndexKind::Flat);
    }
}
