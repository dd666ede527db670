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

use crate::coalesce::Coalesce;
use crate::decode::DecodeOptions;
use crate::error::ModelError;
use crate::folder::ModelFolder;
use crate::manifest::{ModelManifest, Padding, Variants};
use crate::runtime::{
    Engine, Graph, Input, InputKind, Numbers, Precision, Rows, Runtime, RuntimeError, RuntimeInfo,
    RuntimeOptions, Tensor,
};
use crate::tokenize::{Ids, TextTokenizer};

/// Most texts of a call that waits for others to be encoded with; more are a batch of their own.
const FEW_TEXTS: usize = 16;

/// What is appended to the fingerprint of a model that runs in 8-bit integers.
pub const INT8_FINGERPRINT: &str = "-int8";

/// A model folder opened on a runtime.
pub struct DualEncoder {
    folder: ModelFolder,
    manifest: ModelManifest,
    spec: EncoderSpec,
    engine: Engine,
    decode: DecodeOptions,
    precision: Precision,
    image: Lazy<Box<dyn Runtime>>,
    text: Lazy<TextTower>,
    few_texts: Coalesce<Vec<Ids>, Result<Vec<f32>, EncodeError>>,
}

/// The text tower, loaded.
pub(crate) struct TextTower {
    pub runtime: Box<dyn Runtime>,
    pub tokenizer: TextTokenizer,
}

impl DualEncoder {
    /// Opens a model: reads its manifest, checks its fingerprint, starts the runtime. Towers load on first use.
    ///
    /// # Errors
    /// [`ModelError`]: a file is missing or not what the fingerprint says, or the runtime is not there.
    pub fn open(folder: &ModelFolder, options: &RuntimeOptions) -> Result<Self, ModelError> {
        let manifest = folder.manifest()?;
        let engine = Engine::start(options)?;
        let variants = [&manifest.image.variants, &manifest.text.variants];
        let precision = options.precision.resolve(engine.on_gpu(), variants)?;
        let mut spec = manifest.spec();
        if precision == Precision::Int8 {
            // Its vectors are near the full ones and not comparable with them.
            spec.fingerprint += INT8_FINGERPRINT;
        }
        let folder = folder.clone();
        let (image, text, few_texts) = (Lazy::new(), Lazy::new(), Coalesce::new());
        let decode = DecodeOptions::default();
        Ok(Self { folder, manifest, spec, engine, precision, decode, image, text, few_texts })
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

    /// The precision that was chosen: never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Images in a batch that keeps every device busy.
    pub fn images_at_once(&self) -> usize {
        self.engine.images_at_once()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the model's folder says of it.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// Loads each tower of which a batch is wanted and runs one of that many blank images, or texts: the first batch of a size
    /// is slower than those that follow, on a GPU by far.
    ///
    /// # Errors
    /// [`ModelError`] when a tower does not load or does not run.
    pub fn warm_up(&self, images: usize, texts: usize) -> Result<(), ModelError> {
        if images > 0 {
            self.image_tower()?;
            let size = self.manifest.image.preprocess.size();
            let pixels = vec![0.0; 3 * size.width as usize * size.height as usize];
            let blank = PreparedImage { pixels, size, original: size, spent: Default::default() };
            let batch = vec![blank; images];
            self.encode_images(&batch).map_err(|error| self.did_not_run(&self.manifest.image.file, error))?;
        }
        if texts > 0 {
            self.text_tower()?;
            let batch = vec!["a photo"; texts];
            self.encode_texts(&batch).map_err(|error| self.did_not_run(&self.manifest.text.file, error))?;
        }
        Ok(())
    }

    fn did_not_run(&self, file: &str, error: EncodeError) -> ModelError {
        let (runtime, path) = (self.engine.info().name, self.folder.path(file));
        ModelError::Graph { runtime, path, reason: error.to_string() }
    }

    #[cfg(test)]
    pub(crate) fn image_is_loaded(&self) -> bool {
        self.image.value.get().is_some()
    }

    fn image_tower(&self) -> Result<&dyn Runtime, ModelError> {
        let outputs = vec![self.manifest.image.output.as_str()];
        Ok(self.image.get(|| self.engine.load(&self.image_graph(outputs)?))?.as_ref())
    }

    /// The image tower's graph, giving `outputs`.
    pub(crate) fn image_graph<'a>(&'a self, outputs: Vec<&'a str>) -> Result<Graph<'a>, ModelError> {
        let tower = &self.manifest.image;
        let size = tower.preprocess.size();
        let kind = InputKind::Pixels { height: size.height as usize, width: size.width as usize };
        self.graph(&tower.file, &tower.variants, vec![Input { name: &tower.input, kind }], outputs)
    }

    /// A closure that runs the image tower on `batch`, as one batch, with as little as possible of Pictor around the runtime, in
    /// a session of its own: the rate of the closure is what the rate of [`Encoder::encode_images`] is to be compared with.
    ///
    /// # Errors
    /// [`ModelError`] when the tower does not load; the closure's, when it does not run.
    pub fn bare_images<'a>(
        &'a self,
        batch: &'a [PreparedImage],
    ) -> Result<impl FnMut() -> Result<(), EncodeError> + 'a, ModelError> {
        let graph = self.image_graph(vec![&self.manifest.image.output])?;
        let rows =
            self.image_rows(batch).map_err(|error| self.did_not_run(&self.manifest.image.file, error))?;
        let mut run = self.engine.bare(&graph, rows)?;
        Ok(move || run().map_err(|error| self.failed(batch.len(), error.to_string())))
    }

