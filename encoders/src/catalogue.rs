//! Models of the hub that are known to work, as `pictor model list` shows them.
//!
//! The figures are published ones, each with its source; none was measured here. Sizes are not looked up but worked out, four
//! bytes a parameter, and are shown as such.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// A model of a hub.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueModel {
    /// `organisation/name`, as `pictor model add` takes it.
    pub id: String,
    /// How its repository is laid out: `immich` or `transformers.js`.
    pub layout: String,
    /// Who trained it, and how.
    pub family: String,
    /// Components of an embedding.
    pub dim: usize,
    /// Side of the model's image, pixels.
    pub image_side: u32,
    /// Parameters of both towers, counted in open_clip's model of the same name; absent where open_clip has none.
    pub parameters: Option<u64>,
    /// Licence of the weights, as the model's page abbreviates it.
    pub license: String,
    /// Published quality, where there is any.
    pub coco_r1: Option<CocoRecall>,
}

/// Zero-shot R@1 on 5,000 images of COCO, in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CocoRecall {
    /// Text → image.
    pub text_to_image: f32,
    /// Image → text.
    pub image_to_text: f32,
    /// Key of [`sources`].
    pub source: String,
}

impl CatalogueModel {
    /// Bytes of the weights in float32, four a parameter: what a download comes to, but for tokenizer and graph structure.
    pub fn fp32_bytes(&self) -> Option<u64> {
        self.parameters.map(|parameters| 4 * parameters)
    }
}

#[derive(Deserialize)]
struct Catalogue {
    sources: BTreeMap<String, String>,
    models: Vec<CatalogueModel>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../models/catalogue.json"))
        .expect("the catalogue inside the binary is sound; this is a bug")
});

/// All of them, by published text → image R@1, best first.
pub fn models() -> &'static [CatalogueModel] {
    &CATALOGUE.models
}

/// Where the figures come from: key → publication and protocol.
pub fn sources() -> &'static BTreeMap<String, String> {
    &CATALOGUE.sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Source;

    #[test]
    fn every_entry_can_be_added_and_names_its_source() {
        assert!(models().len() >= 40);
        for model in models() {
            assert!(matches!(Source::parse(&model.id), Ok(Source::Hub(_))), "{}", model.id);
            assert!(["immich", "transformers.js"].contains(&model.layout.as_str()), "{}", model.id);
            if let Some(recall) = &model.coco_r1 {
                assert!(sources().contains_key(&recall.source), "{}", model.id);
                assert!(
                    (20.0..80.0).contains(&recall.text_to_image)
                        && recall.image_to_text > recall.text_to_image
                );
            }
        }
        let ids: std::collections::BTreeSet<_> = models().iter().map(|model| &model.id).collect();
        assert_eq!(ids.len(), models().len(), "an id twice");
        let recall =
            |model: &CatalogueModel| model.coco_r1.as_ref().map_or(0.0, |recall| recall.text_to_image);
        assert!(models().is_sorted_by(|a, b| recall(a) >= recall(b)));
    }
}
