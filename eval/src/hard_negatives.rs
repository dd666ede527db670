//! Hard negatives: whether an image's caption scores higher than the same caption edited until it is wrong.
//!
//! SugarCrepe (Hsieh et al. 2023, arXiv 2306.14610; RAIVNLab/sugar-crepe) has seven files, `add_att.json` … `swap_obj.json`, over COCO
//! val2017: `{"0": {"filename": "000000222235.jpg", "caption": "…", "negative_caption": "…"}, …}`. A pair counts as right when the
//! caption's score is strictly higher (`main_eval.py`), so a tie is wrong; ties are counted beside it, since a model that says the
//! same of everything would have nothing but ties. What must stay true: every pair of a file has a score.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::dataset::ImageRef;
use crate::image_table::ImageTable;

/// An image's caption and its edited twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionPair {
    /// Index into [`HardNegatives::images`].
    pub image: usize,
    /// Describes the image.
    pub caption: String,
    /// Differs in a detail that makes it wrong.
    pub negative: String,
}

/// The pairs of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// The file's name without extension, such as `swap_att`.
    pub name: String,
    /// In the order of their numbers.
    pub pairs: Vec<CaptionPair>,
}

/// Pairs of captions and the images that they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardNegatives {
    /// Each image once.
    pub images: Vec<ImageRef>,
    /// In the order of the files.
    pub categories: Vec<Category>,
}

impl HardNegatives {
    /// Reads one file, or all `.json` files of a folder by name, and finds the images in `images`.
    ///
    /// # Errors
    /// [`EvalError`] when a file is of another layout or empty, or an image is missing.
    pub fn read(path: &Path, images: &Path) -> Result<Self, EvalError> {
        let mut table = ImageTable::default();
        let mut categories = Vec::new();
        for file in files(path)? {
            let pairs = parse(&fs_err::read_to_string(&file)?)
                .map_err(|reason| EvalError::Format { path: file.clone(), reason })?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let pairs = pairs
                .into_iter()
                .map(|pair| CaptionPair {
                    image: table.of(&pair.filename),
                    caption: pair.caption.trim().into(),
                    negative: pair.negative_caption.trim().into(),
                })
                .collect();
            categories.push(Category { name, pairs });
        }
        Ok(Self { images: table.find(images)?, categories })
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, EvalError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs_err::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => {
            let reason = "it holds no .json file; give SugarCrepe's data folder, or one of its files".into();
            Err(EvalError::Format { path: path.into(), reason })
        }
        false => Ok(files),
    }
}

#[derive(Deserialize)]
struct Pair {
    filename: String,
    caption: String,
    negative_caption: String,
}

/// An object of numbered pairs, or a list of them.
fn parse(text: &str) -> Result<Vec<Pair>, String> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let expected = |error: serde_json::Error| {
        format!("{error}; expected objects with filename, caption and negative_caption")
    };
    let pairs: Vec<Pair> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(expected)?
    } else {
        let numbered: std::collections::BTreeMap<String, Pair> =
            serde_json::from_str(text).map_err(expected)?;
        let mut numbered: Vec<(String, Pair)> = numbered.into_iter().collect();
        // "10" comes after "9"; keys that are no numbers keep their order as text, at the end.
        numbered.sort_by_key(|(key, _)| key.parse().unwrap_or(u64::MAX));
        numbered.into_iter().map(|(_, pair)| pair).collect()
    };
    match pairs.is_empty() {
        true => Err("it has no pairs; fetch it again".into()),
        false => Ok(pairs),
    }
}

/// How often the caption wins.
///
/// ```json
/// {"pairs": 3, "accuracy": 66.7, "macro_accuracy": 75.0,
///  "categories": [{"category": "swap_att", "pairs": 2, "accuracy": 50.0, "ties": 1}, …]}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HardNegativesReport {
    /// Pairs in all.
    pub pairs: usize,
    /// Percent of all pairs in which the caption scores strictly higher, 0..=100.
    pub accuracy: f64,
    /// Mean of the accuracies of the categories.
    pub macro_accuracy: f64,
    /// Each category.
    pub categories: Vec<CategoryFigures>,
}

/// The figures of one category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryFigures {
    /// Its name.
    pub category: String,
    /// Its pairs.
    pub pairs: usize,
    /// Percent of them in which the caption scores strictly higher.
    pub accuracy: f64,
    /// Pairs with equal scores; they count as wrong.
    pub ties: usize,
}

