//! Exit codes, all of them.

use std::process::ExitCode;

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: done.
    Done,
    /// 1: a search that found nothing.
    NothingFound,
    /// 1: an evaluation whose figures fell below the baseline it was held against.
    BelowBaseline,
    /// 2: wrong usage (clap's own code too) or an error.
    Failed,
    /// 3: done, but files were skipped and `--strict` was given.
    Skipped,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(match outcome {
            Outcome::Done => 0,
            Outcome::NothingFound | Outcome::BelowBaseline => 1,
            Outcome::Failed => 2,
            Outcome::Skipped => 3,
        })
    }
}
