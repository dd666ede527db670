//! Speed on this machine: one file or folder per subcommand of `pictor bench`, each with `run(args, output)`.

pub mod ann;
pub mod encode;
pub mod matcher;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use pictor_encoders::{ModelError, ModelFolder, RuntimeChoice, RuntimeOptions};

use crate::args::BenchRuntimeArgs;
use crate::output::Output;
use crate::wiring;

/// What was measured on each runtime.
struct Measured<T> {
    runtimes: Vec<T>,
    /// Runtimes that are not here, with the reason.
    not_measured: Vec<String>,
}

/// Opens `model` on each runtime that was asked for, or on every one that is here, and measures it there.
fn on_runtimes<M, T>(
    model: &str,
    on: &BenchRuntimeArgs,
    output: &Output,
    open: impl Fn(&ModelFolder, &RuntimeOptions) -> Result<M, ModelError>,
    measure: impl Fn(M) -> anyhow::Result<T>,
) -> anyhow::Result<Measured<T>> {
    let asked = match on.runtimes.as_slice() {
        [] => &[RuntimeChoice::OnnxRuntime, RuntimeChoice::Tract],
        named => named,
    };
    let folder = ModelFolder::find(model)?;
    let mut measured = Measured { runtimes: Vec::new(), not_measured: Vec::new() };
    for choice in asked {
        match open(&folder, &wiring::runtime_options(*choice, &on.placement, output)) {
            Ok(model) => measured.runtimes.push(measure(model)?),
            // By default what is not here is left out; what was named has to be here.
            Err(error @ (ModelError::NoOnnxRuntime { .. } | ModelError::TractDevice { .. }))
                if on.runtimes.is_empty() =>
            {
                measured.not_measured.push(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(measured)
}

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
