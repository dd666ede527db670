//! `pictor model verify`.

use pictor_encoders::{
    CosineCheck, ModelFolder, PIXEL_LIMIT, RuntimeCheck, RuntimeChoice, RuntimeOptions, Verification, Worst,
    runtime_info, verify_model,
};

use crate::args::ModelVerifyArgs;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// Most texts and files whose difference is spelt out.
const MOST_SHOWN: usize = 5;

pub fn run(args: &ModelVerifyArgs, output: &Output) -> anyhow::Result<Outcome> {
    let folder = ModelFolder::find(&args.name)?;
    let placement = &args.runtime.placement;
    let options = |choice| wiring::runtime_options(choice, placement, output);
    let runtimes: Vec<RuntimeOptions> = match args.runtime.runtime {
        RuntimeChoice::Auto => {
            // tract has no GPU, so it is left out when one is named.
            let mut choices = Vec::new();
            if runtime_info(&options(RuntimeChoice::Tract)).is_ok() {
                choices.push(RuntimeChoice::Tract);
            }
            match runtime_info(&options(RuntimeChoice::OnnxRuntime)) {
                Ok(_) => choices.insert(0, RuntimeChoice::OnnxRuntime),
                Err(error) if choices.is_empty() => return Err(error.into()),
                Err(error) => output.note(format_args!("onnxruntime is not verified: {error}")),
            }
            choices.into_iter().map(options).collect()
        }
        named => vec![options(named)],
    };
    let verification = verify_model(&folder, &runtimes)?;
    output.result(&verification, describe)?;
    Ok(if verification.passed { Outcome::Done } else { Outcome::Failed })
}

fn describe(v: &Verification) -> String {
    let mut text = format!("{}, fingerprint {}\n", v.model, v.fingerprint);
    text += &match &v.reference {
        Some(reference) => format!("reference   {reference}\n"),
        None => "reference   none: the folder carries no golden values, so its vectors are compared with nothing; \
                 export it with models/export to have them\n"
            .into(),
    };
    match &v.files {
        Some(check) if check.changed.is_empty() => {
            text += &format!("files       {} as installed\n", check.files);
        }
        Some(check) => {
            text += &format!(
                "files       {} of {} are not as installed  FAILED\n",
                check.changed.len(),
                check.files
            );
            text += &details(&check.changed);
            text += "            install it again with `pictor model add --force`\n";
        }
        None => text += "files       no checksums: `pictor model add` did not install this folder\n",
    }
    if let Some(check) = &v.pixels {
        let verdict = verdict(check.worst_difference <= PIXEL_LIMIT && check.failed.is_empty());
        let worst = format!("worst difference {} of 255", check.worst_difference);
        let on =
            if check.worst_difference > 0 { format!(" in {}", check.worst_image) } else { String::new() };
        text +=
            &format!("pixels      {} images, {worst}{on} (at most {PIXEL_LIMIT})  {verdict}\n", check.images);
        text += &details(&check.failed);
    }
    if let Some(check) = &v.token_ids {
        let verdict = verdict(check.mismatches.is_empty());
        let same = check.texts - check.mismatches.len();
        text += &format!("token ids   {same} of {} texts identical  {verdict}\n", check.texts);
        text += &details(&check.mismatches);
    }
    for runtime in &v.runtimes {
        text += &format!(
            "{} ({}, least cosine allowed {})\n",
            runtime.runtime, runtime.precision, runtime.cosine_floor
        );
        for (tower, check) in [("images", &runtime.images), ("texts", &runtime.texts)] {
            if let Some(check) = check {
                text += &cosines(tower, check, runtime.cosine_floor);
            }
        }
        text += &matches(runtime);
        for reason in &runtime.failed {
            text += &format!("  FAILED    {reason}\n");
        }
    }
    text + if v.passed { "verified\n" } else { "NOT VERIFIED\n" }
}

fn matches(runtime: &RuntimeCheck) -> String {
    runtime.matches.as_ref().map_or(String::new(), |check| {
        let verdict = verdict(check.holds());
        let order = match check.swapped {
            0 => "same order".to_owned(),
            swapped => format!("{swapped} in another order"),
        };
        format!(
            "  matcher   {} pairs: worst difference {:.1e} (at most {:.0e}), {:?}, {order}  {verdict}\n",
            check.pairs,
            check.worst_difference,
            check.limit,
            shorten(&check.worst_pair)
        )
    })
}

fn cosines(tower: &str, check: &CosineCheck, floor: f64) -> String {
    let line = |what: String, worst: &Worst| {
        let verdict = verdict(worst.cosine >= floor);
        format!(
            "  {tower:<9} {what}: worst cosine {:.7}, {:?}  {verdict}\n",
            worst.cosine,
            shorten(&worst.input)
        )
    };
    let count = check.inputs;
    let mut text = String::new();
    text += &check.alone.as_ref().map_or(String::new(), |worst| line(format!("{count} alone"), worst));
    text += &check.batch.as_ref().map_or(String::new(), |worst| line(format!("{count} in one batch"), worst));
    text + &line("batch against alone".into(), &check.batch_to_alone)
}

fn verdict(holds: bool) -> &'static str {
    if holds { "ok" } else { "FAILED" }
}

fn details(list: &[String]) -> String {
    let mut text: String = list.iter().take(MOST_SHOWN).map(|line| format!("            {line}\n")).collect();
    if list.len() > MOST_SHOWN {
        text += &format!("            and {} more (--json lists all)\n", list.len() - MOST_SHOWN);
    }
    text
}

fn shorten(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { short + "…" } else { short }
}
