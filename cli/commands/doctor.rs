//! `pictor doctor`.

use pictor_core::Encoder;
use pictor_encoders::RuntimeChoice;
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
    runtimes: Vec<RuntimeCheck>,
    model_search_path: Vec<String>,
    model: ModelCheck,
}

#[derive(Serialize)]
struct RuntimeCheck {
    runtime: &'static str,
    available: bool,
    detail: String,
}

#[derive(Serialize)]
struct ModelCheck {
    model: String,
    works: bool,
    detail: String,
}

pub fn run(args: DoctorArgs, output: &Output) -> anyhow::Result<Outcome> {
    let model = check_model(&args);
    let works = model.works;
    let checkup = Checkup {
        pictor: env!("CARGO_PKG_VERSION"),
        cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_features: cpu_features(),
        runtimes: [RuntimeChoice::OnnxRuntime, RuntimeChoice::Tract].map(check_runtime).into(),
        model_search_path: pictor_encoders::model_search_path()
            .iter()
            .map(|p| p.display().to_string())
            .collect(),
        model,
    };
    output.result(&checkup, describe)?;
    Ok(if works { Outcome::Done } else { Outcome::Failed })
}

fn check_runtime(choice: RuntimeChoice) -> RuntimeCheck {
    let runtime = if choice == RuntimeChoice::Tract { "tract" } else { "onnxruntime" };
    match pictor_encoders::runtime_info(choice) {
        Ok(info) => RuntimeCheck { runtime, available: true, detail: info.to_string() },
        Err(error) => {
            RuntimeCheck { runtime, available: false, detail: format!("{:#}", anyhow::Error::from(error)) }
        }
    }
}

/// Opens the model and encodes a text with it: the whole way, not only the files' presence.
fn check_model(args: &DoctorArgs) -> ModelCheck {
    let model = args.model.model.clone();
    let tried = wiring::encoder(&args.model, &Output::new(false, true)).and_then(|encoder| {
        encoder.warm_up(true, true)?;
        Ok(format!("{} on {}", encoder.spec(), encoder.runtime()))
    });
    match tried {
        Ok(detail) => ModelCheck { model, works: true, detail },
        Err(error) => ModelCheck { model, works: false, detail: format!("{error:#}") },
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}

fn describe(checkup: &Checkup) -> String {
    let mut text = format!("pictor {}\n", checkup.pictor);
    text += &format!("cpu        {} cores, {}\n", checkup.cpu_cores, checkup.cpu_features.join(" "));
    for runtime in &checkup.runtimes {
        let mark = if runtime.available { "ok" } else { "missing" };
        text += &format!("runtime    {} {mark}: {}\n", runtime.runtime, runtime.detail);
    }
    text += &format!("models     bundled, then {}\n", checkup.model_search_path.join(", "));
    let mark = if checkup.model.works { "ok" } else { "broken" };
    text += &format!("model      {} {mark}: {}\n", checkup.model.model, checkup.model.detail);
    text
}
