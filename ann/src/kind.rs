//! Which index, and how that is written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::AnnError;

/// A way to index rows.
///
/// As text (command line): `flat`, `hnsw` (the defaults), `hnsw:M:EF_CONSTRUCTION`, `faiss:FACTORY`. As JSON (manifest):
/// `{"kind":"flat"}`, `{"kind":"hnsw","m":16,"ef_construction":200}`, `{"kind":"faiss","factory":"IVF64,Flat"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum IndexKind {
    /// Exact scan of all rows: recall 1, time linear in rows, no file, nothing to build.
    Flat,
    /// A navigable small-world graph (Malkov & Yashunin 2016, arXiv:1603.09320), built by `hnsw_rs`.
    Hnsw {
        /// Links per row and layer, twice as many on layer 0; 4..=128. More is larger, slower to build and better connected.
        m: usize,
        /// Width of the beam that finds a new row's neighbours while building; `m`..=4096.
        ef_construction: usize,
    },
    /// Any index that FAISS's `index_factory` makes with the inner product as metric, for instance `IVF1024,Flat`, `SQ8`,
    /// `IVF256,PQ32np`, `HNSW32` (<https://github.com/facebookresearch/faiss/wiki/The-index-factory>). Write `PQ…np`: without
    /// `np`, product quantisers are also trained for a search mode that is not used here, which takes seconds per byte of code.
    Faiss {
        /// The factory string.
        factory: String,
    },
}

impl IndexKind {
    /// HNSW with M = 16 and efConstruction = 200: the values that hnswlib's documentation starts from
    /// (hnswlib:ALGO_PARAMS.md: M 12-48 is fine for most uses, high-dimensional embeddings want the upper half; construction
    /// beam such that recall at efSearch = efConstruction exceeds 0.9).
    pub const HNSW: Self = Self::Hnsw { m: 16, ef_construction: 200 };

    /// M, when this is a FAISS factory string for a graph over whole vectors (`HNSW`, `HNSW32`, `HNSW32,Flat`): FAISS then builds the
    /// links, and they are kept and walked as those of [`Hnsw`](Self::Hnsw) are.
    pub(crate) fn faiss_graph(&self) -> Option<usize> {
        let Self::Faiss { factory } = self else { return None };
        let m = factory.strip_suffix(",Flat").unwrap_or(factory).strip_prefix("HNSW")?;
        // FAISS's own default (faiss/index_factory.cpp).
        if m.is_empty() { Some(32) } else { m.parse().ok() }
    }

    /// Checks parameters that were not parsed from text.
    pub(crate) fn check(&self) -> Result<(), AnnError> {
        let wrong = |reason: String| Err(AnnError::Kind { text: self.to_string(), reason });
        match self {
            Self::Flat => Ok(()),
            Self::Hnsw { m, .. } if !(4..=128).contains(m) => wrong(format!("M is {m}, expected 4 to 128")),
            Self::Hnsw { m, ef_construction: ef } if !(*m..=4096).contains(ef) => {
                wrong(format!("EF_CONSTRUCTION is {ef}, expected {m} (M) to 4096"))
            }
            Self::Hnsw { .. } => Ok(()),
            Self::Faiss { factory } if factory.is_empty() => wrong("the factory string is missing".into()),
            Self::Faiss { factory }
                if factory.len() > 200 || !factory.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                wrong("a factory string is at most 200 visible ASCII characters".into())
            }
            // FAISS divides by them, and allocates by them, before it checks.
            Self::Faiss { factory }
                if !numbers(factory).all(|n| n.is_some_and(|n| (1..=1 << 22).contains(&n))) =>
            {
                wrong("the numbers in a factory string are between 1 and 4194304".into())
            }
            // With one link, its layers thin out by a factor of ln(1) = 0 and FAISS draws levels for ever.
            Self::Faiss { factory } if graph_links(factory).any(|m| !(2..=512).contains(&m)) => {
                wrong("the number after HNSW is between 2 and 512".into())
            }
            // FAISS 1.12 crashes in the first and does not return from building the second over a few hundred rows.
            Self::Faiss { factory } if factory.contains("ZnLattice") || factory.contains("NSG") => {
                wrong("ZnLattice and NSG indexes do not work in this version of FAISS".into())
            }
            Self::Faiss { .. } => Ok(()),
        }
    }
}

