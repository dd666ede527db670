//! From arguments to the things a command works with.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use pictor_core::EncoderSpec;
use pictor_encoders::{
    DecodeOptions, DualEncoder, INT8_FINGERPRINT, ImageTextMatcher, ModelFolder, Notes, Precision,
    RuntimeChoice, RuntimeOptions,
};
use pictor_query::Engine;
use pictor_storage::{StorageError, Store};

use crate::args::{LayoutArgs, ModelArgs, PlacementArgs, RuntimeArgs};
use crate::output::Output;

/// FAISS and RocksDB are compiled for these (see `.cargo/config.toml`), so on an older CPU they would end the process with
/// SIGILL.
pub fn check_cpu() -> anyhow::Result<()> {
    #[cfg(target_arch = "x86_64")]
    if !(is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("pclmulqdq"))
    {
        bail!(
            "this CPU lacks AVX2, FMA or PCLMULQDQ, which this build of pictor needs; build it from source with the CXXFLAGS \
             line of .cargo/config.toml removed"
        );
    }
    Ok(())
}

/// Opens a model, which decodes images as `decode` says, and says what runs it.
pub fn encoder(args: &ModelArgs, decode: DecodeOptions, output: &Output) -> anyhow::Result<Arc<DualEncoder>> {
    encoder_named(&args.model, &args.runtime, decode, output)
}

/// As [`encoder`], of a model by name or folder.
pub fn encoder_named(
    model: &str,
    runtime: &RuntimeArgs,
    decode: DecodeOptions,
    output: &Output,
) -> anyhow::Result<Arc<DualEncoder>> {
    open_encoder(model, runtime.runtime, &runtime.placement, decode, output)
}

/// Opens a matcher by name or folder, which decodes images as `decode` says, and says what runs it.
pub fn matcher_named(
    model: &str,
    runtime: &RuntimeArgs,
    decode: DecodeOptions,
    output: &Output,
) -> anyhow::Result<Arc<ImageTextMatcher>> {
    let folder = ModelFolder::find(model)?;
    let options = runtime_options(runtime.runtime, &runtime.placement, output);
    let matcher = ImageTextMatcher::open(&folder, &options)?;
    output.note(format_args!("matcher {model} on {}", matcher.runtime()));
    Ok(Arc::new(matcher.with_decode(decode)))
}

fn open_encoder(
    model: &str,
    choice: RuntimeChoice,
    placement: &PlacementArgs,
    decode: DecodeOptions,
    output: &Output,
) -> anyhow::Result<Arc<DualEncoder>> {
    let folder = ModelFolder::find(model)?;
    let encoder = DualEncoder::open(&folder, &runtime_options(choice, placement, output))?;
    output.note(format_args!("model {model} ({}) on {}", encoder.precision(), encoder.runtime()));
    Ok(Arc::new(encoder.with_decode(decode)))
}

/// What the arguments ask of a runtime, whose remarks go where `output` puts notes.
pub fn runtime_options(choice: RuntimeChoice, placement: &PlacementArgs, output: &Output) -> RuntimeOptions {
    let output = *output;
    RuntimeOptions {
        choice,
        devices: placement.device.clone(),
        precision: placement.precision,
        threads: placement.threads,
        gpu_memory: placement.gpu_memory.map(|mib| mib as usize * 1024 * 1024),
        notes: Notes::to(move |remark| output.note(remark)),
    }
}

/// Images or texts for one call of the model: as asked, or what keeps its devices busy.
pub fn batch(asked: Option<u16>, encoder: &DualEncoder) -> usize {
    asked.map_or_else(|| encoder.images_at_once(), usize::from)
}

/// Opens an index with the model it was made with.
///
/// The model is read from the index, never guessed: `model` only says where to find it when it is a folder off the search path.
pub fn engine(
    index: &Path,
    model: Option<&str>,
    runtime: &RuntimeArgs,
    decode: DecodeOptions,
    output: &Output,
) -> anyhow::Result<(Engine, Arc<DualEncoder>)> {
    let store = Arc::new(Store::open(index)?);
    let recorded = store.spec().name.clone();
    let mut placement = runtime.placement.clone();
    // 8-bit vectors are compared with 8-bit ones: what made the index decides, unless the user insists.
    if placement.precision == Precision::Auto && store.spec().fingerprint.ends_with(INT8_FINGERPRINT) {
        placement.precision = Precision::Int8;
    }
    let open = |model: &str| open_encoder(model, runtime.runtime, &placement, decode, output);
    let encoder = match model {
        Some(named) => open(named)?,
        None => open(&recorded).with_context(|| {
            format!("this index was made with the model '{recorded}'; say where it is with --model DIR")
        })?,
    };
    Ok((Engine::new(encoder.clone(), store)?, encoder))
}

/// Says what `auto` makes of the index's largest segment, and why.
pub fn note_kind(store: &Store, output: &Output) -> anyhow::Result<()> {
    if let Some(choice) = store.snapshot()?.auto_choice() {
        output.note(format_args!("index kind auto chose {choice}"));
    }
    Ok(())
}

/// Opens the index in `dir`, or makes one whose vectors `spec` makes.
pub fn open_or_create(dir: &Path, layout: &LayoutArgs, spec: &EncoderSpec) -> anyhow::Result<Store> {
    let LayoutArgs { index_kind: kind, dtype } = layout;
    let store = match Store::open(dir) {
        // `create` has words of its own for a folder that holds something else.
        Err(StorageError::Missing { .. } | StorageError::NotAnIndex { .. }) => {
            return Ok(Store::create_with(
                dir,
                spec,
                kind.clone().unwrap_or_default(),
                dtype.unwrap_or_default(),
            )?);
        }
        opened => opened?,
    };
    store.check_encoder(spec)?;
    let (kept, stored) = (store.kind()?, store.dtype()?);
    if let Some(wanted) = dtype.filter(|wanted| *wanted != stored) {
        bail!(
            "{} was made with --dtype {stored}, not {wanted}; leave the flag out, or index into a new folder",
            dir.display()
        );
    }
    if let Some(wanted) = kind.as_ref().filter(|wanted| **wanted != kept) {
        bail!(
            "{} was made with --index-kind {kept}, not {wanted}; leave the flag out, or index into a new folder",
            dir.display()
        );
    }
    Ok(store)
}
