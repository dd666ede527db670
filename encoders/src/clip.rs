//! A CLIP-style dual encoder: two towers into one space, where the inner product of a text and an image says how well they
//! go together (Radford et al. 2021). SigLIP and its kin have the same shape, and so has the bundled model.
//!
//! Loading is lazy, tower by tower, because a text query on the command line should not wait for the image tower. The
//! manifest and the fingerprint are checked at open.
//!
//! What must stay true: an answer's row `i` depends on input `i` alone, on either runtime (`tests/encode.rs`).

use std::sync::{Mutex, OnceLock, PoisonError};

use pictor_core::{
    DecodeError, EmbeddingBatch, EncodeError, Encoder, EncoderSpec, PreparedImage, RasterSize,
};

use crate::decode::DecodeOptions;
use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::manifest::{ModelManifest, Padding};
use crate::runtime::{
    Engine, Graph, Input, InputKind, Numbers, Runtime, RuntimeInfo, RuntimeOptions, Tensor,
};
use crate::tokenize::{Ids, TextTokenizer};

/// Most images, and most texts, that a runtime gets at once: enough to keep it busy, and a bound on memory whatever the
/// batch a caller has (32 images of 224 × 224 are 19 MB, and as much again inside the runtime).
const MOST_IMAGES: usize = 32;
const MOST_TEXTS: usize = 64;

/// A model folder opened on a runtime.
pub struct DualEncoder {
    folder: ModelFolder,
    manifest: ModelManifest,
    spec: EncoderSpec,
    engine: Engine,
    decode: DecodeOptions,
    image: Lazy<Box<dyn Runtime>>,
    text: Lazy<TextTowerLoaded>,
}

struct TextTowerLoaded {
    runtime: Box<dyn Runtime>,
    tokenizer: TextTokenizer,
}

impl DualEncoder {
    /// Opens a model: reads its manifest, checks its fingerprint, starts the runtime. Towers load on first use.
    ///
    /// # Errors
    /// [`ModelError`]: a file is missing or not what the fingerprint says, or the runtime is not there.
    pub fn open(folder: &ModelFolder, options: &RuntimeOptions) -> Result<Self, ModelError> {
        let manifest = folder.manifest()?;
        let engine = Engine::start(options)?;
        let spec = manifest.spec();
        let decode = DecodeOptions::default();
        Ok(Self {
            folder: folder.clone(),
            manifest,
            spec,
            engine,
            decode,
            image: Lazy::new(),
            text: Lazy::new(),
        })
    }

    /// The same encoder, which decodes images as `options` say.
    #[must_use]
    pub fn with_decode(mut self, options: DecodeOptions) -> Self {
        self.decode = options;
        self
    }

    /// The runtime that was chosen, to be shown.
    pub fn runtime(&self) -> &RuntimeInfo {
        self.engine.info()
    }

