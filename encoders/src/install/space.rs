//! Whether it will fit.

use std::path::Path;

use crate::hub::InstallError;

/// Fails when the file system of `directory` has less than `bytes` free; `variable` moves the directory elsewhere.
pub(crate) fn require(directory: &Path, bytes: u64, variable: &'static str) -> Result<(), InstallError> {
    match free(directory) {
        Some(free) if free < bytes => Err(InstallError::NoSpace {
            directory: directory.to_owned(),
            needed: people(bytes),
            free: people(free),
            variable,
        }),
        _ => Ok(()),
    }
}

/// Bytes that a user may still write below `directory`, or below what there is of the way to it.
fn free(directory: &Path) -> Option<u64> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists())?;
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    #[cfg(unix)]
    return rustix::fs::statvfs(there).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    #[cfg(not(unix))]
    return None;
}

fn people(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
