//! POPE: whether a model says yes to an object that is in an image, and no to one that is not.
//!
//! The questions are POPE's files (Li et al. 2023, arXiv 2305.10355; `output/coco/coco_pope_{random,popular,adversarial}.json` of
//! AoiDragon/POPE), one JSON object a line: `{"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a
//! snowboard in the image?", "label": "yes"}`. A matcher answers no questions, so a question becomes a caption, "a photo of a
//! snowboard", and yes is a probability of a match at or above a threshold. The figures are those of POPE's `evaluate.py`; those that
//! need no threshold (area under the ROC curve, accuracy at the best threshold) are beside them, since a matcher was not
//! trained to be calibrated for such captions.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::dataset::ImageRef;
use crate::image_table::ImageTable;

mod figures;

pub use figures::{Figures, figures};

/// What the object is put into, with its article.
pub const TEMPLATE: &str = "a photo of {c}";

/// The probability from which on the answer is yes.
pub const THRESHOLD: f32 = 0.5;

/// Whether an object is in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Index into [`Questions::images`].
    pub image: usize,
    /// The object with the article of the question: `a snowboard`.
    pub object: String,
    /// Whether it is there.
    pub label: bool,
}

/// The questions of one file, or of one category in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// `random`, `popular`, `adversarial`: the questions' `category`, else the end of the file's name.
    pub name: String,
    /// In the order of the file.
    pub questions: Vec<Question>,
}

/// Questions and the images that they are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// Each image once.
    pub images: Vec<ImageRef>,
    /// In the order of the files.
    pub subsets: Vec<Subset>,
}

impl Question {
    /// The caption that stands for the question: the object and its article in place of `{c}`.
    pub fn caption(&self, template: &str) -> String {
        template.replace("{c}", &self.object)
    }
}

impl Questions {
    /// Reads files of questions, JSON Lines or JSON lists, and finds the images in `images`.
    ///
    /// # Errors
    /// [`EvalError`] when a file is of another layout or empty, a question is not of POPE's form, or an image is missing.
    pub fn read<P: AsRef<Path>>(files: &[P], images: &Path) -> Result<Self, EvalError> {
        let mut table = ImageTable::default();
        let mut subsets: Vec<Subset> = Vec::new();
        for file in files.iter().map(AsRef::as_ref) {
            let wrong = |reason: String| EvalError::Format { path: file.into(), reason };
            let rows = parse(&fs_err::read_to_string(file)?).map_err(wrong)?;
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let of_file = stem.rsplit('_').next().unwrap_or(&stem);
            for (number, row) in (1..).zip(rows) {
                let question = row.text.or(row.question).unwrap_or_default();
                let object = object(&question).ok_or_else(|| {
                    wrong(format!(
                        "question {number}, '{question}', is not like 'Is there a dog in the image?'"
                    ))
                })?;
                let label =
                    match row.label.or(row.answer).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                        "yes" => true,
                        "no" => false,
                        other => {
                            return Err(wrong(format!(
                                "the label of question {number} is '{other}', expected yes or no"
                            )));
                        }
                    };
                let name = row.category.as_deref().unwrap_or(of_file);
                let question = Question { image: table.of(&row.image), object, label };
                match subsets.iter_mut().find(|subset| subset.name == name) {
                    Some(subset) => subset.questions.push(question),
                    None => subsets.push(Subset { name: name.into(), questions: vec![question] }),
                }
            }
        }
        if subsets.is_empty() {
            return Err(EvalError::Rows { reason: "no file of questions; give at least one".into() });
        }
        Ok(Self { images: table.find(images)?, subsets })
    }
}

#[derive(Deserialize)]
struct Row {
    image: String,
    text: Option<String>,
    question: Option<String>,
    label: Option<String>,
    answer: Option<String>,
    category: Option<String>,
}

