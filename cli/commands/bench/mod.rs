//! Speed on this machine: one file or folder per subcommand of `pictor bench`, each with `run(args, output)`.

pub mod ann;
pub mod encode;
pub mod matcher;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;

/// The first `images` files of the folder by name.
fn photographs(folder: &Path, images: u32) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs_err::read_dir(folder)?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.retain(|file| file.is_file());
    files.sort();
    files.truncate(images as usize);
    if files.is_empty() {
        bail!("no files in {}", folder.display());
    }
    Ok(files)
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}
