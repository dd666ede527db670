//! The two checksums that a hub states: SHA-256 of a large file, and git's object id of a small one.

use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// What a file's content should come to, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// SHA-256 of the content: files in large file storage.
    Sha256(String),
    /// SHA-1 of `blob `, the length, a zero byte and the content: files in git itself
    /// (<https://git-scm.com/book/en/v2/Git-Internals-Git-Objects>).
    Git(String),
}

impl Checksum {
    /// From an ETag or the hub's JSON: 64 hexadecimal digits are a SHA-256, 40 a git object id, anything else is neither.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.len() {
            64 if hexadecimal => Some(Self::Sha256(text)),
            40 if hexadecimal => Some(Self::Git(text)),
            _ => None,
        }
    }

    /// The hexadecimal digits, which also name the file in the hub's cache.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::Git(digits) => digits,
        }
    }

    /// Its name, for messages.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "git SHA-1",
        }
    }

    /// The same kind of checksum of a file.
    pub fn of_file(&self, path: &Path) -> io::Result<Self> {
        match self {
            Self::Sha256(_) => sha256_of_file(path).map(Self::Sha256),
            Self::Git(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {}\0", fs_err::metadata(path)?.len()).as_bytes());
                digest(path, context).map(Self::Git)
            }
        }
    }
}

/// SHA-256 of a file in lower-case hexadecimal, in constant memory.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<String> {
    digest(path, Context::new(&SHA256))
}

fn digest(path: &Path, mut context: Context) -> io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&context.finish())),
            read => context.update(&buffer[..read]),
        }
    }
}

fn hexadecimal(digest: &Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_sha256sum_and_git() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        fs_err::write(&path, "hello\n").unwrap();
        // printf 'hello\n' | sha256sum; printf 'hello\n' | git hash-object --stdin
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        for stated in [sha256, git] {
            let stated = Checksum::read(&format!("\"{stated}\"")).unwrap();
            assert_eq!(stated.of_file(&path).unwrap(), stated);
        }
        assert_eq!(sha256_of_file(&path).unwrap(), sha256);
        assert_eq!(Checksum::read("\"5d41402abc4b2a76b9719d911017c592\""), None);
    }
}
