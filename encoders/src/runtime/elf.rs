//! Whether a shared library is all there.
//!
//! `dlopen` maps a file and trusts its headers: of a library whose download stopped half way it touches pages past the end,
//! and the process dies of SIGBUS with no error to report. So the lengths that the headers promise are compared with the file
//! first (System V ABI, chapter 4, "ELF header" and chapter 5, "Program header").

use std::io::Read;
use std::path::Path;

/// Fails unless the file holds every byte that its program and section headers point at. Files other than 64-bit
/// little-endian ELF pass when they are not ELF at all (`dlopen` refuses those in words).
pub(super) fn check_length(path: &Path) -> Result<(), String> {
    let mut file = fs_err::File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut header = [0; 64];
    if file.read_exact(&mut header).is_err() {
        return Err(format!("{length} bytes are too few for a library"));
    }
    let is_64_bit_little_endian = header.starts_with(b"\x7fELF\x02\x01");
    if !is_64_bit_little_endian {
        return Ok(());
    }
    let u16_at = |bytes: &[u8], at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let u64_at =
        |bytes: &[u8], at: usize| bytes[at..at + 8].iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
    let (programs_at, program_size, programs) =
        (u64_at(&header, 32), u16_at(&header, 54), u16_at(&header, 56));
    let (sections_at, section_size, sections) =
        (u64_at(&header, 40), u16_at(&header, 58), u16_at(&header, 60));
    let mut end = programs_at
        .saturating_add(program_size * programs)
        .max(sections_at.saturating_add(section_size * sections));
    if end <= length && program_size >= 56 {
        let mut table = vec![0; (program_size * programs) as usize];
        let read = read_at(&mut file, programs_at, &mut table);
        read.map_err(|error| error.to_string())?;
        for program in table.chunks_exact(program_size as usize) {
            end = end.max(u64_at(program, 8).saturating_add(u64_at(program, 32)));
        }
    }
    if end > length {
        return Err(format!("the file ends after {length} bytes of {end}; it was only partly copied"));
    }
    Ok(())
}

fn read_at(file: &mut fs_err::File, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}
