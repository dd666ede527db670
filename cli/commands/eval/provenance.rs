//! What made a report: the version, the command, the machine, the time.

use std::time::Instant;

use jiff::Timestamp;
use pictor_eval::{ModelSummary, Provenance};

/// The facts, and the wall time since `start`.
pub fn provenance(start: Instant) -> Provenance {
    Provenance {
        pictor: env!("CARGO_PKG_VERSION").into(),
        command: std::env::args().collect(),
        date: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        machine: machine(),
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// A model as reports name it.
pub fn model(encoder: &pictor_encoders::DualEncoder) -> ModelSummary {
    use pictor_core::Encoder;
    let spec = encoder.spec();
    ModelSummary {
        name: spec.name.clone(),
        fingerprint: spec.fingerprint.clone(),
        dim: spec.dim,
        precision: encoder.precision().to_string(),
        runtime: encoder.runtime().to_string(),
    }
}

/// The processor's name, where the system tells it, and the threads there are.
fn machine() -> String {
    let cpu = fs_err::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {threads} threads", cpu.unwrap_or_else(|| std::env::consts::ARCH.into()))
}
