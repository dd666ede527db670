//! Published figures to hold ours against, from `models/published.json`. None was measured here.
//!
//! What must stay true: an anchor is a row of the publication that it names, and is shown with its source, and with "fine-tuned"
//! where its model has seen the test set's training half: the rerankers all have, so beside a zero-shot figure they are no like.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::report::{DatasetSummary, Ranking, RetrievalReport, Run};
use crate::table::{Kind, Table};
use crate::words;

/// MS-COCO, Karpathy's test split: 5,000 images, about 25,010 captions.
pub const COCO: &str = "coco-5k-karpathy";
/// Flickr30k's test split: 1,000 images, 5,000 captions.
pub const FLICKR30K: &str = "flickr30k";

/// Published figures of one model on one dataset.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Its name where it was published.
    pub model: String,
    /// [`COCO`] or [`FLICKR30K`].
    pub dataset: String,
    /// Text → image.
    pub text_to_image: PublishedRecall,
    /// Image → text.
    pub image_to_text: PublishedRecall,
    /// What the model was trained on.
    pub setting: Setting,
    /// What else must be said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Key of [`sources`].
    pub source: String,
    /// Repositories of the hub with the same weights.
    pub hub: Vec<String>,
}

/// R@K in percent, where published.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedRecall {
    /// R@1.
    #[serde(rename = "R@1")]
    pub r1: Option<f64>,
    /// R@5.
    #[serde(rename = "R@5")]
    pub r5: Option<f64>,
    /// R@10.
    #[serde(rename = "R@10")]
    pub r10: Option<f64>,
}

/// What a model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Not the dataset's training split.
    ZeroShot,
    /// The training split of COCO or Flickr30k.
    FineTuned,
}

#[derive(Deserialize)]
struct Published {
    sources: BTreeMap<String, String>,
    anchors: Vec<Anchor>,
}

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../models/published.json"))
        .expect("the published figures inside the binary are sound; this is a bug")
});

/// All of them: by dataset, zero-shot before fine-tuned, best text → image R@1 first.
pub fn all() -> &'static [Anchor] {
    &PUBLISHED.anchors
}

/// Where figures come from: key → publication and protocol.
pub fn sources() -> &'static BTreeMap<String, String> {
    &PUBLISHED.sources
}

/// The dataset of [`Anchor::dataset`] that this one is, by its size and its name; `None` for any other.
pub fn dataset_of(dataset: &DatasetSummary) -> Option<&'static str> {
    // The captions' own file says which set it is even where the name that people gave it does not.
    let says = |word: &str| {
        let paths = dataset.sources.values().chain([&dataset.name]);
        paths.into_iter().any(|text| text.to_lowercase().contains(word))
    };
    // Other positives, other figures.
    if dataset.relevance != "captions" {
        return None;
    }
    match (dataset.images, dataset.captions) {
        (5_000, 25_000..=25_010) if says("coco") => Some(COCO),
        (1_000, 5_000) if says("flickr30k") || says("f30k") => Some(FLICKR30K),
        _ => None,
    }
}

/// The figures on `dataset` of a model: one that is named as in the publication, by a repository of the hub, or by its last
/// part (`ViT-B-32__openai`). Capitals do not count.
pub fn find(dataset: &str, model: &str) -> Option<&'static Anchor> {
    let same = |name: &str| name.eq_ignore_ascii_case(model);
    all().iter().filter(|anchor| anchor.dataset == dataset).find(|anchor| {
        let ids = anchor.hub.iter().flat_map(|id| [id.as_str(), id.rsplit('/').next().unwrap_or(id)]);
        ids.chain([anchor.model.as_str()]).any(same)
    })
}

/// Anchors to show with a report.
pub(crate) struct Beside {
    /// How they compare with the report's own figures, in a sentence or two.
    pub remark: &'static str,
    /// Whether the report is of the anchors' dataset.
    pub same_data: bool,
    /// The report's own models, and the best of each setting.
    pub near: Vec<&'static Anchor>,
    /// All others on the dataset.
    pub others: Vec<&'static Anchor>,
}

