//! How an index opens, and what it keeps in memory: measured in a process of its own, because in this one the allocator holds
//! what building left behind and the pages of every file are mapped already.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use pictor_ann::{IndexKind, SearchOptions};
use serde::{Deserialize, Serialize};

use super::matrix;
use super::scratch::Scratch;
use crate::args::BenchAnnArgs;

/// How an index opened.
#[derive(Serialize, Deserialize)]
pub struct Opened {
    /// Until the index could be searched, and until the first search had its result, both from the start.
    pub open_ms: f64,
    pub first_result_ms: f64,
    pub memory_opened: Memory,
    /// After every query was searched once.
    pub memory_searched: Memory,
}

/// Resident memory of vectors and index together, less what the process had before them.
#[derive(Serialize, Deserialize)]
pub struct Memory {
    /// The process's own.
    pub anonymous_bytes: u64,
    /// Pages of mapped files: the system takes them back when somebody needs the memory.
    pub file_bytes: u64,
}

impl Memory {
    /// Of this process, now (proc_pid_status(5)).
    fn now() -> anyhow::Result<Self> {
        let status = fs_err::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            kib.map(|kib| kib << 10).with_context(|| format!("/proc/self/status has no {name}"))
        };
        Ok(Self { anonymous_bytes: field("RssAnon")?, file_bytes: field("RssFile")? })
    }

    fn since(&self) -> anyhow::Result<Self> {
        let now = Self::now()?;
        Ok(Self {
            anonymous_bytes: now.anonymous_bytes.saturating_sub(self.anonymous_bytes),
            file_bytes: now.file_bytes.saturating_sub(self.file_bytes),
        })
    }
}

/// Opens the vectors and the index of `scratch` in a process of its own; with `cold` they are first dropped from the page cache,
/// which takes that no process has them mapped.
pub fn in_a_fresh_process(
    args: &BenchAnnArgs,
    kind: &IndexKind,
    scratch: &Scratch,
    cold: bool,
) -> anyhow::Result<Opened> {
    if cold {
        drop_from_cache(&scratch.vectors())?;
        if scratch.index().try_exists()? {
            drop_from_cache(&scratch.index())?;
        }
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "ann", "--json", "--quiet", "--kinds", &kind.to_string(), "--base"]);
    command.arg(&args.base).arg("--queries").arg(&args.queries);
    command.args(["--queries-limit", &args.queries_limit.to_string(), "--open-only"]).arg(scratch.folder());
    let done = command.output().context("failed to start a second pictor")?;
    let stderr = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "opening {kind} in a process of its own failed: {}", stderr.trim());
    serde_json::from_slice(&done.stdout).context("failed to read what the second pictor printed")
}

/// What that process does.
pub fn measure(args: &BenchAnnArgs, folder: &Path) -> anyhow::Result<Opened> {
    let [kind] = args.kinds.as_slice() else { bail!("--open-only measures one kind at a time") };
    let scratch = Scratch::existing(folder);
    let queries = matrix::queries(&args.queries, args.queries_limit as usize)?;
    let before = Memory::now()?;
    let start = Instant::now();
    let index = pictor_ann::open(kind, matrix::mapped(&scratch.vectors())?, &scratch.index())?;
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let memory_opened = before.since()?;
    let mut first_result_ms = None;
    for query in &queries {
        index.search(query, 10, &SearchOptions::default())?;
        first_result_ms.get_or_insert_with(|| start.elapsed().as_secs_f64() * 1e3);
    }
    let first_result_ms = first_result_ms.context("there are no queries")?;
    Ok(Opened { open_ms, first_result_ms, memory_opened, memory_searched: before.since()? })
}

/// Makes the next read of a file come from the disk: writes out what is not there yet, then gives up its cached pages.
fn drop_from_cache(path: &Path) -> anyhow::Result<()> {
    let file = fs_err::File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(file.file(), 0, None, rustix::fs::Advice::DontNeed)
        .with_context(|| format!("failed to drop {} from the page cache", path.display()))
}
