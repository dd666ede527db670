//! Sealed files: written once, mapped, and checked as they are read. Every file of rows, ids and neighbours is one.
//!
//! All numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version of this layout, 2 |
//! | 12 | 4 | dim: components of a row; 1 where there are none |
//! | 16 | 8 | count: rows |
//! | 24 | 4 | length of the label |
//! | 28 | 4 | length of a block, 16384 |
//! | 32 | 32 | 0 |
//! | 64 | … | the label, UTF-8: what the payload is (`f16`, `hnsw:16:200`); then zeros up to a multiple of 64 |
//! | … | … | payload; then zeros up to a multiple of 4 |
//! | … | … | CRC-32 (IEEE 802.3) of each block of the payload, u32; the last block may be shorter |
//! | end − 40 | 8 | length of the payload |
//! | end − 32 | 32 | BLAKE3 of everything that is not payload, in order |
//!
//! Two levels of checksums, so that opening reads a few pages whatever the size, and still no byte is used before it was
//! checked: opening verifies the seal (header, label, block checksums), and a block of the payload is verified when it is first
//! touched. One checksum over everything would mean reading a gigabyte of vectors before the first search, or trusting them.
//! CRC-32 finds every burst of up to 32 bits and every two flipped bits in a block of this length; it is no protection against
//! somebody who wants to deceive, so whoever interprets a payload still checks its bounds.
//!
//! The payload starts on a multiple of 64, so it can be read in place with any SIMD load.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use fs_err::File;
use memmap2::Mmap;

use crate::AnnError;

#[cfg(target_endian = "big")]
compile_error!("files are little-endian and mapped in place; a big-endian machine would need to copy them");

/// Version of the layout.
pub const SEALED_VERSION: u32 = 2;

const ALIGN: usize = 64;
const FOOTER: usize = 8 + blake3::OUT_LEN;
/// Long enough that checksums are a four-thousandth of the file, short enough that a jump to one row checks little besides it.
const BLOCK: usize = 1 << 14;

/// What the head of a sealed file says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which kind of file: eight ASCII letters.
    pub magic: [u8; 8],
    /// Components of a row; 1 where there are none.
    pub dim: usize,
    /// Rows.
    pub count: usize,
    /// What the payload is.
    pub label: String,
}

impl Head {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let small = |n: usize| u32::try_from(n).map_err(|_| io::Error::other(format!("{n} is beyond u32")));
        let mut bytes = Vec::with_capacity(2 * ALIGN);
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&SEALED_VERSION.to_le_bytes());
        bytes.extend_from_slice(&small(self.dim)?.to_le_bytes());
        bytes.extend_from_slice(&(self.count as u64).to_le_bytes());
        bytes.extend_from_slice(&small(self.label.len())?.to_le_bytes());
        bytes.extend_from_slice(&(BLOCK as u32).to_le_bytes());
        bytes.resize(ALIGN, 0);
        bytes.extend_from_slice(self.label.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        Ok(bytes)
    }
}

/// Writes a sealed file: create it, write the payload, finish it.
#[derive(Debug)]
pub struct SealedWriter<W: Write> {
    to: W,
    /// Of everything that is not payload.
    seal: blake3::Hasher,
    /// Of the block being written.
    sum: crc32fast::Hasher,
    sums: Vec<u8>,
    payload: usize,
}

impl<W: Write> SealedWriter<W> {
    /// Writes the head to `to`, which is at its start.
    ///
    /// # Errors
    /// Whatever `to` says.
    pub fn create(mut to: W, head: &Head) -> io::Result<Self> {
        let head = head.bytes()?;
        to.write_all(&head)?;
        let mut seal = blake3::Hasher::new();
        seal.update(&head);
        Ok(Self { to, seal, sum: crc32fast::Hasher::new(), sums: Vec::new(), payload: 0 })
    }

    /// Writes the checksums and gives back what was written to; the caller makes it durable.
    ///
    /// # Errors
    /// Whatever it says.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.payload.is_multiple_of(BLOCK) {
            self.end_block();
        }
        let mut rest = vec![0; self.payload.next_multiple_of(4) - self.payload];
        rest.append(&mut self.sums);
        rest.extend_from_slice(&(self.payload as u64).to_le_bytes());
        self.seal.update(&rest);
        self.to.write_all(&rest)?;
        self.to.write_all(self.seal.finalize().as_bytes())?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn end_block(&mut self) {
        let sum = std::mem::take(&mut self.sum);
        self.sums.extend_from_slice(&sum.finalize().to_le_bytes());
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        let mut rest = &bytes[..written];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK - self.payload % BLOCK));
            self.sum.update(now);
            self.payload += now.len();
            if self.payload.is_multiple_of(BLOCK) {
                self.end_block();
            }
            rest = later;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A sealed file, mapped.
