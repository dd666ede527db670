//! What an encoder promises, on each runtime: row `i` of an answer depends on input `i` alone.

use std::path::PathBuf;

use pictor_core::{EmbeddingBatch, EncodeError, Encoder, dot};

use super::{bundled_model, picture, runtimes};
use crate::decode::{DecodeOptions, decode_rgb};
use crate::{
    Device, Devices, DualEncoder, ModelError, ModelFolder, Precision, RuntimeChoice, RuntimeOptions,
};

fn bmp(width: u32, height: u32, seed: u32) -> Vec<u8> {
    super::bmp(&picture(width, height, seed))
}

const TEXTS: [&str; 7] = [
    "a dog runs through the snow",
    "",
    "two children on a swing",
    "a very long sentence about a man in a blue shirt who climbs a rock in the evening sun while others watch him",
    "a dog runs through the snow",
    "山の犬",
    "cat",
];

/// Rows of both are the same vectors.
fn assert_same(a: &EmbeddingBatch, b: &EmbeddingBatch, what: &str) {
    assert_eq!(a.len(), b.len());
    for (i, (x, y)) in a.rows().zip(b.rows()).enumerate() {
        let worst = x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{what}: row {i} differs by {worst}");
    }
}

fn alone<T>(items: &[T], encode: impl Fn(&T) -> EmbeddingBatch) -> EmbeddingBatch {
    let mut all = encode(&items[0]);
    items[1..].iter().for_each(|item| all.extend(&encode(item)).unwrap());
    all
}