/// What a reader would look up: the anchors on the report's dataset, or on COCO where there are none, which `remark` then says.
/// `None` for a report without runs.
pub(crate) fn beside(report: &RetrievalReport) -> Option<Beside> {
    let known = dataset_of(&report.dataset);
    let dataset = known.unwrap_or(COCO);
    let remark = match known {
        Some(COCO) => {
            "Published, not measured here: COCO, Karpathy's test split. Rows marked fine-tuned were trained on COCO and do not \
             compare with zero-shot ones."
        }
        Some(_) => {
            "Published, not measured here: Flickr30k's test split. Rows marked fine-tuned were trained on COCO or Flickr30k \
             and do not compare with zero-shot ones."
        }
        None => {
            "Published, not measured here, and of another dataset: COCO, Karpathy's test split (5,000 images). Figures of different \
             datasets do not compare; a smaller set gives higher ones."
        }
    };
    let mut near: Vec<&Anchor> = Vec::new();
    for run in &report.runs {
        let matcher = match &run.ranking {
            Ranking::Rerank { matcher, .. } => Some(matcher),
            _ => None,
        };
        let models = [Some(&run.model), matcher].into_iter().flatten();
        near.extend(models.filter_map(|model| find(dataset, &model.name)));
    }
    let of_dataset = || all().iter().filter(|anchor| anchor.dataset == dataset);
    for setting in [Setting::ZeroShot, Setting::FineTuned] {
        near.extend(of_dataset().find(|anchor| anchor.setting == setting));
    }
    let is_near = |anchor: &&'static Anchor| near.iter().any(|near| std::ptr::eq(*near, *anchor));
    let (near, others) = of_dataset().partition(is_near);
    (!report.runs.is_empty()).then_some(Beside { remark, same_data: known.is_some(), near, others })
}

/// Anchors as they are printed.
pub(crate) fn table(anchors: &[&Anchor]) -> Table {
    let mut columns = vec![("", "model", Kind::Words)];
    for group in ["text → image", "image → text"] {
        columns.extend(["R@1", "R@5", "R@10"].map(|title| (group, title, Kind::Figure)));
    }
    columns.extend([("", "setting", Kind::Words), ("", "source", Kind::Words)]);
    let mut table = Table::new(columns);
    table.rows = anchors.iter().map(|anchor| row(anchor.model.clone(), anchor)).collect();
    table
}

/// The published COCO figures of hub models in Markdown, by text → image R@1, best first: one row for the repositories of each
/// model that `known` has.
pub fn hub_table(known: &dyn Fn(&str) -> bool) -> String {
    let mut rows = Vec::new();
    for anchor in all().iter().filter(|anchor| anchor.dataset == COCO) {
        let ids: Vec<&str> = anchor.hub.iter().map(String::as_str).filter(|id| known(id)).collect();
        if !ids.is_empty() {
            rows.push((anchor.text_to_image.r1.unwrap_or(0.0), row(ids.join(", "), anchor)));
        }
    }
    rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut table = table(&[]);
    table.rows = rows.into_iter().map(|(_, row)| row).collect();
    table.markdown()
}

fn row(name: String, anchor: &Anchor) -> Vec<String> {
    let mut row = vec![name];
    for recall in [anchor.text_to_image, anchor.image_to_text] {
        row.extend([recall.r1, recall.r5, recall.r10].map(|value| words::number(value, 1)));
    }
    let setting = match anchor.setting {
        Setting::ZeroShot => "zero-shot",
        Setting::FineTuned => "fine-tuned",
    };
    row.extend([anchor.note.as_deref().unwrap_or(setting).into(), anchor.source.clone()]);
    row
}

/// Whether a run ranked images of an index beside those of the dataset, which makes every figure harder.
pub(crate) fn has_further_images(run: &Run, of_dataset: usize) -> bool {
    matches!(run.ranking, Ranking::Index { images, .. } if images > of_dataset)
}

/// A run of ours as a row among anchors, which are of the `same_data` or are not.
pub(crate) fn measured(run: &Run, same_data: bool) -> Vec<String> {
    let mut row = vec![run.label.clone()];
    for direction in [Some(&run.text_to_image), run.image_to_text.as_ref()] {
        let recall = direction.map(|direction| &direction.metrics);
        row.extend(
            [recall.map(|m| m.r1), recall.map(|m| m.r5), recall.map(|m| m.r10)]
                .map(|value| words::number(value, 1)),
        );
    }
    let setting = if same_data { "measured here" } else { "measured here, on other data" };
    row.extend([setting, "this report"].map(String::from));
    row
}