/// Figures from scores: of each category its name and, for each pair, the score of the caption and that of its edited twin.
///
/// # Errors
/// [`EvalError::Rows`] when there is no category, one has no pair, or a score is NaN.
pub fn report(categories: &[(String, Vec<(f32, f32)>)]) -> Result<HardNegativesReport, EvalError> {
    let mut figures = Vec::with_capacity(categories.len());
    let (mut all, mut right) = (0, 0);
    for (name, scores) in categories {
        if scores.is_empty() {
            return Err(EvalError::Rows { reason: format!("category {name} has no pairs; leave it out") });
        }
        if let Some(pair) = scores.iter().position(|(a, b)| a.is_nan() || b.is_nan()) {
            return Err(EvalError::Rows {
                reason: format!("pair {pair} of {name} has a score that is no number; the model is broken"),
            });
        }
        let wins = scores.iter().filter(|(caption, negative)| caption > negative).count();
        let ties = scores.iter().filter(|(caption, negative)| caption == negative).count();
        let accuracy = 100.0 * wins as f64 / scores.len() as f64;
        figures.push(CategoryFigures { category: name.clone(), pairs: scores.len(), accuracy, ties });
        all += scores.len();
        right += wins;
    }
    if all == 0 {
        return Err(EvalError::Rows { reason: "no pairs of captions; give at least one file".into() });
    }
    let macro_accuracy = figures.iter().map(|category| category.accuracy).sum::<f64>() / figures.len() as f64;
    Ok(HardNegativesReport {
        pairs: all,
        accuracy: 100.0 * right as f64 / all as f64,
        macro_accuracy,
        categories: figures,
    })
}

impl fmt::Display for HardNegativesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:>6} {:>9} {:>5}", "category", "pairs", "accuracy", "ties")?;
        for category in &self.categories {
            let CategoryFigures { category, pairs, accuracy, ties } = category;
            writeln!(f, "{category:<16} {pairs:>6} {accuracy:>9.2} {ties:>5}")?;
        }
        writeln!(f, "{:<16} {:>6} {:>9.2}", "all", self.pairs, self.accuracy)?;
        writeln!(f, "{:<16} {:>6} {:>9.2}", "mean", "", self.macro_accuracy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_wrong_and_counted() {
        let scores =
            [("swap_att".to_owned(), vec![(0.5, 0.5), (0.6, 0.5)]), ("add_obj".to_owned(), vec![(0.1, 0.0)])];
        let report = report(&scores).unwrap();
        assert_eq!((report.pairs, report.accuracy, report.macro_accuracy), (3, 100.0 * 2.0 / 3.0, 75.0));
        assert_eq!((report.categories[0].accuracy, report.categories[0].ties), (50.0, 1));
        assert!(report.to_string().contains("swap_att              2     50.00     1"), "{report}");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<HardNegativesReport>(&json).unwrap(), report);
        for bad in [vec![], vec![("x".to_owned(), vec![])], vec![("x".to_owned(), vec![(f32::NAN, 0.0)])]] {
            assert!(super::report(&bad).is_err());
        }
    }

    #[test]
    fn a_folder_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::create_dir(at("data")).unwrap();
        fs_err::write(at("1.jpg"), "").unwrap();
        let pair = |caption: &str| {
            format!(
                r#"{{"filename": "1.jpg", "caption": "{caption}", "negative_caption": "not {caption} "}}"#
            )
        };
        fs_err::write(
            at("data/swap_obj.json"),
            format!("\u{feff}{{\"10\": {}, \"9\": {}}}", pair("b"), pair("a")),
        )
        .unwrap();
        fs_err::write(at("data/add_att.json"), format!("[{}]", pair("c"))).unwrap();
        fs_err::write(at("data/notes.txt"), "x").unwrap();
        let read = HardNegatives::read(&at("data"), dir.path()).unwrap();
        assert_eq!(read.images, [ImageRef::File(at("1.jpg"))]);
        let names: Vec<&str> = read.categories.iter().map(|category| category.name.as_str()).collect();
        assert_eq!(names, ["add_att", "swap_obj"]);
        let captions: Vec<&str> = read.categories[1].pairs.iter().map(|pair| pair.caption.as_str()).collect();
        assert_eq!((captions, read.categories[1].pairs[1].negative.as_str()), (vec!["a", "b"], "not b"));

        let missing = HardNegatives::read(&at("data"), &at("data")).unwrap_err();
        assert!(matches!(missing, EvalError::MissingImages { count: 1, of: 1, .. }), "{missing}");
        for bad in ["{}", "[]", "", "{\"0\": {}}", "[1]"] {
            fs_err::write(at("bad.json"), bad).unwrap();
            assert!(HardNegatives::read(&at("bad.json"), dir.path()).is_err(), "{bad}");
        }
    }
}