/// The numbers in `text`, `None` for one beyond u32.
fn numbers(text: &str) -> impl Iterator<Item = Option<u32>> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().ok())
}

/// The numbers that directly follow `HNSW` in `factory`.
fn graph_links(factory: &str) -> impl Iterator<Item = u32> {
    let after = factory.split("HNSW").skip(1);
    after.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat => f.write_str("flat"),
            Self::Hnsw { m, ef_construction } => write!(f, "hnsw:{m}:{ef_construction}"),
            Self::Faiss { factory } => write!(f, "faiss:{factory}"),
        }
    }
}

impl FromStr for IndexKind {
    type Err = AnnError;

    fn from_str(text: &str) -> Result<Self, AnnError> {
        let wrong = |reason: &str| AnnError::Kind { text: text.into(), reason: reason.into() };
        let number = |digits: &str| {
            digits.parse::<usize>().map_err(|_| wrong("M and EF_CONSTRUCTION are whole numbers"))
        };
        let kind = match text.split_once(':') {
            None if text == "flat" => Self::Flat,
            None if text == "hnsw" => Self::HNSW,
            None if text == "faiss" => return Err(wrong("the factory string is missing")),
            Some(("hnsw", parameters)) => {
                let (m, ef) =
                    parameters.split_once(':').ok_or_else(|| wrong("EF_CONSTRUCTION is missing"))?;
                Self::Hnsw { m: number(m)?, ef_construction: number(ef)? }
            }
            Some(("faiss", factory)) => Self::Faiss { factory: factory.into() },
            _ => return Err(wrong("no kind has this name")),
        };
        kind.check()?;
        Ok(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in [
            "flat",
            "hnsw:16:200",
            "hnsw:4:4",
            "faiss:IVF64,PQ16",
            "faiss:OPQ16_64,IVF64_HNSW32,PQ16x4fs",
            "faiss:HNSW",
        ] {
            assert_eq!(text.parse::<IndexKind>().unwrap().to_string(), text);
        }
        assert_eq!("hnsw".parse::<IndexKind>().unwrap(), IndexKind::HNSW);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, reason) in [
            ("", "no kind has this name"),
            ("Flat", "no kind has this name"),
            ("flat:", "no kind has this name"),
            ("hnsw:16", "EF_CONSTRUCTION is missing"),
            ("hnsw:a:b", "whole numbers"),
            ("hnsw:1:200", "M is 1, expected 4 to 128"),
            ("hnsw:129:200", "M is 129"),
            ("hnsw:16:8", "EF_CONSTRUCTION is 8, expected 16 (M) to 4096"),
            ("hnsw:16:-1", "whole numbers"),
            ("faiss", "missing"),
            ("faiss:", "missing"),
            ("faiss:IVF64, Flat", "visible ASCII"),
            ("faiss:Fl\0at", "visible ASCII"),
            ("faiss:IVF0,Flat", "between 1 and"),
            ("faiss:HNSW99999999999", "between 1 and"),
            ("faiss:HNSW1", "between 2 and 512"),
            ("faiss:IVF64_HNSW1,Flat", "between 2 and 512"),
            ("faiss:HNSW1_HNSW8", "between 2 and 512"),
            ("faiss:NSG32,Flat", "do not work"),
            ("faiss:ZnLattice2x4_4", "do not work"),
        ] {
            let error = text.parse::<IndexKind>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("write flat, hnsw"), "{text}: {error}");
        }
    }
}
