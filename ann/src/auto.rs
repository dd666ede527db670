//! Which kind of index suits how many rows, and why.

use std::fmt;

use crate::{Dtype, IndexKind};

/// Bytes of rows up to which a scan of them all is fast enough: 64 MiB are read in about 3 ms at the 20 GB/s of a small machine,
/// less than encoding a text query takes.
const FLAT_UP_TO: u64 = 64 << 20;

/// Bytes of links for a row of `HNSW32`, rounded up from those in the runs of `benches/ann`.
const LINK_BYTES: u64 = 160;

/// A kind, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoChoice {
    /// The kind.
    pub kind: IndexKind,
    /// In words for people.
    pub why: String,
}

impl fmt::Display for AutoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.why)
    }
}

impl IndexKind {
    /// The kind for `rows` rows of `dim` components, when `memory` bytes can be had for searching them.
    ///
    /// | rows | kind | why |
    /// |---|---|---|
    /// | up to 64 MiB of them (131,072 of 256 components in f16, 43,690 of 768) | `flat` | exact, nothing to build or keep, faster than encoding a query |
    /// | more, and rows and links fit into `memory` | `faiss:HNSW32` | a graph: the scan grows with the rows, the walk with their logarithm. Of the two builders FAISS's is the fast one: it inserts on all cores |
    /// | more than fit | `faiss:IVFn,PQmx4fs` | codes of `m` half-bytes a row in memory, one for two components at best (an eighth of f16), fewer when even those do not fit; what they propose is scored from the rows on disk. `n` lists, the power of two from 4√rows up |
    ///
    /// Which library builds the graph is decided by `benches/ann`: the same vectors, side by side.
    pub fn auto(rows: usize, dim: usize, dtype: Dtype, memory: u64) -> AutoChoice {
        let row_bytes = (dim * dtype.size()) as u64;
        let bytes = (rows as u64).saturating_mul(row_bytes);
        if bytes <= FLAT_UP_TO {
            let why = format!("the {} of vectors are scanned in milliseconds", mib(bytes));
            return AutoChoice { kind: Self::Flat, why };
        }
        let with_links = bytes.saturating_add((rows as u64).saturating_mul(LINK_BYTES));
        if with_links <= memory {
            let why = format!(
                "{} of vectors are too many to scan, and fit with the links of a graph into the {} of memory there are",
                mib(bytes),
                mib(memory)
            );
            return AutoChoice { kind: Self::Faiss { factory: "HNSW32".into() }, why };
        }
        let lists = (4 * rows.isqrt()).next_power_of_two().clamp(64, 1 << 16);
        // Half-byte codes, each for so many components that it takes a whole number of them.
        let mut widths = (2..=16).filter(|width| dim.is_multiple_of(*width)).map(|width| dim / width);
        let fits = |codes: usize| (rows as u64).saturating_mul(codes as u64 / 2 + 8) <= memory;
        let codes = widths.clone().find(|&codes| fits(codes)).or(widths.next_back()).unwrap_or(dim);
        let why = format!(
            "{} of vectors and links are more than the {} of memory there are, so codes of {} bytes propose and the vectors decide",
            mib(with_links),
            mib(memory),
            codes.div_ceil(2)
        );
        AutoChoice { kind: Self::Faiss { factory: format!("IVF{lists},PQ{codes}x4fs") }, why }
    }
}

fn mib(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_as_the_table_says() {
        let kind = |rows, dim, dtype, memory: u64| IndexKind::auto(rows, dim, dtype, memory).kind.to_string();
        assert_eq!(kind(0, 512, Dtype::F16, 0), "flat");
        assert_eq!(kind(131_072, 256, Dtype::F16, 0), "flat");
        assert_eq!(kind(65_536, 256, Dtype::F32, 0), "flat");
        assert_eq!(kind(131_073, 256, Dtype::F16, 1 << 30), "faiss:HNSW32");
        assert_eq!(kind(10_000_000, 512, Dtype::F16, 12 << 30), "faiss:HNSW32");
        assert_eq!(kind(10_000_000, 512, Dtype::F16, 4 << 30), "faiss:IVF16384,PQ256x4fs");
        assert_eq!(kind(10_000_000, 512, Dtype::F16, 500 << 20), "faiss:IVF16384,PQ64x4fs");
        assert_eq!(kind(10_000_000, 512, Dtype::F16, 1), "faiss:IVF16384,PQ32x4fs");
        assert_eq!(kind(1_000_000, 1009, Dtype::F16, 1), "faiss:IVF4096,PQ1009x4fs", "a prime");
        let choice = IndexKind::auto(1_000_000, 512, Dtype::F16, 8 << 30);
        assert_eq!(
            choice.to_string(),
            "faiss:HNSW32: 977 MiB of vectors are too many to scan, and fit with the links of a graph into the 8192 MiB of memory there are"
        );
    }

    /// What it names, FAISS can make: a few rows are too few to learn from, and nothing else is wrong.
    #[test]
    fn faiss_knows_what_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        for dim in [64, 100, 256, 512, 768, 1152, 1009] {
            for memory in [0, 1 << 34] {
                let kind = IndexKind::auto(20_000_000, dim, Dtype::F16, memory).kind;
                let rows = crate::tests::random_rows(40, dim, 1);
                match crate::build(&kind, &rows, &dir.path().join("index")) {
                    Ok(()) | Err(crate::AnnError::TooFewRows { .. }) => {}
                    Err(error) => panic!("{kind} of {dim}: {error}"),
                }
            }
        }
    }
}
