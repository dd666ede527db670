//! Progress on standard error: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pictor_encoders::{AddProgress, AddState};
use pictor_indexer::{Progress, ProgressState};

use crate::output::Output;

/// A bar over `total` items named `what`, with rate and time left; hidden when the output draws no progress.
pub fn bar(total: Option<u64>, what: &str, output: &Output) -> ProgressBar {
    let target =
        if output.draws_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(total, target);
    let template =
        format!("{{bar:28}} {{human_pos}}/{{human_len}} {what}  {{per_sec}}  {{eta}} left  {{msg}}");
    // The template is a constant but for `what`, which holds no braces.
    bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A spinner with a message and the time taken, for work whose length nobody knows; hidden as a bar is.
pub fn spinner(message: &'static str, output: &Output) -> ProgressBar {
    let spinner = bar(None, "", output);
    spinner.set_style(
        ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    spinner.set_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Draws what the indexer tells.
pub struct IndexBar(ProgressBar);

impl IndexBar {
    /// A bar for `pictor index`.
    pub fn new(output: &Output) -> Self {
        Self(bar(None, "images", output))
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for IndexBar {
    fn update(&self, state: &ProgressState) {
        if let Some(found) = state.found {
            self.0.set_length(found);
        }
        self.0.set_position(state.done);
        let mut message = match (state.committing, state.slowest()) {
            (true, _) => "committing".to_owned(),
            (false, Some(stage)) => format!("slowest stage: {stage}"),
            (false, None) => String::new(),
        };
        if state.skipped > 0 {
            message += &format!(", {} skipped", state.skipped);
        }
        self.0.set_message(message);
    }
}

/// Draws how far the installation of a model is.
pub struct AddBar(ProgressBar);

impl AddBar {
    /// A bar for `pictor model add`, in bytes.
    pub fn new(output: &Output) -> Self {
        let bar = bar(None, "", output);
        let template =
            "{bar:28} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left  {msg}";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl AddProgress for AddBar {
    fn update(&self, state: &AddState<'_>) {
        if self.0.length() != state.total {
            match state.total {
                Some(total) => self.0.set_length(total),
                None => self.0.unset_length(),
            }
        }
        self.0.set_position(state.done);
        if self.0.message() != state.file {
            self.0.set_message(state.file.to_owned());
        }
    }
}