fn parse(text: &str) -> Result<Vec<Row>, String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let expected = "expected one object a line with image, text and label";
    let rows: Vec<Row> = match text.starts_with('[') {
        true => serde_json::from_str(text).map_err(|error| format!("{error}; {expected}"))?,
        false => (1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(line, row)| {
                serde_json::from_str(row).map_err(|error| format!("line {line}: {error}; {expected}"))
            })
            .collect::<Result<_, String>>()?,
    };
    match rows.is_empty() {
        true => Err(format!("it has no questions; {expected}")),
        false => Ok(rows),
    }
}

/// `Is there a dog in the image?` → `a dog`.
fn object(question: &str) -> Option<String> {
    let question = question.trim().trim_end_matches(['?', '.']).trim_end();
    let (verb, rest) = question.split_at_checked("is there ".len())?;
    if !verb.eq_ignore_ascii_case("is there ") {
        return None;
    }
    // An object may hold the words too ("a hole in the wall in the image").
    let (object, place) = rest.rsplit_once(" in the ").or_else(|| rest.rsplit_once(" in this "))?;
    let is_image = ["image", "picture", "photo"].iter().any(|word| place.trim().eq_ignore_ascii_case(word));
    let object = object.trim();
    (is_image && !object.is_empty()).then(|| object.to_owned())
}

/// How well questions were answered.
///
/// ```json
/// {"template": "a photo of {c}",
///  "subsets": [{"subset": "random", "questions": 2, "threshold": 0.5, "accuracy": 50.0, "precision": 50.0, "recall": 100.0,
///               "f1": 66.7, "yes_ratio": 100.0, "auc": 1.0, "best_accuracy": 100.0, "best_threshold": 0.8}],
///  "all": {"questions": 2, …}}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PopeReport {
    /// What the objects were put into.
    pub template: String,
    /// Each subset.
    pub subsets: Vec<SubsetFigures>,
    /// All questions as one set.
    pub all: Figures,
}

/// The figures of one subset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubsetFigures {
    /// Its name.
    pub subset: String,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Makes the report: `probabilities` has, for each subset, the match probability of each question's caption in order.
///
/// # Errors
/// [`EvalError::Rows`] when numbers of probabilities and questions differ, there is no question, or a probability is NaN.
pub fn report(
    subsets: &[Subset],
    probabilities: &[Vec<f32>],
    template: &str,
    threshold: f32,
) -> Result<PopeReport, EvalError> {
    if subsets.len() != probabilities.len() {
        let reason = format!("probabilities of {} subsets for {}", probabilities.len(), subsets.len());
        return Err(EvalError::Rows { reason });
    }
    let (mut all_scores, mut all_labels, mut of_subsets) = (Vec::new(), Vec::new(), Vec::new());
    for (subset, scores) in subsets.iter().zip(probabilities) {
        let labels: Vec<bool> = subset.questions.iter().map(|question| question.label).collect();
        of_subsets.push(SubsetFigures {
            subset: subset.name.clone(),
            figures: figures(scores, &labels, threshold)?,
        });
        all_scores.extend_from_slice(scores);
        all_labels.extend(labels);
    }
    let all = figures(&all_scores, &all_labels, threshold)?;
    Ok(PopeReport { template: template.into(), subsets: of_subsets, all })
}