    /// What the model's folder says of it.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// Loads the towers named and runs each once, so that the first real input is as fast as the others.
    ///
    /// # Errors
    /// [`ModelError`] when a tower does not load or does not run.
    pub fn warm_up(&self, image: bool, text: bool) -> Result<(), ModelError> {
        let failed = |file: &str, error: EncodeError| ModelError::Graph {
            runtime: self.engine.info().name,
            path: self.folder.path(file),
            reason: error.to_string(),
        };
        if image {
            self.image_tower()?;
            let size = self.manifest.image.preprocess.size();
            let pixels = vec![0.0; 3 * size.width as usize * size.height as usize];
            let blank = PreparedImage { pixels, size, original: size, spent: Default::default() };
            self.encode_images(&[blank]).map_err(|error| failed(&self.manifest.image.file, error))?;
        }
        if text {
            self.text_tower()?;
            self.encode_texts(&["a photo"]).map_err(|error| failed(&self.manifest.text.file, error))?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn image_is_loaded(&self) -> bool {
        self.image.value.get().is_some()
    }

    fn image_tower(&self) -> Result<&dyn Runtime, ModelError> {
        let tower = &self.manifest.image;
        let runtime = self.image.get(|| {
            let size = tower.preprocess.size();
            let kind = InputKind::Pixels { height: size.height as usize, width: size.width as usize };
            self.load(&tower.file, vec![Input { name: &tower.input, kind }], &tower.output)
        })?;
        Ok(runtime.as_ref())
    }

    fn text_tower(&self) -> Result<&TextTowerLoaded, ModelError> {
        let tower = &self.manifest.text;
        self.text.get(|| {
            let json = self.folder.read(&tower.tokenizer)?;
            let path = || self.folder.path(&tower.tokenizer);
            let tokenizer = TextTokenizer::new(&json, tower)
                .map_err(|reason| ModelError::Tokenizer { path: path(), reason })?;
            let names = [Some(&tower.input_ids), tower.attention_mask.as_ref()];
            let length = (tower.pad == Padding::MaxLength).then_some(tower.context_length);
            let kind = InputKind::Tokens { length };
            let inputs = names.into_iter().flatten().map(|name| Input { name, kind }).collect();
            Ok(TextTowerLoaded { runtime: self.load(&tower.file, inputs, &tower.output)?, tokenizer })
        })
    }

    fn load(&self, file: &str, inputs: Vec<Input<'_>>, output: &str) -> Result<Box<dyn Runtime>, ModelError> {
        let names: Vec<&str> = inputs.iter().map(|input| input.name).collect();
        self.engine.load(Graph {
            file: self.folder.tower(file, &names, output)?,
            path: self.folder.path(file),
            inputs,
            output,
        })
    }

    /// Runs a tower on one batch and gives `batch × dim` numbers.
    fn run(&self, tower: &dyn Runtime, inputs: &[Tensor], batch: usize) -> Result<Vec<f32>, EncodeError> {
        let outputs = tower.run(inputs).map_err(|error| self.failed(batch, error.to_string()))?;
        let expected = vec![batch, self.spec.dim];
        match outputs.into_iter().next() {
            Some(Tensor { shape, data: Numbers::F32(data) }) if shape == expected => Ok(data),
            other => Err(EncodeError::Shape {
                received: other.map_or(Vec::new(), |output| output.shape),
                expected,
            }),
        }
    }

    fn failed(&self, batch: usize, reason: String) -> EncodeError {
        EncodeError::Runtime { runtime: self.engine.info().name, batch, reason }
    }

    /// Unit rows from a tower's numbers. Most exported graphs normalise and some do not, so it is always done: dividing by a
    /// norm that is 1 already costs nothing and makes it 1 to the last bit.
    fn embeddings(&self, numbers: Vec<f32>) -> Result<EmbeddingBatch, EncodeError> {
        Ok(EmbeddingBatch::normalise(self.spec.dim, numbers)?)
    }
}

impl Encoder for DualEncoder {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn prepare_image(&self, bytes: &[u8]) -> Result<PreparedImage, DecodeError> {
        self.manifest.image.preprocess.prepare(bytes, &self.decode)
    }

    fn encode_images(&self, batch: &[PreparedImage]) -> Result<EmbeddingBatch, EncodeError> {
        let size = self.manifest.image.preprocess.size();
        let (height, width) = (size.height as usize, size.width as usize);
        let mut numbers = Vec::with_capacity(batch.len() * self.spec.dim);
        for images in batch.chunks(MOST_IMAGES) {
            let tower = self.image_tower().map_err(|error| self.failed(images.len(), error.to_string()))?;
            let mut pixels = Vec::with_capacity(images.len() * 3 * height * width);
            for image in images {
                if image.size != size || image.pixels.len() != 3 * height * width {
                    let RasterSize { width, height } = image.size;
                    let reason = format!("an image was prepared as {width} × {height} for another model");
                    return Err(self.failed(images.len(), reason));
                }
                pixels.extend_from_slice(&image.pixels);
            }
            let input = Tensor { shape: vec![images.len(), 3, height, width], data: Numbers::F32(pixels) };
            numbers.extend(self.run(tower, &[input], images.len())?);
        }
        self.embeddings(numbers)
    }

    fn encode_texts(&self, batch: &[&str]) -> Result<EmbeddingBatch, EncodeError> {
        if batch.is_empty() {
            return self.embeddings(Vec::new());
        }
        let tower = self.text_tower().map_err(|error| self.failed(batch.len(), error.to_string()))?;
        let texts = batch.iter().map(|text| tower.tokenizer.ids(text)).collect::<Result<Vec<Ids>, _>>()?;
        let dim = self.spec.dim;
        let mut numbers = vec![0.0; batch.len() * dim];
        for (length, group) in tower.tokenizer.groups(&texts, MOST_TEXTS) {
            let (mut ids, mut mask) = (Vec::new(), Vec::new());
            for &i in &group {
                tower.tokenizer.pad(&texts[i], length, &mut ids, &mut mask);
            }
            let shape = vec![group.len(), length];
            let mut inputs = vec![Tensor { shape: shape.clone(), data: Numbers::I64(ids) }];
            if self.manifest.text.attention_mask.is_some() {
                inputs.push(Tensor { shape, data: Numbers::I64(mask) });
            }
            let rows = self.run(tower.runtime.as_ref(), &inputs, group.len())?;
            for (&i, row) in group.iter().zip(rows.chunks_exact(dim)) {
                numbers[i * dim..][..dim].copy_from_slice(row);
            }
        }
        self.embeddings(numbers)
    }
}

/// A value made on first use. A failure is reported to whoever asked and tried again next time.
struct Lazy<T> {
    value: OnceLock<T>,
    /// Held while making, so that two threads do not load the same tower.
    making: Mutex<()>,
}

impl<T> Lazy<T> {
    fn new() -> Self {
        Self { value: OnceLock::new(), making: Mutex::new(()) }
    }

    fn get(&self, make: impl FnOnce() -> Result<T, ModelError>) -> Result<&T, ModelError> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = make()?;
        Ok(self.value.get_or_init(|| value))
    }
}
