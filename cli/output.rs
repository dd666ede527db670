//! Where words go: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// How a command speaks.
#[derive(Clone, Copy)]
pub struct Output {
    /// `--json`: one document on standard output.
    pub json: bool,
    /// `--quiet`: no notes, no progress bar.
    pub quiet: bool,
}

impl Output {
    /// From the two global flags.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    pub fn result<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut stdout, value)?;
            writeln!(stdout)?;
        } else {
            stdout.write_all(text(value).as_bytes())?;
        }
        stdout.flush()?;
        Ok(())
    }

    /// A remark for people, on standard error.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            // Who reads standard error may be gone, as under `2>&1 | head`.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// An error with its causes, on standard error; with `--json` also as `{"error": …}` on standard output.
    pub fn error(&self, error: &anyhow::Error) {
        // `{:#}` joins the chain of causes with ": ".
        let text = format!("{error:#}");
        let _ = writeln!(io::stderr(), "pictor: {text}");
        if self.json {
            let _ = writeln!(io::stdout(), "{}", serde_json::json!({ "error": text }));
        }
    }

    /// Whether to draw a progress bar.
    pub fn draws_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }
}

/// Whether the reader of our output went away, as `head` does: no error of ours.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|e| e.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    })
}

/// `12_345_678` bytes as `12.3 MB`.
pub fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}

/// `1234567` as `1,234,567`.
pub fn count(n: impl TryInto<u64>) -> String {
    indicatif::HumanCount(n.try_into().unwrap_or(u64::MAX)).to_string()
}
