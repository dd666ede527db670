//! What of an index is in memory, as the system tells it: `/proc/self`, which only Linux has.
//!
//! Files of a segment are mapped, so their bytes are in memory once they were touched and may leave it again whenever something
//! else needs the room. That part is counted apart from what the process holds for itself.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;

/// Memory of this process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All that is in memory now: the sum of the two below, and of shared memory.
    pub resident: u64,
    /// What the process holds for itself; it can only go to swap.
    pub anonymous: u64,
    /// Pages of mapped files, the program's own among them; the system takes them back when it needs the room.
    pub mapped_files: u64,
}

/// The memory of this process; `None` where there is no `/proc`.
pub(crate) fn of_process() -> io::Result<Option<Memory>> {
    let Some(status) = read("/proc/self/status")? else { return Ok(None) };
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        kib(line)
    };
    Ok(bytes("VmRSS").map(|resident| Memory {
        resident,
        anonymous: bytes("RssAnon").unwrap_or(0),
        mapped_files: bytes("RssFile").unwrap_or(0),
    }))
}

/// Bytes in memory of the files below `dir` that this process has mapped, by their path from there; `None` where there is no
/// `/proc`.
pub(crate) fn resident_below(dir: &Path) -> io::Result<Option<BTreeMap<String, u64>>> {
    let Some(maps) = read("/proc/self/smaps")? else { return Ok(None) };
    let dir = fs_err::canonicalize(dir)?;
    let mut by_file = BTreeMap::new();
    let mut file: Option<String> = None;
    for line in maps.lines() {
        match line.split_once(':') {
            Some(("Rss", size)) => {
                if let (Some(file), Some(bytes)) = (&file, kib(size)) {
                    *by_file.entry(file.clone()).or_insert(0) += bytes;
                }
            }
            // `7f00-7f01 r--s 00000000 fe:00 1234   /path`: the only lines with an address before the colon.
            Some((head, _)) if head.contains(' ') => {
                let path = line.find('/').map(|at| Path::new(&line[at..]));
                let below = path.and_then(|path| path.strip_prefix(&dir).ok());
                file = below.map(|path| path.to_string_lossy().into_owned());
            }
            _ => {}
        }
    }
    Ok(Some(by_file))
}

fn read(path: &str) -> io::Result<Option<String>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `  1234 kB` in bytes.
fn kib(text: &str) -> Option<u64> {
    Some(text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_mapped_file_once_it_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("file"), vec![1u8; 1 << 20]).unwrap();
        let file = fs_err::File::open(dir.path().join("file")).unwrap();
        // SAFETY: nobody else knows this file.
        let map = unsafe { memmap2::Mmap::map(file.file()) }.unwrap();
        assert_eq!(map.iter().map(|&byte| usize::from(byte)).sum::<usize>(), 1 << 20);
        // Nothing to see where there is no /proc.
        let Some(resident) = resident_below(dir.path()).unwrap() else { return };
        assert_eq!(resident.get("file"), Some(&(1 << 20)));
        let memory = of_process().unwrap().unwrap();
        assert!(memory.mapped_files >= 1 << 20 && memory.resident >= memory.anonymous);
    }
}