#[test]
fn alone_or_in_a_batch_is_the_same() {
    for encoder in runtimes() {
        let name = encoder.runtime().name;
        let texts = encoder.encode_texts(&TEXTS).unwrap();
        assert_same(&texts, &alone(&TEXTS, |text| encoder.encode_texts(&[text]).unwrap()), name);
        assert_eq!(texts.row(0), texts.row(4));

        let sizes = [(64, 48), (224, 224), (10, 300), (1, 1), (300, 200)];
        let images: Vec<_> =
            sizes.iter().map(|&(w, h)| encoder.prepare_image(&bmp(w, h, w)).unwrap()).collect();
        let batch = encoder.encode_images(&images).unwrap();
        let by_one = alone(&images, |image| encoder.encode_images(std::slice::from_ref(image)).unwrap());
        assert_same(&batch, &by_one, name);
        for row in batch.rows().chain(texts.rows()) {
            assert!((dot(row, row) - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn batches_longer_than_a_runtime_takes_keep_their_order() {
    for encoder in runtimes() {
        let many: Vec<&str> = TEXTS.iter().copied().cycle().take(150).collect();
        let long = encoder.encode_texts(&many).unwrap();
        let short = encoder.encode_texts(&TEXTS).unwrap();
        for (i, row) in long.rows().enumerate() {
            assert!(dot(row, short.row(i % TEXTS.len()).unwrap()) > 0.9999);
        }
        let two = [bmp(64, 48, 1), bmp(48, 64, 2)].map(|bytes| encoder.prepare_image(&bytes).unwrap());
        let many: Vec<_> = two.iter().cycle().take(37).cloned().collect();
        let long = encoder.encode_images(&many).unwrap();
        let short = encoder.encode_images(&two).unwrap();
        assert!(dot(short.row(0).unwrap(), short.row(1).unwrap()) < 0.9999);
        for (i, row) in long.rows().enumerate() {
            assert!(dot(row, short.row(i % 2).unwrap()) > 0.9999);
        }
    }
}

#[test]
fn empty_batches_give_empty_answers_and_wrong_sizes_give_errors() {
    for encoder in runtimes() {
        assert_eq!(encoder.encode_texts(&[]).unwrap().len(), 0);
        assert_eq!(encoder.encode_images(&[]).unwrap().len(), 0);
        let mut image = encoder.prepare_image(&bmp(4, 4, 0)).unwrap();
        image.size.width = 225;
        assert!(matches!(encoder.encode_images(&[image]), Err(EncodeError::Runtime { batch: 1, .. })));
    }
}

#[test]
fn a_text_query_does_not_load_the_image_tower() {
    for encoder in runtimes() {
        encoder.encode_texts(&["a dog"]).unwrap();
        assert!(!encoder.image_is_loaded());
        encoder.warm_up(1, 0).unwrap();
        assert!(encoder.image_is_loaded());
    }
}

#[test]
fn prepared_images_report_the_size_a_viewer_shows() {
    let lying = super::files::file("orientation-6.jpg");
    for encoder in runtimes() {
        let image = encoder.prepare_image(&lying).unwrap();
        assert_eq!((image.original.width, image.original.height), (16, 24));
        assert_eq!(image.pixels.len(), 3 * 224 * 224);
        let encoder = encoder.with_decode(DecodeOptions { exif: false, ..DecodeOptions::default() });
        let image = encoder.prepare_image(&lying).unwrap();
        assert_eq!((image.original.width, image.original.height), (24, 16));
    }
}

#[test]
fn two_workers_give_what_one_gives() {
    for one in runtimes() {
        let choice: RuntimeChoice = one.runtime().name.parse().unwrap();
        let devices = Devices::Listed(vec![Device::Cpu, Device::Cpu]);
        let options = RuntimeOptions { devices, ..RuntimeOptions::new(choice, 2) };
        let two = DualEncoder::open(&ModelFolder::bundled(), &options).unwrap();
        assert_eq!(two.runtime().devices.len(), 2);
        for count in [1, 2, 7] {
            let images: Vec<_> =
                (0..count).map(|i| one.prepare_image(&bmp(40 + i, 64, i)).unwrap()).collect();
            let (a, b) = (one.encode_images(&images).unwrap(), two.encode_images(&images).unwrap());
            assert_same(&a, &b, &two.runtime().to_string());
        }
        assert_same(&one.encode_texts(&TEXTS).unwrap(), &two.encode_texts(&TEXTS).unwrap(), "texts");
    }
}

#[test]
fn queries_that_come_at_once_get_their_own_vectors() {
    for encoder in runtimes() {
        let alone = encoder.encode_texts(&TEXTS).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (encoder, alone) = (&encoder, &alone);
                scope.spawn(move || {
                    for i in 0..6 {
                        let i = (thread + i) % TEXTS.len();
                        let answer = encoder.encode_texts(&TEXTS[i..=i]).unwrap();
                        let worst = dot(answer.row(0).unwrap(), alone.row(i).unwrap());
                        assert!(worst > 0.999_99, "{}: {worst}", encoder.runtime());
                    }
                });
            }
        });
    }
}

/// The bundled model's folder with its own files named as those of another precision.
#[test]
fn precision_decides_the_file_and_8_bit_vectors_are_another_space() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["image.onnx", "text.onnx", "matcher.onnx", "tokenizer.json"] {
        fs_err::copy(bundled_model().join(file), folder.path().join(file)).unwrap();
    }
    let json = fs_err::read(bundled_model().join("pictor.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    for tower in ["image", "text"] {
        json[tower]["variants"] = serde_json::json!({ "int8": format!("{tower}.int8.onnx") });
    }
    fs_err::write(folder.path().join("pictor.json"), json.to_string()).unwrap();
    let folder = ModelFolder::find(folder.path().to_str().unwrap()).unwrap();
    let open = |precision| {
        let options = RuntimeOptions { precision, ..RuntimeOptions::new(RuntimeChoice::Tract, 1) };
        DualEncoder::open(&folder, &options)
    };
    let full = open(Precision::Auto).unwrap();
    assert_eq!(full.precision(), Precision::Fp32);
    full.warm_up(0, 1).unwrap();
    let int8 = open(Precision::Int8).unwrap();
    assert_eq!(int8.spec().fingerprint, format!("{}-int8", full.spec().fingerprint));
    // Its file is not there: it is that one which is looked for.
    assert!(int8.warm_up(0, 1).unwrap_err().to_string().contains("text.int8.onnx"));
    assert!(matches!(open(Precision::Fp16), Err(ModelError::NoPrecision { precision: Precision::Fp16 })));
}

/// Photographs, where there are some: the runtimes agree on them, and Pillow's decoder and ours do not part ways.
#[test]
fn runtimes_agree_on_photographs() {
    let photos = std::env::var_os("PICTOR_SHARED").map(PathBuf::from);
    let photos = photos.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let photos = photos.join("data/coco-val2017-sample/images");
    let Ok(entries) = fs_err::read_dir(&photos) else {
        eprintln!(
            "note: no photographs in {} (set PICTOR_SHARED), so this test did nothing",
            photos.display()
        );
        return;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let encoders = runtimes();
    let prepared: Vec<_> = paths
        .iter()
        .map(|path| {
            let bytes = fs_err::read(path).unwrap();
            assert!(decode_rgb(&bytes, &DecodeOptions::default()).is_ok(), "{}", path.display());
            encoders[0].prepare_image(&bytes).unwrap()
        })
        .take(24)
        .collect();
    let answers: Vec<_> =
        encoders.iter().map(|encoder: &DualEncoder| encoder.encode_images(&prepared).unwrap()).collect();
    for other in &answers[1..] {
        for (a, b) in answers[0].rows().zip(other.rows()) {
            assert!(dot(a, b) > 0.9999);
        }
    }
}
