//! Published figures: sound rows, the catalogue's own among them, and the document that shows them.

use pictor_eval::anchors::{self, COCO, FLICKR30K, Setting};

fn catalogue() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../models/catalogue.json")).unwrap()
}

#[test]
fn rows_are_sound_and_name_their_source() {
    assert!(anchors::all().len() > 90);
    for anchor in anchors::all() {
        assert!(anchors::sources().contains_key(&anchor.source), "{anchor:?}");
        assert!([COCO, FLICKR30K].contains(&anchor.dataset.as_str()), "{anchor:?}");
        assert_eq!(anchor.setting == Setting::FineTuned, anchor.note.is_some(), "{anchor:?}");
        for recall in [anchor.text_to_image, anchor.image_to_text] {
            let known: Vec<f64> = [recall.r1, recall.r5, recall.r10].into_iter().flatten().collect();
            assert!(
                recall.r1.is_some() && known.is_sorted() && known.iter().all(|r| (20.0..=100.0).contains(r)),
                "{anchor:?}"
            );
        }
        let twins = anchors::all().iter().filter(|a| a.dataset == anchor.dataset && a.model == anchor.model);
        assert_eq!(twins.count(), 1, "{anchor:?}");
    }
}

#[test]
fn the_catalogue_says_the_same() {
    for model in catalogue()["models"].as_array().unwrap() {
        let id = model["id"].as_str().unwrap();
        let anchor = anchors::find(COCO, id);
        let Some(recall) = model["coco_r1"].as_object() else {
            assert!(anchor.is_none(), "{id}");
            continue;
        };
        let anchor = anchor.unwrap_or_else(|| panic!("{id} is not in published.json"));
        assert_eq!(anchor.text_to_image.r1, recall["text_to_image"].as_f64(), "{id}");
        assert_eq!(anchor.image_to_text.r1, recall["image_to_text"].as_f64(), "{id}");
        assert_eq!(anchor.source, recall["source"], "{id}");
    }
}

#[test]
fn a_model_is_found_by_each_of_its_names() {
    for name in
        ["ViT-B-32, openai", "immich-app/ViT-B-32__openai", "vit-b-32__OpenAI", "clip-vit-base-patch32"]
    {
        assert_eq!(anchors::find(COCO, name).unwrap().text_to_image.r10, Some(66.9), "{name}");
    }
    assert_eq!(anchors::find(FLICKR30K, "ViT-B-32__openai").unwrap().image_to_text.r1, Some(78.9));
    assert!(anchors::find(COCO, "pictor-mini").is_none() && anchors::find(COCO, "").is_none());
}

#[test]
fn a_dataset_is_known_by_size_and_name() {
    let mut dataset = crate::made_up::report(&[]).dataset;
    assert_eq!(anchors::dataset_of(&dataset), Some(FLICKR30K));
    dataset.sources.clear();
    assert_eq!(anchors::dataset_of(&dataset), None);
    (dataset.name, dataset.images, dataset.captions) = ("COCO test".into(), 5_000, 25_010);
    assert_eq!(anchors::dataset_of(&dataset), Some(COCO));
    dataset.images = 4_999;
    assert_eq!(anchors::dataset_of(&dataset), None);
}

/// `models/PUBLISHED.md` is made by this test: with `PICTOR_WRITE_DOCS=1` it writes it.
#[test]
fn the_document_holds_the_table() {
    let catalogue = catalogue();
    let ids: Vec<&str> =
        catalogue["models"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    let sources = anchors::sources().iter().filter(|(key, _)| {
        anchors::all().iter().any(|a| a.source == **key && a.hub.iter().any(|id| ids.contains(&id.as_str())))
    });
    let sources: String = sources.map(|(key, says)| format!("- {key}: {says}\n")).collect();
    let document = format!(
        "# Published figures of the models in the catalogue\n\nMS-COCO, Karpathy's test split: 5,000 images, all captions; percent. \
         **Published by others, not measured here.** All rows, with the rerankers and Flickr30k: [`published.json`](published.json).\n\n{}\n{sources}",
        anchors::hub_table(&|id| ids.contains(&id))
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/PUBLISHED.md");
    if std::env::var_os("PICTOR_WRITE_DOCS").is_some() {
        fs_err::write(path, &document).unwrap();
    }
    let held = fs_err::read_to_string(path).unwrap_or_default();
    assert_eq!(held, document, "run the test with PICTOR_WRITE_DOCS=1 to write {path}");
}
