//! ECCV Caption and CxC, in files of their layouts.

use super::super::*;

/// Two images with COCO's ids 11 and 12, three captions with ids 101, 102, 201.
fn dataset() -> Dataset {
    let caption = |image, id| Caption { image, text: String::new(), id };
    Dataset {
        name: String::new(),
        images: vec![ImageRef::File("11.jpg".into()), ImageRef::File("12.jpg".into())],
        image_names: vec!["11.jpg".into(), "12.jpg".into()],
        image_ids: vec![Some(11), Some(12)],
        captions: vec![caption(0, Some(101)), caption(0, Some(102)), caption(1, Some(201)), caption(1, None)],
        sources: BTreeMap::new(),
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs_err::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn eccv_caption_keeps_its_two_directions() {
    let texts = r#"{"101": [12, 11, 12], "999": [11, 12], "201": [13]}"#;
    let images = "\u{feff}{\"12\": [201, 101, 102], \"13\": [101]}";
    let files = [("eccv_caption_to_image.json", texts), ("eccv_image_to_caption.json", images)];
    let dir = folder(&files);
    for path in ["", "eccv_caption_to_image.json", "eccv_image_to_caption.json"] {
        let positives = Positives::read(&dataset(), &dir.path().join(path)).unwrap();
        assert_eq!(positives.images_of_text, [vec![0, 1], vec![], vec![], vec![]]);
        assert_eq!(positives.texts_of_image, [vec![], vec![0, 1, 2]]);
        assert_eq!((positives.source.as_str(), positives.outside), ("ECCV Caption", 4));
    }
    let others = folder(&[("cxc_caption_to_image.json", texts), ("cxc_image_to_caption.json", images)]);
    assert_eq!(
        Positives::read(&dataset(), &others.path().join("cxc_caption_to_image.json")).unwrap().source,
        "CxC"
    );
}

#[test]
fn cxc_counts_ratings_from_three_on() {
    let text = "\u{feff}caption,image,agg_score,sampling_method\r\n\
        COCO_val2014:sentid:101,COCO_val2014_000000000011.jpg,4.97,c2i_original\r\n\
        COCO_val2014:sentid:102,COCO_val2014_000000000011.jpg,2.99,c2i_original\r\n\
        COCO_val2014:sentid:201,COCO_val2014_000000000011.jpg,3,c2i_intrasim\r\n\
        COCO_val2014:sentid:201,COCO_val2014_000000000012.jpg,3.0,c2i_original\r\n\
        COCO_val2014:sentid:777,COCO_val2014_000000000012.jpg,5,c2i_original\r\n";
    let dir = folder(&[("sits_test.csv", text)]);
    for path in ["", "sits_test.csv"] {
        let positives = Positives::read(&dataset(), &dir.path().join(path)).unwrap();
        assert_eq!(positives.images_of_text, [vec![0], vec![], vec![0, 1], vec![]]);
        assert_eq!(positives.texts_of_image, [vec![0, 2], vec![2]]);
        assert_eq!((positives.source.as_str(), positives.outside), ("CxC", 1));
    }
}

#[test]
fn what_does_not_fit() {
    let heading = "caption,image,agg_score,sampling_method\n";
    let elsewhere = format!("{heading}x:sentid:7,COCO_val2014_000000000011.jpg,5,c2i_original\n");
    let broken = format!("{heading}x:sentid:101,COCO_val2014_000000000011.jpg,five,c2i_original\n");
    let short = format!("{heading}x:sentid:101\n");
    let dir = folder(&[
        ("sts_test.csv", "caption1,caption2,agg_score,sampling_method\n"),
        ("elsewhere.csv", &elsewhere),
        ("broken.csv", &broken),
        ("short.csv", &short),
        ("empty.csv", ""),
        ("other.json", "{}"),
        ("a_caption_to_image.json", "{\"1\": 2}"),
        ("b_caption_to_image.json", "{}"),
        ("b_image_to_caption.json", "{}"),
    ]);
    for (name, words) in [
        ("sts_test.csv", "its columns are caption1,caption2"),
        ("elsewhere.csv", "none of its pairs"),
        ("broken.csv", "line 2 is not"),
        ("short.csv", "line 2 is not"),
        ("empty.csv", "none of its pairs"),
        ("other.json", "rename it"),
        ("a_caption_to_image.json", "expected an object"),
        ("b_caption_to_image.json", "none of its pairs"),
        ("none.csv", "none.csv"),
        ("", "eccv_caption_to_image.json"),
    ] {
        let error = Positives::read(&dataset(), &dir.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
    let mut bare = dataset();
    bare.captions.iter_mut().for_each(|caption| caption.id = None);
    let error = Positives::read(&bare, &dir.path().join("elsewhere.csv")).unwrap_err().to_string();
    assert!(error.contains("captions_val2014.json"), "{error}");
    let mut twice = dataset();
    twice.image_ids[1] = Some(11);
    assert!(
        Positives::read(&twice, &dir.path().join("elsewhere.csv")).unwrap_err().to_string().contains("twice")
    );
}
