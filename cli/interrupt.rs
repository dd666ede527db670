//! Ctrl-C during a long job.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::output::Output;

/// A flag that the first Ctrl-C sets, upon which a job commits what is done; the second ends the process at once, as people
/// expect.
pub fn cancel(output: &Output) -> anyhow::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = cancel.clone();
    let quiet = output.quiet;
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        if !quiet {
            let _ = writeln!(
                std::io::stderr(),
                "stopping: committing what is done (again to quit at once; the last commit stays)"
            );
        }
    })
    .context("failed to listen for Ctrl-C")?;
    Ok(cancel)
}