    /// The tensors of images as the image tower takes them.
    ///
    /// # Errors
    /// [`EncodeError::Runtime`] when one was prepared for another model.
    pub(crate) fn image_rows<'a>(&self, batch: &'a [PreparedImage]) -> Result<Rows<'a>, EncodeError> {
        let size = self.manifest.image.preprocess.size();
        let shape = vec![3, size.height as usize, size.width as usize];
        let length: usize = shape.iter().product();
        if let Some(other) = batch.iter().find(|image| image.size != size || image.pixels.len() != length) {
            let RasterSize { width, height } = other.size;
            let reason = format!("an image was prepared as {width} × {height} for another model");
            return Err(self.failed(batch.len(), reason));
        }
        let numbers = Numbers::F32(batch.iter().map(|image| image.pixels.as_slice()).collect());
        Ok(Rows { shape, numbers })
    }

    pub(crate) fn text_tower(&self) -> Result<&TextTower, ModelError> {
        self.text.get(|| self.load_text_tower(vec![&self.manifest.text.output]))
    }

    /// The text tower, giving `outputs`.
    pub(crate) fn load_text_tower(&self, outputs: Vec<&str>) -> Result<TextTower, ModelError> {
        let tower = &self.manifest.text;
        let json = self.folder.read(&tower.tokenizer)?;
        let path = || self.folder.path(&tower.tokenizer);
        let tokenizer = TextTokenizer::new(&json, tower)
            .map_err(|reason| ModelError::Tokenizer { path: path(), reason })?;
        let names = [Some(&tower.input_ids), tower.attention_mask.as_ref()];
        let longest = tower.context_length;
        let length = (tower.pad == Padding::MaxLength).then_some(longest);
        let kind = InputKind::Tokens { length, longest };
        let inputs = names.into_iter().flatten().map(|name| Input { name, kind }).collect();
        let graph = self.graph(&tower.file, &tower.variants, inputs, outputs)?;
        Ok(TextTower { runtime: self.engine.load(&graph)?, tokenizer })
    }

    /// A graph of the folder at the precision chosen.
    pub(crate) fn graph<'a>(
        &'a self,
        full: &'a str,
        variants: &'a Variants,
        inputs: Vec<Input<'a>>,
        outputs: Vec<&'a str>,
    ) -> Result<Graph<'a>, ModelError> {
        let missing = ModelError::NoPrecision { precision: self.precision };
        let file = self.precision.file(full, variants).ok_or(missing)?;
        let names: Vec<&str> = inputs.iter().map(|input| input.name).collect();
        let towers = &self.manifest;
        let features = if full == towers.image.file {
            towers.image.features.as_deref()
        } else {
            towers.text.features.as_deref()
        };
        let fixed_batch = self.folder.fixed_batch(file, &names)?;
        let tower = self.folder.tower(file, &names, &outputs, features)?;
        Ok(Graph {
            file: tower,
            fixed_batch,
            path: self.folder.path(file),
            inputs,
            outputs,
            fingerprint: &self.spec.fingerprint,
            half: self.precision == Precision::Fp16,
        })
    }

    /// Runs a graph on one batch; its outputs have the shapes `[batch, …]` that are expected of them.
    pub(crate) fn run<const N: usize>(
        &self,
        graph: &dyn Runtime,
        inputs: &[Rows<'_>],
        expected: [Vec<usize>; N],
    ) -> Result<[Vec<f32>; N], EncodeError> {
        let batch = inputs.first().map_or(0, Rows::len);
        let outputs = graph.run(inputs).map_err(|error| {
            let (runtime, reason) = (self.engine.info().name, error.to_string());
            match error {
                RuntimeError::OutOfMemory(_) => EncodeError::OutOfMemory { runtime, reason },
                RuntimeError::Failed(_) => EncodeError::Runtime { runtime, batch, reason },
            }
        })?;
        let mut outputs = outputs.into_iter();
        let mut numbers = [const { Vec::new() }; N];
        for (expected, numbers) in expected.into_iter().zip(&mut numbers) {
            match outputs.next() {
                Some(Tensor { shape, data }) if shape == expected => *numbers = data,
                other => {
                    let received = other.map_or(Vec::new(), |output| output.shape);
                    return Err(EncodeError::Shape { received, expected });
                }
            }
        }
        Ok(numbers)
    }

    /// `texts × dim` numbers.
    fn encode_ids(&self, tower: &TextTower, texts: &[Ids]) -> Result<Vec<f32>, EncodeError> {
        let dim = self.spec.dim;
        let mut numbers = vec![0.0; texts.len() * dim];
        for (length, group) in tower.tokenizer.groups(texts, usize::MAX) {
            let (mut ids, mut mask) = (Vec::new(), Vec::new());
            for &i in &group {
                tower.tokenizer.pad(&texts[i], length, &mut ids, &mut mask);
            }
            let mut inputs = vec![token_rows(&ids, length)];
            if self.manifest.text.attention_mask.is_some() {
                inputs.push(token_rows(&mask, length));
            }
            let [rows] = self.run(tower.runtime.as_ref(), &inputs, [vec![group.len(), dim]])?;
            for (&i, row) in group.iter().zip(rows.chunks_exact(dim)) {
                numbers[i * dim..][..dim].copy_from_slice(row);
            }
        }
        Ok(numbers)
    }

    /// [`DualEncoder::encode_ids`], together with the texts of whoever asks meanwhile.
    fn encode_few(&self, tower: &TextTower, texts: Vec<Ids>) -> Result<Vec<f32>, EncodeError> {
        let batch = texts.len();
        let together = |calls: Vec<Vec<Ids>>| {
            let lengths: Vec<usize> = calls.iter().map(Vec::len).collect();
            let all: Vec<Ids> = calls.into_iter().flatten().collect();
            let numbers = self.encode_ids(tower, &all);
            let mut start = 0;
            let answer = |length: usize| {
                let range = start * self.spec.dim..(start + length) * self.spec.dim;
                start += length;
                numbers.as_ref().map(|numbers| numbers[range].to_vec()).map_err(Clone::clone)
            };
            lengths.into_iter().map(answer).collect()
        };
        let panicked = || self.failed(batch, "it panicked on texts that were encoded together".into());
        self.few_texts.run(texts, together).unwrap_or_else(|| Err(panicked()))
    }

    pub(crate) fn failed(&self, batch: usize, reason: String) -> EncodeError {
        EncodeError::Runtime { runtime: self.engine.info().name, batch, reason }
    }

    /// Unit rows from a tower's numbers. Most exported graphs normalise and some do not, so it is always done: dividing by a
    /// norm that is 1 already costs nothing and makes it 1 to the last bit.
    pub(crate) fn embeddings(&self, numbers: Vec<f32>) -> Result<EmbeddingBatch, EncodeError> {
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
        if batch.is_empty() {
            return self.embeddings(Vec::new());
        }
        let tower = self.image_tower().map_err(|error| self.failed(batch.len(), error.to_string()))?;
        let rows = self.image_rows(batch)?;
        let [numbers] = self.run(tower, &[rows], [vec![batch.len(), self.spec.dim]])?;
        self.embeddings(numbers)
    }

    fn encode_texts(&self, batch: &[&str]) -> Result<EmbeddingBatch, EncodeError> {
        if batch.is_empty() {
            return self.embeddings(Vec::new());
        }
        let tower = self.text_tower().map_err(|error| self.failed(batch.len(), error.to_string()))?;
        let texts = batch.iter().map(|text| tower.tokenizer.ids(text)).collect::<Result<Vec<Ids>, _>>()?;
        let numbers = match texts.len() {
            ..=FEW_TEXTS => self.encode_few(tower, texts)?,
            _ => self.encode_ids(tower, &texts)?,
        };
        self.embeddings(numbers)
    }
}

/// Token ids or an attention mask, `length` to a row.
pub(crate) fn token_rows(numbers: &[i64], length: usize) -> Rows<'_> {
    Rows { shape: vec![length], numbers: Numbers::I64(numbers.chunks_exact(length).collect()) }
}

/// A value made on first use. A failure is reported to whoever asked and tried again next time.
pub(crate) struct Lazy<T> {
    value: OnceLock<T>,
    /// Held while making, so that two threads do not load the same tower.
    making: Mutex<()>,
}

impl<T> Lazy<T> {
    pub fn new() -> Self {
        Self { value: OnceLock::new(), making: Mutex::new(()) }
    }

    pub fn get(&self, make: impl FnOnce() -> Result<T, ModelError>) -> Result<&T, ModelError> {
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
