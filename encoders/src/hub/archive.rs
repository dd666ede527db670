//! A model as a `.tar` or `.tar.gz` at an address.
//!
//! An address says nothing of the content, so the part file is resumed only while the server's ETag stays the same, and the
//! bytes are checked against `#sha256=…` when the address ends so. What must stay true: nothing is written outside the folder
//! that is unpacked into.

use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::cache::lock;
use super::client::Client;
use super::digest::Checksum;
use super::download::Download;
use super::error::InstallError;
use super::progress::{AddProgress, Meter};
use super::settings::downloads;
use super::source::without_credentials;
use crate::install::space;

/// Downloads `url` and unpacks it into `folder`.
pub(super) fn fetch(
    client: &Client,
    url: &str,
    folder: &Path,
    progress: &dyn AddProgress,
) -> Result<(), InstallError> {
    let (address, fragment) = url.split_once('#').unwrap_or((url, ""));
    let checksum = match fragment.strip_prefix("sha256=") {
        Some(digits) => Some(sha256(digits, url)?),
        None => None,
    };
    let name = Path::new(address.split('?').next().unwrap_or(address))
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let downloads = downloads()?;
    fs_err::create_dir_all(&downloads)?;
    let blob = downloads.join(blake3::hash(address.as_bytes()).to_hex().as_str());
    let _lock = lock(&blob, &name)?;
    let (part, etag) = (blob.with_extension("part"), Some(blob.with_extension("etag")));
    let download = Download { client, url: address.into(), file: &name, size: None, checksum, part, etag };
    download.run(&Meter::new(progress, None))?;
    let unpacked = unpack(&download.part, folder, &without_credentials(url));
    // It came whole, so it is of no use for resuming, whatever is in it.
    for path in [Some(&download.part), download.etag.as_ref()].into_iter().flatten() {
        let _ = fs_err::remove_file(path);
    }
    unpacked
}

fn sha256(digits: &str, url: &str) -> Result<Checksum, InstallError> {
    Checksum::read(digits).filter(|checksum| matches!(checksum, Checksum::Sha256(_))).ok_or_else(|| {
        let reason =
            "'#sha256=' is followed by something else than 64 hexadecimal digits; correct it or leave it out"
                .into();
        InstallError::Setting { what: "the address", value: without_credentials(url), reason }
    })
}

/// Unpacks regular files and directories; anything else, and any path that leads elsewhere, is refused.
fn unpack(archive: &Path, folder: &Path, url: &str) -> Result<(), InstallError> {
    let wrong = |reason: String| InstallError::Archive { url: url.into(), reason };
    let broken = |error: io::Error| wrong(format!("it is not a sound archive: {error}; check the address"));
    let mut file = BufReader::new(fs_err::File::open(archive)?);
    let gzip = io::BufRead::fill_buf(&mut file)?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut archive = Archive::new(reader);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(wrong(format!(
                "'{}' leads outside the archive's folder; do not trust it",
                path.display()
            )));
        }
        let target = folder.join(&path);
        match entry.header().entry_type() {
            EntryType::Directory => fs_err::create_dir_all(&target)?,
            EntryType::Regular | EntryType::Continuous => {
                space::require(folder, entry.size(), "PICTOR_MODELS")?;
                if let Some(parent) = target.parent() {
                    fs_err::create_dir_all(parent)?;
                }
                let mut file = fs_err::File::create(&target)?;
                let written = io::copy(&mut entry, &mut file).map_err(broken)?;
                if written != entry.size() {
                    return Err(wrong(format!("it ends inside '{}'; check the address", path.display())));
                }
            }
            EntryType::XGlobalHeader | EntryType::XHeader => {}
            other => {
                let path = path.display();
                return Err(wrong(format!(
                    "'{path}' is neither file nor directory ({other:?}); pack plain files"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            // `set_path` refuses what is to be tested.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<(), String>) {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("a.tar"), bytes).unwrap();
        fs_err::create_dir(dir.path().join("in")).unwrap();
        let outcome = unpack(&dir.path().join("a.tar"), &dir.path().join("in"), "http://h/a.tar");
        (dir, outcome.map_err(|error| error.to_string()))
    }

    #[test]
    fn plain_files_arrive() {
        let (dir, outcome) = unpacked(&pack(&[
            ("m/", EntryType::Directory, b""),
            ("m/a.json", EntryType::Regular, b"{}"),
            ("m/deep/b", EntryType::Regular, &[7; 600]),
        ]));
        outcome.unwrap();
        assert_eq!(fs_err::read(dir.path().join("in/m/a.json")).unwrap(), b"{}");
        assert_eq!(fs_err::read(dir.path().join("in/m/deep/b")).unwrap(), [7; 600]);
    }

    #[test]
    fn nothing_leaves_the_folder() {
        for (name, kind) in [
            ("../evil", EntryType::Regular),
            ("m/../../evil", EntryType::Regular),
            ("/tmp/pictor-evil", EntryType::Regular),
            ("link", EntryType::Symlink),
            ("link", EntryType::Link),
            ("device", EntryType::Char),
        ] {
            let (dir, outcome) = unpacked(&pack(&[(name, kind, b"")]));
            let error = outcome.unwrap_err();
            assert!(error.contains("http://h/a.tar") && error.contains(name), "{error}");
            assert!(!dir.path().join("evil").exists() && !Path::new("/tmp/pictor-evil").exists());
        }
    }

    #[test]
    fn damage_is_an_error() {
        let whole = pack(&[("a", EntryType::Regular, &[1; 2000])]);
        for bytes in
            [&whole[..700], &whole[..100], b"\x1f\x8b\x08 not gzip at all", b"<html>not found</html>"]
        {
            let (_dir, outcome) = unpacked(bytes);
            assert!(outcome.is_err(), "{bytes:?}");
        }
    }
}