impl fmt::Display for PopeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "'{}', yes from a probability of {} on", self.template, self.all.threshold)?;
        writeln!(
            f,
            "{:<12} {:>9} {:>8} {:>9} {:>6} {:>6} {:>9} {:>6} {:>13}",
            "subset",
            "questions",
            "accuracy",
            "precision",
            "recall",
            "F1",
            "yes ratio",
            "AUC",
            "best accuracy"
        )?;
        let rows = self.subsets.iter().map(|subset| (subset.subset.as_str(), &subset.figures));
        for (name, of) in rows.chain([("all", &self.all)]) {
            let or_dash = |figure: Option<f64>, digits: usize| {
                figure.map_or("–".into(), |figure| format!("{figure:.digits$}"))
            };
            writeln!(
                f,
                "{name:<12} {:>9} {:>8.2} {:>9} {:>6} {:>6} {:>9.2} {:>6} {:>13.2}",
                of.questions,
                of.accuracy,
                or_dash(of.precision, 2),
                or_dash(of.recall, 2),
                or_dash(of.f1, 2),
                of.yes_ratio,
                or_dash(of.auc, 4),
                of.best_accuracy
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_become_captions() {
        for (question, wanted) in [
            ("Is there a dining table in the image?", Some("a dining table")),
            ("is there an apple in this picture?", Some("an apple")),
            ("Is there a hole in the wall in the image?", Some("a hole in the wall")),
            ("Is there person in the image", Some("person")),
            ("What is in the image?", None),
            ("Is there a dog?", None),
            ("Is there  in the image?", None),
            ("ïs thère a dog in the image?", None),
            ("", None),
        ] {
            assert_eq!(object(question).as_deref(), wanted, "{question}");
        }
        let question = Question { image: 0, object: "an apple".into(), label: true };
        assert_eq!(question.caption(TEMPLATE), "a photo of an apple");
    }

    #[test]
    fn files_subsets_and_report() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs_err::write(at("1.jpg"), "").unwrap();
        let row = |object: &str, label: &str| {
            format!(
                r#"{{"question_id": 1, "image": "val2014/1.jpg", "text": "Is there {object} in the image?", "label": "{label}"}}"#
            )
        };
        fs_err::write(
            at("coco_pope_random.json"),
            format!("\u{feff}{}\r\n\r\n{}\r\n", row("a dog", "yes"), row("a cat", "no")),
        )
        .unwrap();
        let list = r#"[{"image": "val2014/1.jpg", "question": "Is there a cow in the image?", "answer": "No", "category": "popular"}]"#;
        fs_err::write(at("x.json"), list).unwrap();
        let read = Questions::read(&[at("coco_pope_random.json"), at("x.json")], dir.path()).unwrap();
        assert_eq!(read.images, [ImageRef::File(at("1.jpg"))]);
        let names: Vec<&str> = read.subsets.iter().map(|subset| subset.name.as_str()).collect();
        assert_eq!(names, ["random", "popular"]);
        assert_eq!(read.subsets[0].questions[1], Question { image: 0, object: "a cat".into(), label: false });

        let report = report(&read.subsets, &[vec![0.9, 0.8], vec![0.1]], TEMPLATE, THRESHOLD).unwrap();
        assert_eq!((report.subsets[0].figures.accuracy, report.subsets[1].figures.accuracy), (50.0, 100.0));
        assert_eq!(
            (report.all.questions, report.all.accuracy, report.all.auc),
            (3, 100.0 * 2.0 / 3.0, Some(1.0))
        );
        assert!(report.to_string().contains("random"), "{report}");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<PopeReport>(&json).unwrap(), report);
        assert!(super::report(&read.subsets, &[vec![0.9, 0.8]], TEMPLATE, THRESHOLD).is_err());
        assert!(super::report(&read.subsets, &[vec![0.9], vec![0.1]], TEMPLATE, THRESHOLD).is_err());

        for bad in [
            "",
            "[]",
            "{}",
            "x",
            &row("a dog", "maybe"),
            r#"{"image": "1.jpg", "text": "Why?", "label": "no"}"#,
        ] {
            fs_err::write(at("bad.json"), bad).unwrap();
            assert!(Questions::read(&[at("bad.json")], dir.path()).is_err(), "{bad}");
        }
        assert!(Questions::read::<&Path>(&[], dir.path()).is_err());
        fs_err::remove_file(at("1.jpg")).unwrap();
        let missing = Questions::read(&[at("x.json")], dir.path()).unwrap_err();
        assert!(matches!(missing, EvalError::MissingImages { .. }), "{missing}");
    }
}
