//! What a `.tar` file holds, and where: names, offsets and lengths of its files, without their bytes.
//!
//! What must stay true: a damaged or cut archive is an error, never a shorter dataset. An archive ends with blocks of zeros, so
//! one that was cut even between two members is noticed.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use tar::{Archive, EntryType};

use crate::EvalError;

/// Size of a block: headers are one, contents are padded to it (POSIX.1-1988, ustar).
const BLOCK: usize = 512;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path in the archive.
    pub(super) name: String,
    /// Where its bytes start.
    pub(super) offset: u64,
    /// How many there are.
    pub(super) length: u64,
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// An archive.
    Tar,
    /// Something compressed, maybe an archive.
    Gzip,
    /// Neither.
    Other,
}

/// Tells an archive by the checksum of its first header, which every kind of tar has.
pub(super) fn content(path: &Path) -> io::Result<Content> {
    let mut start = Vec::with_capacity(BLOCK);
    fs_err::File::open(path)?.take(BLOCK as u64).read_to_end(&mut start)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Content::Gzip);
    }
    if start.len() < BLOCK {
        return Ok(Content::Other);
    }
    let sum: u32 =
        (0..).zip(&start).map(|(at, &b)| u32::from(if (148..156).contains(&at) { b' ' } else { b })).sum();
    let is_tar = tar::Header::from_byte_slice(&start).cksum().is_ok_and(|stated| stated == sum);
    Ok(if is_tar { Content::Tar } else { Content::Other })
}

/// The plain files of an archive, in its order.
///
/// # Errors
/// [`EvalError::Format`] when it is damaged, cut short, or holds links or sparse files.
pub(super) fn members(path: &Path) -> Result<Vec<Member>, EvalError> {
    let wrong = |reason: String| EvalError::Format { path: path.into(), reason };
    let damaged = |error: io::Error| wrong(format!("it is no sound tar archive ({error}); fetch it again"));
    let mut file = fs_err::File::open(path)?;
    let file_length = file.metadata()?.len();
    let mut archive = Archive::new(&mut file);
    let mut members = Vec::new();
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = match std::str::from_utf8(&entry.path_bytes()) {
            Ok(name) => name.trim_start_matches("./").to_owned(),
            Err(_) => {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                return Err(wrong(format!("the name '{name}' in it is no UTF-8; pack it with UTF-8 names")));
            }
        };
        let (offset, length) = (entry.raw_file_position(), entry.size());
        let stops = offset.checked_add(length).filter(|&stops| stops <= file_length);
        let Some(stops) = stops else {
            return Err(wrong(format!("it ends inside '{name}'; it was cut short, fetch it again")));
        };
        end = stops.next_multiple_of(BLOCK as u64);
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => members.push(Member { name, offset, length }),
            EntryType::Directory | EntryType::XGlobalHeader => {}
            other => {
                return Err(wrong(format!(
                    "'{name}' in it is no plain file ({other:?}); pack the files themselves"
                )));
            }
        }
    }
    let mut mark = Vec::with_capacity(BLOCK);
    file.seek(SeekFrom::Start(end)).map_err(damaged)?;
    file.take(BLOCK as u64).read_to_end(&mut mark).map_err(damaged)?;
    if mark.len() < BLOCK || mark.iter().any(|&byte| byte != 0) {
        return Err(wrong(
            "it lacks the zeros that end a tar archive; it was cut short, fetch it again".into(),
        ));
    }
    Ok(members)
}
