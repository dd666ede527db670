//! `pictor doctor`.

use std::path::PathBuf;

use pictor_core::Encoder;
use pictor_encoders::{DecodeOptions, Devices, RuntimeChoice, RuntimeOptions, runtime_info};
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// What this machine offers.
#[derive(Serialize)]
struct Checkup {
    pictor: &'static str,
    cpu_cores: usize,
    cpu_features: Vec<&'static str>,
    /// As asked for; 0 is one for each core.
    threads: usize,
    device: String,
    precision: String,
    runtimes: Vec<RuntimeCheck>,
    model_search_path: Vec<PathBuf>,
    model: ModelCheck,
}

/// A runtime with the device asked for; everything but the first three is absent when it is not available.
#[derive(Serialize)]
struct RuntimeCheck {
    runtime: String,
    available: bool,
    /// For people: what it is, or why it is not available.
    detail: String,
    version: Option<String>,
    library: Option<PathBuf>,
    devices: Vec<String>,
    /// Execution providers that the library has, and those that take part of the work.
    providers: Vec<&'static str>,
    active_providers: Vec<&'static str>,
}

#[derive(Serialize)]
struct ModelCheck {
    model: String,
    works: bool,
    /// Whether it can rerank.
    matcher: bool,
    detail: String,
}

pub fn run(args: DoctorArgs, output: &Output) -> anyhow::Result<Outcome> {
    let model = check_model(&args, output);
    let works = model.works;
    let placement = &args.model.runtime.placement;
    let check = |choice| {
        let mut options = wiring::runtime_options(choice, placement, output);
        if choice == RuntimeChoice::Tract {
            // It has one device, whatever the other is asked for.
            options.devices = Devices::Auto;
        }
        check_runtime(choice, &options)
    };
    let checkup = Checkup {
        pictor: env!("CARGO_PKG_VERSION"),
        cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_features: cpu_features(),
        threads: placement.threads,
        device: placement.device.to_string(),
        precision: placement.precision.to_string(),
        runtimes: [RuntimeChoice::OnnxRuntime, RuntimeChoice::Tract].map(check).into(),
        model_search_path: pictor_encoders::model_search_path(),
        model,
    };
    output.result(&checkup, describe)?;
    Ok(if works { Outcome::Done } else { Outcome::Failed })
}

fn check_runtime(choice: RuntimeChoice, options: &RuntimeOptions) -> RuntimeCheck {
    let runtime = choice.to_string();
    match runtime_info(options) {
        Ok(info) => RuntimeCheck {
            runtime,
            available: true,
            detail: info.to_string(),
            version: Some(info.version),
            library: info.library,
            devices: info.devices.iter().map(ToString::to_string).collect(),
            providers: info.providers,
            active_providers: info.active_providers,
        },
        Err(error) => RuntimeCheck {
            runtime,
            available: false,
            detail: format!("{:#}", anyhow::Error::from(error)),
            version: None,
            library: None,
            devices: Vec::new(),
            providers: Vec::new(),
            active_providers: Vec::new(),
        },
    }
}

/// Opens the model and encodes an image and a text with it: the whole way, not only the files' presence.
fn check_model(args: &DoctorArgs, output: &Output) -> ModelCheck {
    let model = args.model.model.clone();
    let silent = Output { quiet: true, ..*output };
    let tried = wiring::encoder(&args.model, DecodeOptions::default(), &silent).and_then(|encoder| {
        encoder.warm_up(1, 1)?;
        let matcher = encoder.manifest().matcher.is_some();
        let detail = format!("{}, {}, on {}", encoder.spec(), encoder.precision(), encoder.runtime());
        Ok((matcher, detail))
    });
    match tried {
        Ok((matcher, detail)) => ModelCheck { model, works: true, matcher, detail },
        Err(error) => ModelCheck { model, works: false, matcher: false, detail: format!("{error:#}") },
    }
}

/// What decides the speed of a model on this processor: vector width, and the 8-bit and 16-bit products.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
    ];
    // Rust does not tell of AMX yet, and Linux does.
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let amx = ["amx_tile", "amx_int8", "amx_bf16"];
    let amx = amx.into_iter().filter(|name| cpuinfo.split_whitespace().any(|flag| flag == *name));
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).chain(amx).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

fn describe(checkup: &Checkup) -> String {
    let mut text = format!("pictor {}\n", checkup.pictor);
    text += &format!("cpu        {} cores, {}\n", checkup.cpu_cores, checkup.cpu_features.join(" "));
    let threads = match checkup.threads {
        0 => "one a core".to_owned(),
        threads => threads.to_string(),
    };
    text += &format!(
        "asked      device {}, precision {}, threads {threads}\n",
        checkup.device, checkup.precision
    );
    for runtime in &checkup.runtimes {
        let mark = if runtime.available { "ok" } else { "missing" };
        text += &format!("runtime    {} {mark}: {}\n", runtime.runtime, runtime.detail);
        if !runtime.providers.is_empty() {
            let (has, active) = (runtime.providers.join(", "), runtime.active_providers.join(", "));
            text += &format!("           providers {has}; active {active}\n");
        }
    }
    let paths: Vec<_> = checkup.model_search_path.iter().map(|path| path.display().to_string()).collect();
    text += &format!("models     bundled, then {}\n", paths.join(", "));
    let mark = if checkup.model.works { "ok" } else { "broken" };
    text += &format!("model      {} {mark}: {}\n", checkup.model.model, checkup.model.detail);
    if checkup.model.works {
        let has = if checkup.model.matcher { "a matcher, for --rerank" } else { "no matcher" };
        text += &format!("           {has}\n");
    }
    text
}
