//! The figures of zero-shot classification.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Classes that the table for people names.
const SHOWN: usize = 10;

/// How well images were put into their classes.
///
/// ```json
/// {"prompts": "openai", "prompts_per_class": 80, "images": 2, "classes": 6, "top-1": 50.0, "top-5": 100.0,
///  "mean_per_class_recall": 50.0,
///  "per_class": [{"class": "dog", "images": 1, "recall": 100.0, "recall_at_5": 100.0, "precision": 50.0}],
///  "confusion": [{"class": "cat", "predicted": "dog", "images": 1}]}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// Name of the prompt set.
    pub prompts: String,
    /// Prompts that each class was encoded as.
    pub prompts_per_class: usize,
    /// Images classified.
    pub images: usize,
    /// Classes that competed, with or without images.
    pub classes: usize,
    /// Percent of images whose nearest class is their own, 0..=100.
    #[serde(rename = "top-1")]
    pub top1: f64,
    /// Percent of images whose own class is among the nearest five; absent with fewer than five classes, as in CLIP_benchmark.
    #[serde(rename = "top-5", default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Mean over the classes that have images of the percent of their images put there (balanced accuracy).
    pub mean_per_class_recall: f64,
    /// Every class, in order.
    pub per_class: Vec<ClassFigures>,
    /// Every cell of the confusion matrix that is not 0, the diagonal included, by class and then by predicted class.
    pub confusion: Vec<Confusion>,
}

/// The figures of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Its images.
    pub images: usize,
    /// Percent of them put into it; absent without images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Percent of them that have it among the nearest five; absent without images, or with fewer than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall_at_5: Option<f64>,
    /// Percent of the images put into it that are its own; absent when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
}

/// One cell of the confusion matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// The images' own class.
    pub class: String,
    /// The nearest class.
    pub predicted: String,
    /// How many images.
    pub images: usize,
}

fn percent(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| 100.0 * part as f64 / of as f64)
}

/// Makes the report: `nearest` are the classes of each image, nearest first (five of them, or all when there are fewer), `labels` its
/// own class, `names` what classes are called.
///
/// # Errors
/// [`EvalError::Rows`] when there are no images, lists differ in length or are too short, or a class has no name.
pub fn report(
    nearest: &[Vec<u32>],
    labels: &[u32],
    names: &[String],
    prompts: &super::Prompts,
) -> Result<ClassificationReport, EvalError> {
    let wrong = |reason: String| Err(EvalError::Rows { reason });
    let (images, classes) = (labels.len(), names.len());
    if images == 0 || nearest.len() != images {
        return wrong(format!(
            "{} classified images for {images} labels; both are needed, one for one",
            nearest.len()
        ));
    }
    let keep = classes.min(5);
    if let Some(short) = nearest.iter().find(|list| list.len() < keep) {
        return wrong(format!("a list of {} nearest classes, {keep} are needed; ask for more", short.len()));
    }
    if let Some(class) = nearest.iter().flatten().chain(labels).find(|&&class| class as usize >= classes) {
        return wrong(format!(
            "class {class} has no name, there are {classes} (counted from 0); give all names"
        ));
    }
    let mut cells: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let (mut of_class, mut correct, mut in_five, mut put) =
        (vec![0; classes], vec![0; classes], vec![0; classes], vec![0; classes]);
    for (nearest, &label) in nearest.iter().zip(labels) {
        let (predicted, class) = (nearest[0], label as usize);
        *cells.entry((label, predicted)).or_default() += 1;
        of_class[class] += 1;
        put[predicted as usize] += 1;
        correct[class] += usize::from(predicted == label);
        in_five[class] += usize::from(nearest.iter().take(5).any(|&near| near == label));
    }
    let recalls: Vec<f64> =
        (0..classes).filter_map(|class| percent(correct[class], of_class[class])).collect();
    let five = |part: usize, of: usize| if classes >= 5 { percent(part, of) } else { None };
    Ok(ClassificationReport {
        prompts: prompts.name().into(),
        prompts_per_class: prompts.len(),
        images,
        classes,
        top1: 100.0 * correct.iter().sum::<usize>() as f64 / images as f64,
        top5: five(in_five.iter().sum(), images),
        mean_per_class_recall: recalls.iter().sum::<f64>() / recalls.len() as f64,
        per_class: (0..classes)
            .map(|class| ClassFigures {
                class: names[class].clone(),
                images: of_class[class],
                recall: percent(correct[class], of_class[class]),
                recall_at_5: five(in_five[class], of_class[class]),
                precision: percent(correct[class], put[class]),
            })
            .collect(),
        confusion: cells
            .into_iter()
            .map(|((class, predicted), images)| Confusion {
                class: names[class as usize].clone(),
                predicted: names[predicted as usize].clone(),
                images,
            })
            .collect(),
    })
}

