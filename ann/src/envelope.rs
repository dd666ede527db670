//! The envelope around every index file: what it holds, and proof that it still does.
//!
//! All numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `PICTRANN` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | dim |
//! | 16 | 8 | rows |
//! | 24 | 4 | length of the kind's name |
//! | 28 | 4 | 0 |
//! | 32 | … | the kind's name (`hnsw:16:200`), then zeros up to a multiple of 64 |
//! | … | … | payload: a graph (graph.rs), or FAISS's own serialisation; nothing when there are no rows |
//! | end - 32 | 32 | BLAKE3 of all bytes before |
//!
//! The checksum is verified over the whole file before anyone parses the payload: FAISS trusts what it reads, and would crash
//! or answer wrongly on bytes it did not write. The payload starts on a multiple of 64, so it can be read in place.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use fs_err::File;
use memmap2::Mmap;

use crate::{AnnError, IndexKind, Rows};

const MAGIC: &[u8; 8] = b"PICTRANN";
const VERSION: u32 = 1;
const FIXED: usize = 32;
const ALIGN: usize = 64;
const CHECKSUM: usize = blake3::OUT_LEN;

/// Writes an envelope: create it, write the payload, finish it.
pub(crate) struct Writer {
    file: io::BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Writer {
    /// Replaces the file at `path`.
    pub fn create(path: &Path, kind: &IndexKind, rows: &Rows) -> Result<Self, AnnError> {
        let file = io::BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut writer = Self { file, hasher: blake3::Hasher::new() };
        writer.write_all(&header(kind, rows))?;
        Ok(writer)
    }

    /// Writes the checksum and waits until the file is on the medium.
    pub fn finish(mut self) -> Result<(), AnnError> {
        self.file.write_all(self.hasher.finalize().as_bytes())?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn header(kind: &IndexKind, rows: &Rows) -> Vec<u8> {
    let name = kind.to_string();
    let mut bytes = Vec::with_capacity(2 * ALIGN);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    // `Rows` and `IndexKind::check` bound all three.
    bytes.extend_from_slice(&(rows.dim() as u32).to_le_bytes());
    bytes.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    bytes
}

/// The payload of a verified file, mapped.
#[derive(Debug)]
pub(crate) struct Payload {
    map: Mmap,
    range: Range<usize>,
}

impl Payload {
    pub fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

/// Maps the file at `path`, verifies all of it, and checks that it was written for `kind` over `rows`.
pub(crate) fn open(path: &Path, kind: &IndexKind, rows: &Rows) -> Result<Payload, AnnError> {
    let damaged = |reason: String| AnnError::Damaged { path: path.into(), reason };
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    if len < (FIXED + CHECKSUM) as u64 {
        return Err(damaged(format!("it has {len} bytes, fewer than any index file")));
    }
    // SAFETY: index files are written once, before anyone opens them, and are only ever removed, never changed; that nobody
    // else truncates one in place is an assumption every memory-mapped file makes.
    let map = unsafe { Mmap::map(file.file()) }?;
    if !map.starts_with(MAGIC) {
        return Err(damaged("it does not start as an index file".into()));
    }
    let (body, checksum) = map.split_at(map.len() - CHECKSUM);
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| body[at + i]));
    if u32_at(8) != VERSION {
        return Err(AnnError::Mismatch {
            path: path.into(),
            what: "format version",
            expected: VERSION.to_string(),
            received: u32_at(8).to_string(),
        });
    }
    if blake3::hash(body).as_bytes() != checksum {
        return Err(damaged("its checksum does not match its content; it was truncated or changed".into()));
    }
    // From here on the bytes are those that were written, so what differs is another index, not damage.
    let expected = header(kind, rows);
    if body.get(..expected.len()) != Some(&expected) {
        let mismatch = |what, expected: String, received: String| AnnError::Mismatch {
            path: path.into(),
            what,
            expected,
            received,
        };
        let count = u64::from_le_bytes(std::array::from_fn(|i| body[16 + i]));
        if u32_at(12) as usize != rows.dim() {
            return Err(mismatch("dimension", rows.dim().to_string(), u32_at(12).to_string()));
        }
        if count != rows.len() as u64 {
            return Err(mismatch("row count", rows.len().to_string(), count.to_string()));
        }
        let name = body.get(FIXED..FIXED + u32_at(24) as usize).unwrap_or_default();
        return Err(mismatch("kind", kind.to_string(), String::from_utf8_lossy(name).into_owned()));
    }
    let range = expected.len()..body.len();
    Ok(Payload { map, range })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) -> (IndexKind, Rows) {
        let kind = IndexKind::Faiss { factory: "Flat".into() };
        let rows = Rows::from_vec(2, vec![1.0, 0.0, 0.0, 1.0]).unwrap();
        let mut writer = Writer::create(path, &kind, &rows).unwrap();
        writer.write_all(b"payload").unwrap();
        writer.finish().unwrap();
        (kind, rows)
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let (kind, rows) = write(&path);
        assert_eq!(open(&path, &kind, &rows).unwrap().bytes(), b"payload");

        let intact = fs_err::read(&path).unwrap();
        assert_eq!(intact.len(), 64 + 7 + 32);
        let opens = |bytes: &[u8]| {
            fs_err::write(&path, bytes).unwrap();
            open(&path, &kind, &rows)
        };
        for len in 0..intact.len() {
            assert!(matches!(opens(&intact[..len]), Err(AnnError::Damaged { .. })), "length {len}");
        }
        for bit in 0..intact.len() * 8 {
            let mut flipped = intact.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = opens(&flipped).unwrap_err();
            // A version we do not know may be right, so it is not called damage.
            let version = (8..12).contains(&(bit / 8));
            assert_eq!(
                matches!(error, AnnError::Mismatch { what: "format version", .. }),
                version,
                "bit {bit}"
            );
            assert_eq!(matches!(error, AnnError::Damaged { .. }), !version, "bit {bit}");
        }
        let longer = [&intact[..], b"more"].concat();
        assert!(matches!(opens(&longer), Err(AnnError::Damaged { .. })));
    }

    #[test]
    fn another_index_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let (kind, rows) = write(&path);
        let what = |kind: &IndexKind, rows: &Rows| match open(&path, kind, rows) {
            Err(AnnError::Mismatch { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(what(&kind, &Rows::from_vec(1, vec![1.0, 1.0]).unwrap()), "dimension");
        assert_eq!(what(&kind, &Rows::from_vec(2, vec![1.0, 0.0]).unwrap()), "row count");
        assert_eq!(what(&IndexKind::HNSW, &rows), "kind");

        let missing = open(&dir.path().join("none"), &kind, &rows).unwrap_err();
        assert!(matches!(missing, AnnError::Io(_)) && missing.to_string().contains("none"), "{missing}");
    }
}
