//! What the headers of a shared library say, without loading it.
//!
//! `dlopen` maps a file and trusts its headers: of a library whose download stopped half way it touches pages past the end,
//! and the process dies of SIGBUS with no error to report. So the lengths that the headers promise are compared with the file
//! first. And a library that lacks another one fails to load with a message that names the first missing one only, if the
//! caller sees it at all; so what a library needs can be asked for too.
//!
//! Source: System V ABI, chapter 4, "ELF header", and chapter 5, "Program header" and "Dynamic section"; 64-bit, little-endian.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Segment types: to be mapped, and the dynamic section.
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
/// Tags of the dynamic section: a library needed, and where the strings are.
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;

/// A program header: which bytes of the file go where in memory.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    length: u64,
}

/// Fails unless the file holds every byte that its program and section headers point at. Files other than 64-bit
/// little-endian ELF pass when they are not ELF at all (`dlopen` refuses those in words).
pub(super) fn check_length(path: &Path) -> Result<(), String> {
    let mut file = open(path)?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let Some(header) = header(&mut file, length)? else { return Ok(()) };
    let mut end = header.tables_end();
    if end <= length {
        let segments = header.segments(&mut file)?;
        end =
            segments.iter().fold(end, |end, segment| end.max(segment.offset.saturating_add(segment.length)));
    }
    if end > length {
        return Err(format!("the file ends after {length} bytes of {end}; it was only partly copied"));
    }
    Ok(())
}

/// Names of the libraries that this one is linked against, such as `libcudart.so.13`; empty for what is not 64-bit ELF.
pub(super) fn needed(path: &Path) -> Result<Vec<String>, String> {
    check_length(path)?;
    let mut file = open(path)?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let Some(header) = header(&mut file, length)? else { return Ok(Vec::new()) };
    let segments = header.segments(&mut file)?;
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
        return Ok(Vec::new());
    };
    let table = read(&mut file, dynamic.offset, dynamic.length.min(length) as usize)?;
    let entries: Vec<(u64, u64)> =
        table.chunks_exact(16).map(|entry| (u64_at(entry, 0), u64_at(entry, 8))).collect();
    let strings = entries.iter().find(|(tag, _)| *tag == DT_STRTAB).map_or(0, |(_, address)| *address);
    let mapped = segments.iter().find(|segment| {
        segment.kind == PT_LOAD
            && (segment.address..segment.address.saturating_add(segment.length)).contains(&strings)
    });
    let Some(mapped) = mapped else { return Ok(Vec::new()) };
    let strings = mapped.offset.saturating_add(strings - mapped.address);
    let names = entries.iter().filter(|(tag, _)| *tag == DT_NEEDED).map(|(_, at)| {
        let at = strings.saturating_add(*at);
        // No library's name is longer than a file's may be.
        let bytes = read(&mut file, at, length.saturating_sub(at).min(256) as usize)?;
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    });
    names.collect()
}

/// Where the tables of headers are: offset, length of an entry, entries.
struct Header {
    programs: [u64; 3],
    sections: [u64; 3],
}

impl Header {
    fn tables_end(&self) -> u64 {
        let end = |[at, size, count]: [u64; 3]| at.saturating_add(size * count);
        end(self.programs).max(end(self.sections))
    }

    fn segments(&self, file: &mut fs_err::File) -> Result<Vec<Segment>, String> {
        let [at, size, count] = self.programs;
        if size < 56 {
            return Ok(Vec::new());
        }
        let table = read(file, at, (size * count) as usize)?;
        let segment = |entry: &[u8]| Segment {
            kind: u64_at(entry, 0) as u32,
            offset: u64_at(entry, 8),
            address: u64_at(entry, 16),
            length: u64_at(entry, 32),
        };
        Ok(table.chunks_exact(size as usize).map(segment).collect())
    }
}

fn header(file: &mut fs_err::File, length: u64) -> Result<Option<Header>, String> {
    if length < 64 {
        return Err(format!("{length} bytes are too few for a library"));
    }
    let bytes = read(file, 0, 64)?;
    let is_64_bit_little_endian = bytes.starts_with(b"\x7fELF\x02\x01");
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    Ok(is_64_bit_little_endian.then(|| Header {
        programs: [u64_at(&bytes, 32), u16_at(54), u16_at(56)],
        sections: [u64_at(&bytes, 40), u16_at(58), u16_at(60)],
    }))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

fn open(path: &Path) -> Result<fs_err::File, String> {
    fs_err::File::open(path).map_err(|error| error.to_string())
}

fn read(file: &mut fs_err::File, offset: u64, length: usize) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; length];
    let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut buffer));
    read.map_err(|error| error.to_string())?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_names_what_it_needs() {
        if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
            return;
        }
        // This test is an executable that needs the C library, and executables are laid out as libraries are.
        let own = std::env::current_exe().unwrap();
        let needed = needed(&own).unwrap();
        assert!(needed.iter().any(|name| name.starts_with("libc.so")), "{needed:?}");
        assert!(needed.iter().all(|name| name.contains(".so")), "{needed:?}");
    }

    #[test]
    fn what_is_no_library_is_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libx.so");
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut wild = own[..4096].to_vec();
        // Every header points as far away as it can.
        wild[32..48].fill(0xff);
        for content in [&b"text"[..], &own[..own.len() / 2], &wild, &[0; 200]] {
            std::fs::write(&path, content).unwrap();
            let _ = (check_length(&path), needed(&path));
        }
        assert!(needed(dir.path().join("absent").as_path()).is_err());
    }
}