impl fmt::Display for ClassificationReport {
    /// The figures, the classes that are recognised worst, and what classes are taken for most often.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} images, {} classes, {} prompts a class ({})",
            self.images, self.classes, self.prompts_per_class, self.prompts
        )?;
        let top5 = self.top5.map_or("–".into(), |top5| format!("{top5:.2}"));
        writeln!(
            f,
            "top-1 {:.2}   top-5 {top5}   mean per class {:.2}",
            self.top1, self.mean_per_class_recall
        )?;
        let mut worst: Vec<&ClassFigures> = self.per_class.iter().filter(|class| class.images > 0).collect();
        worst.sort_by(|a, b| a.recall.unwrap_or(0.0).total_cmp(&b.recall.unwrap_or(0.0)));
        writeln!(f, "\n{:>7}  {:>6}  class (lowest recall first)", "recall", "images")?;
        for class in worst.iter().take(SHOWN) {
            writeln!(f, "{:7.2}  {:6}  {}", class.recall.unwrap_or(0.0), class.images, class.class)?;
        }
        let mut mixed: Vec<&Confusion> =
            self.confusion.iter().filter(|cell| cell.class != cell.predicted).collect();
        mixed.sort_by_key(|cell| std::cmp::Reverse(cell.images));
        if !mixed.is_empty() {
            writeln!(f, "\n{:>6}  taken for", "images")?;
        }
        for cell in mixed.iter().take(SHOWN) {
            writeln!(f, "{:6}  {} → {}", cell.images, cell.class, cell.predicted)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Prompts;
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("c{i}")).collect()
    }

    #[test]
    fn figures_worked_out_by_hand() {
        // Class 0: both right. Class 1: one right, one taken for 0 with 1 in third place. Class 2: taken for 5, own class sixth.
        let nearest = [
            vec![0, 1, 2, 3, 4],
            vec![0, 1, 2, 3, 4],
            vec![1, 0, 2, 3, 4],
            vec![0, 2, 1, 3, 4],
            vec![5, 4, 3, 1, 0],
        ];
        let report = report(&nearest, &[0, 0, 1, 1, 2], &names(6), &Prompts::plain()).unwrap();
        assert_eq!((report.images, report.classes, report.top1, report.top5), (5, 6, 60.0, Some(80.0)));
        assert_eq!(report.mean_per_class_recall, 50.0);
        let class = |i: usize| {
            let c = &report.per_class[i];
            (c.images, c.recall, c.recall_at_5, c.precision)
        };
        assert_eq!(class(0), (2, Some(100.0), Some(100.0), Some(200.0 / 3.0)));
        assert_eq!(class(1), (2, Some(50.0), Some(100.0), Some(100.0)));
        assert_eq!(class(2), (1, Some(0.0), Some(0.0), None));
        assert_eq!(class(5), (0, None, None, Some(0.0)));
        let cells: Vec<(&str, &str, usize)> =
            report.confusion.iter().map(|c| (c.class.as_str(), c.predicted.as_str(), c.images)).collect();
        assert_eq!(cells, [("c0", "c0", 2), ("c1", "c0", 1), ("c1", "c1", 1), ("c2", "c5", 1)]);

        let text = report.to_string();
        assert!(text.contains("top-1 60.00   top-5 80.00   mean per class 50.00"), "{text}");
        assert!(text.contains("c2 → c5") && !text.contains("c0 → c0"), "{text}");
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""top-1":60.0"#));
        assert_eq!(serde_json::from_str::<ClassificationReport>(&json).unwrap(), report);
    }

    #[test]
    fn few_classes_have_no_top_5_and_bad_lists_are_refused() {
        let few = report(&[vec![1, 0]], &[1], &names(2), &Prompts::plain()).unwrap();
        assert_eq!((few.top1, few.top5, few.mean_per_class_recall), (100.0, None, 100.0));
        for (nearest, labels, classes) in [
            (vec![], vec![], 2),
            (vec![vec![0, 1]], vec![0, 1], 2),
            (vec![vec![0]], vec![0], 2),
            (vec![vec![0, 2]], vec![0], 2),
            (vec![vec![0, 1]], vec![2], 2),
            (vec![vec![]], vec![0], 0),
        ] {
            assert!(report(&nearest, &labels, &names(classes), &Prompts::plain()).is_err());
        }
    }
}