#[derive(Debug)]
pub struct SealedFile {
    path: PathBuf,
    map: Mmap,
    head: Head,
    payload: Range<usize>,
    /// Where the block checksums are.
    sums: Range<usize>,
    /// One bit for each block that was found as it was written.
    sound: Box<[AtomicU64]>,
    /// The first block that was found otherwise; `usize::MAX` while none was.
    damaged: AtomicUsize,
}

impl SealedFile {
    /// Maps the file at `path` and verifies its seal: that head and block checksums are as they were written and fit its length.
    /// The file must not change while it is mapped.
    ///
    /// # Errors
    /// [`AnnError::Damaged`] for a truncated or changed file, [`AnnError::Version`] for one of another layout, [`AnnError::Io`].
    pub fn open(path: &Path, magic: &[u8; 8]) -> Result<Arc<Self>, AnnError> {
        let damaged = |reason: String| AnnError::Damaged { path: path.into(), reason };
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        if len < (ALIGN + FOOTER) as u64 {
            return Err(damaged(format!("it has {len} bytes, fewer than any such file")));
        }
        // SAFETY: these files are written once, before anyone opens them, and are only ever unlinked, never changed; that nobody
        // else truncates one in place is an assumption every memory-mapped file makes.
        let map = unsafe { Mmap::map(file.file()) }?;
        if !map.starts_with(magic) {
            let (found, wanted) = (map[..8].escape_ascii(), magic.escape_ascii());
            return Err(damaged(format!("it starts with '{found}', expected '{wanted}'")));
        }
        let u32_at = |at: usize| u32::from_le_bytes([map[at], map[at + 1], map[at + 2], map[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let version = u32_at(8);
        if version != SEALED_VERSION {
            return Err(AnnError::Version { path: path.into(), expected: SEALED_VERSION, received: version });
        }
        let footer = map.len() - FOOTER;
        // Every number below may be nonsense until the seal is verified, which needs them; so the arithmetic is checked.
        let ranges = || {
            let start = ALIGN.checked_add((u32_at(24) as usize).next_multiple_of(ALIGN))?;
            let end = start.checked_add(usize::try_from(u64_at(footer)).ok()?)?;
            let blocks = (end - start).div_ceil(BLOCK);
            let sums = end.checked_next_multiple_of(4)?;
            (sums.checked_add(4 * blocks)? == footer).then_some((start..end, sums..footer))
        };
        let (payload, sums) = ranges()
            .ok_or_else(|| damaged(format!("it has {} bytes, which is not what it says", map.len())))?;
        let mut seal = blake3::Hasher::new();
        seal.update(&map[..payload.start]).update(&map[payload.end..footer + 8]);
        if seal.finalize().as_bytes() != &map[footer + 8..] {
            return Err(damaged("its head or its list of checksums has changed".into()));
        }
        if u32_at(28) as usize != BLOCK {
            return Err(damaged(format!("its blocks have {} bytes, expected {BLOCK}", u32_at(28))));
        }
        let label = String::from_utf8_lossy(&map[ALIGN..ALIGN + u32_at(24) as usize]).into_owned();
        let head = Head { magic: *magic, dim: u32_at(12) as usize, count: u64_at(16) as usize, label };
        let words = payload.len().div_ceil(BLOCK).div_ceil(64);
        let sound = (0..words).map(|_| AtomicU64::new(0)).collect();
        let damaged = AtomicUsize::new(usize::MAX);
        Ok(Arc::new(Self { path: path.into(), map, head, payload, sums, sound, damaged }))
    }

    /// What the head says.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The payload. Whoever reads a part of it calls [`is_sound`](Self::is_sound) or [`verify`](Self::verify) for that part first.
    pub fn payload(&self) -> &[u8] {
        &self.map[self.payload.clone()]
    }

    /// The whole file as it is mapped: for those who ask what of it is in memory.
    pub fn mapped(&self) -> &[u8] {
        &self.map
    }

    /// Whether the blocks that `range` of the payload touches are as they were written. What was found once is not looked at
    /// again; a block that was found damaged is remembered, and [`check`](Self::check) says so from then on.
    #[inline]
    pub fn is_sound(&self, range: Range<usize>) -> bool {
        if range.is_empty() {
            return true;
        }
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        (first..=last).all(|block| {
            let known =
                self.sound.get(block / 64).is_some_and(|word| word.load(Relaxed) >> (block % 64) & 1 == 1);
            known || self.compare(block)
        })
    }

    #[cold]
    fn compare(&self, block: usize) -> bool {
        let payload = self.payload();
        let bytes = payload.get(block * BLOCK..payload.len().min((block + 1) * BLOCK));
        let written = self.map[self.sums.clone()].get(4 * block..4 * block + 4);
        let sound = match (bytes, written) {
            (Some(bytes), Some(written)) => crc32fast::hash(bytes).to_le_bytes() == written,
            _ => false,
        };
        if sound {
            self.sound[block / 64].fetch_or(1 << (block % 64), Relaxed);
        } else {
            self.damaged.fetch_min(block, Relaxed);
        }
        sound
    }

    /// Whether everything touched so far was as it was written.
    ///
    /// # Errors
    /// [`AnnError::Damaged`] names the first block that was not.
    pub fn check(&self) -> Result<(), AnnError> {
        match self.damaged.load(Relaxed) {
            usize::MAX => Ok(()),
            block => {
                let start = self.payload.start + block * BLOCK;
                let end = self.payload.end.min(start + BLOCK);
                let reason = format!("bytes {start} to {end} are not those that were written");
                Err(AnnError::Damaged { path: self.path.clone(), reason })
            }
        }
    }

    /// Reads the whole payload and verifies every block.
    ///
    /// # Errors
    /// [`AnnError::Damaged`].
    pub fn verify(&self) -> Result<(), AnnError> {
        self.is_sound(0..self.payload.len());
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head { magic: *b"PICTRtst", dim: 3, count: 7, label: "f16".into() }
    }

    fn bytes_of(payload: &[u8]) -> Vec<u8> {
        let mut writer = SealedWriter::create(Vec::new(), &head()).unwrap();
        // In pieces that do not divide a block.
        payload.chunks(1000).for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap()
    }

    fn reopened(path: &Path, bytes: &[u8]) -> Result<Arc<SealedFile>, AnnError> {
        fs_err::write(path, bytes).unwrap();
        SealedFile::open(path, b"PICTRtst")
    }

    #[test]
    fn holds_what_was_written_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealed");
        for len in [0, 1, 4, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let payload: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            let file = reopened(&path, &bytes_of(&payload)).unwrap();
            assert_eq!(file.head(), &head());
            file.verify().unwrap();
            assert_eq!(file.payload(), payload);
            assert!(file.payload().as_ptr().addr().is_multiple_of(ALIGN));
        }
    }

    #[test]
    fn every_truncation_and_every_changed_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealed");
        let intact = bytes_of(b"some payload");
        for len in 0..intact.len() {
            assert!(matches!(reopened(&path, &intact[..len]), Err(AnnError::Damaged { .. })), "length {len}");
        }
        for bit in 0..intact.len() * 8 {
            let mut flipped = intact.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A version we do not know may be right, so it is not called damage.
            let version = (8..12).contains(&(bit / 8));
            match reopened(&path, &flipped) {
                Err(AnnError::Version { .. }) => assert!(version, "bit {bit}"),
                Err(AnnError::Damaged { .. }) => assert!(!version, "bit {bit}"),
                Err(error) => panic!("bit {bit}: {error}"),
                // Opening does not read the payload; touching it does.
                Ok(file) => {
                    assert!((128..140).contains(&(bit / 8)), "bit {bit}");
                    file.check().unwrap();
                    assert!(!file.is_sound(3..4));
                    assert!(matches!(file.check(), Err(AnnError::Damaged { .. })));
                }
            }
        }
        let longer = [&intact[..], b"more"].concat();
        assert!(matches!(reopened(&path, &longer), Err(AnnError::Damaged { .. })));
        let other = SealedFile::open(&path, b"PICTRxyz").unwrap_err();
        assert!(other.to_string().contains("expected 'PICTRxyz'"), "{other}");
    }

    #[test]
    fn damage_is_found_where_it_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = bytes_of(&vec![7; 3 * BLOCK]);
        bytes[128 + BLOCK + 5] ^= 1;
        let file = reopened(&dir.path().join("sealed"), &bytes).unwrap();
        assert!(file.is_sound(0..BLOCK) && file.is_sound(2 * BLOCK..3 * BLOCK));
        file.check().unwrap();
        assert!(!file.is_sound(BLOCK - 1..BLOCK + 1));
        let said = file.check().unwrap_err().to_string();
        assert!(said.contains(&format!("bytes {} to {}", 128 + BLOCK, 128 + 2 * BLOCK)), "{said}");
        assert!(file.is_sound(0..10), "what is whole stays readable for a repair");
    }
}
