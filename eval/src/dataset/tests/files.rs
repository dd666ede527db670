use super::super::*;

/// A folder with these (empty) images and a caption file.
fn folder(images: &[&str], captions: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for image in images {
        let path = dir.path().join("images").join(image);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "").unwrap();
    }
    fs_err::write(dir.path().join("captions"), captions).unwrap();
    dir
}

fn read(dir: &tempfile::TempDir, split: Option<&str>) -> Result<Dataset, EvalError> {
    let at = |name: &str| dir.path().join(name);
    // A split argument is a file of the folder where there is one, else a name.
    let split = split.map(|name| if at(name).exists() { at(name) } else { PathBuf::from(name) });
    Dataset::read(&DatasetOptions { captions: at("captions"), images: Some(at("images")), split })
}

fn summary(dataset: &Dataset) -> (Vec<String>, Vec<(usize, &str)>) {
    let name = |image: &ImageRef| image.file().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let captions = dataset.captions.iter().map(|c| (c.image, c.text.as_str())).collect();
    (dataset.images.iter().map(name).collect(), captions)
}

const FLICKR: &str = "b.jpg#0\tA dog .\nb.jpg#1\tA brown dog .\na.jpg#0\tA cat .\nc.jpg#0\tA cow .\n";

#[test]
fn flickr_tokens_with_a_split_list() {
    let dir = folder(&["a.jpg", "b.jpg"], FLICKR);
    fs_err::write(dir.path().join("dev.txt"), "a.jpg\r\nb.jpg\r\n\r\n").unwrap();
    let dataset = read(&dir, Some("dev.txt")).unwrap();
    let (images, captions) = summary(&dataset);
    assert_eq!(images, ["b.jpg", "a.jpg"]);
    assert_eq!(captions, [(0, "A dog ."), (0, "A brown dog ."), (1, "A cat .")]);
    assert_eq!(dataset.image_of_text(), [0, 0, 1]);
    assert_eq!(dataset.texts().collect::<Vec<_>>(), ["A dog .", "A brown dog .", "A cat ."]);

    fs_err::write(dir.path().join("stems.txt"), "a").unwrap();
    assert_eq!(summary(&read(&dir, Some("stems.txt")).unwrap()).0, ["a.jpg"]);
}

#[test]
fn coco_captions_keep_images_without_captions() {
    let dir = folder(
        &["1.jpg", "2.jpg"],
        r#"{"images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
            "annotations": [{"id": 5, "image_id": 1, "caption": "a bus"}]}"#,
    );
    let dataset = read(&dir, None).unwrap();
    let (images, captions) = summary(&dataset);
    assert_eq!((images.len(), captions), (2, vec![(0, "a bus")]));
}

#[test]
fn karpathy_list_with_sub_folders_or_without() {
    let captions = r#"[{"image": "val2014/x.jpg", "caption": ["a bus", "a red bus"]}]"#;
    for place in ["val2014/x.jpg", "x.jpg"] {
        let dir = folder(&[place], captions);
        let dataset = read(&dir, None).unwrap();
        assert!(dataset.images[0].file().unwrap().ends_with(place));
        assert_eq!(dataset.captions.len(), 2);
    }
}

#[test]
fn karpathy_dataset_with_its_own_splits() {
    let dir = folder(
        &["1.jpg", "2.jpg"],
        r#"{"images": [{"filename": "1.jpg", "split": "train", "sentences": [{"raw": "one"}]},
                       {"filename": "2.jpg", "split": "test", "sentences": [{"raw": "two"}]}]}"#,
    );
    assert_eq!(summary(&read(&dir, Some("test")).unwrap()), (vec!["2.jpg".into()], vec![(0, "two")]));
    assert_eq!(read(&dir, None).unwrap().images.len(), 2);
    let error = read(&dir, Some("dev")).unwrap_err().to_string();
    assert!(error.contains("'dev'") && error.contains("test, train"), "{error}");
}

#[test]
fn csv_with_a_heading() {
    let dir = folder(&["a.jpg"], "image,caption\na.jpg,\"A cat, asleep .\"\n");
    assert_eq!(summary(&read(&dir, None).unwrap()).1, [(0, "A cat, asleep .")]);
}

#[test]
fn missing_images_are_counted_and_named() {
    let dir = folder(&["a.jpg"], FLICKR);
    let error = read(&dir, None).unwrap_err();
    assert!(matches!(error, EvalError::MissingImages { count: 2, of: 3, .. }), "{error}");
    assert!(error.to_string().contains("first: b.jpg, c.jpg"), "{error}");
}

#[test]
fn a_list_must_fit_the_captions() {
    let dir = folder(&["a.jpg"], FLICKR);
    fs_err::write(dir.path().join("dev.txt"), "a.jpg\nzebra.jpg\n").unwrap();
    let error = read(&dir, Some("dev.txt")).unwrap_err();
    assert!(matches!(&error, EvalError::NotInCaptions { count: 1, first, .. } if first == &["zebra.jpg"]));
}

#[test]
fn one_file_is_not_two_images() {
    let captions = r#"[{"image": "x/1.jpg", "caption": "a"}, {"image": "y/1.jpg", "caption": "b"}]"#;
    let dir = folder(&["1.jpg"], captions);
    assert!(matches!(read(&dir, None), Err(EvalError::SameFile { .. })));
    assert_eq!(read(&folder(&["x/1.jpg", "y/1.jpg"], captions), None).unwrap().images.len(), 2);
}

#[test]
fn what_cannot_be_read_says_where() {
    let dir = folder(&[], "");
    let error =
        Dataset::read(&DatasetOptions { captions: dir.path().join("none.json"), ..Default::default() })
            .unwrap_err();
    assert!(error.to_string().contains("none.json"), "{error}");
    let error = read(&dir, None).unwrap_err();
    assert!(matches!(error, EvalError::Captions { .. }), "{error}");
    let empty = folder(&["a.jpg"], r#"[{"image": "a.jpg", "caption": []}]"#);
    assert!(matches!(read(&empty, None), Err(EvalError::Nothing { images: 1, captions: 0 })));
}

#[test]
fn splits_in_every_spelling() {
    let captions = r#"{"images": [{"id": 11, "file_name": "COCO_val2014_000000000011.jpg"},
                                  {"id": 12, "file_name": "COCO_val2014_000000000012.jpg"},
                                  {"id": 13, "file_name": "COCO_val2014_000000000013.jpg"}],
        "annotations": [{"id": 1, "image_id": 11, "caption": "a"}, {"id": 2, "image_id": 12, "caption": "b"},
                        {"id": 3, "image_id": 13, "caption": "c"}]}"#;
    let all =
        ["COCO_val2014_000000000011.jpg", "COCO_val2014_000000000012.jpg", "COCO_val2014_000000000013.jpg"];
    let dir = folder(&all, captions);
    for list in [
        "COCO_val2014_000000000013.jpg\nCOCO_val2014_000000000011.jpg",
        "val2014/COCO_val2014_000000000011.jpg 11\nval2014/COCO_val2014_000000000013.jpg 13",
        "\u{feff}11\r\n13\r\n",
        "[13, 11]",
        r#"["COCO_val2014_000000000011", "val2014/COCO_val2014_000000000013.jpg"]"#,
        // Karpathy's split as BLIP and LAVIS have it.
        r#"[{"image": "val2014/COCO_val2014_000000000013.jpg", "caption": ["c"]},
            {"image": "val2014/COCO_val2014_000000000011.jpg", "caption": ["a"]}]"#,
    ] {
        fs_err::write(dir.path().join("list"), list).unwrap();
        let dataset = read(&dir, Some("list")).unwrap_or_else(|error| panic!("{list}: {error}"));
        assert_eq!(dataset.image_ids, [Some(11), Some(13)], "{list}");
        assert_eq!(dataset.captions.iter().map(|c| c.id).collect::<Vec<_>>(), [Some(1), Some(3)]);
        assert_eq!((dataset.name.as_str(), dataset.sources.len()), ("captions, list", 3));
    }
    for bad in ["{}", "[{}]", "14", "[14]"] {
        fs_err::write(dir.path().join("list"), bad).unwrap();
        assert!(read(&dir, Some("list")).is_err(), "{bad}");
    }
}

#[test]
fn ids_come_from_names_where_the_file_has_none() {
    assert_eq!(coco_id("val2014/COCO_val2014_000000391895.jpg"), Some(391_895));
    assert_eq!(coco_id("000000222235.jpg"), Some(222_235));
    for other in
        ["391895.jpg", "1000092795.jpg", "COCO_x.jpg", "COCO_val2014_391895.jpg", "é0000000000.jpg", ""]
    {
        assert_eq!(coco_id(other), None, "{other}");
    }
}

#[test]
fn images_default_to_the_folder_of_the_captions() {
    let dir = folder(&[], "x.jpg#0\tA dog .");
    fs_err::write(dir.path().join("x.jpg"), "image").unwrap();
    let captions = dir.path().join("captions");
    let dataset = Dataset::read(&DatasetOptions { captions, ..Default::default() }).unwrap();
    assert_eq!(dataset.images[0].read().unwrap(), b"image");
    assert_eq!(dataset.images[0].name(), dir.path().join("x.jpg").to_string_lossy());
}

#[test]
fn the_hash_is_of_names_and_captions_alone() {
    let hash = |images: &[&str], captions: &str| read(&folder(images, captions), None).unwrap().hash();
    let one = hash(&["a.jpg", "b.jpg"], "a.jpg#0\tA\nb.jpg#0\tB");
    assert_eq!(one.len(), 64);
    assert_eq!(one, hash(&["x/a.jpg", "a.jpg", "b.jpg"], "\u{feff}a.jpg#0\tA\r\nb.jpg#0\t B \r\n"));
    for other in ["b.jpg#0\tB\na.jpg#0\tA", "a.jpg#0\tA\nb.jpg#0\tC", "a.jpg#0\tA\na.jpg#1\tB\nb.jpg#0\tB"] {
        assert_ne!(one, hash(&["a.jpg", "b.jpg"], other));
    }
}

#[test]
fn the_karpathy_test_split() {
    let shared = std::env::var_os("PICTOR_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let file = shared.join("data/coco_karpathy_test.json");
    let Ok(text) = fs_err::read_to_string(&file) else {
        eprintln!("NOT RUN: {} is absent (set PICTOR_SHARED)", file.display());
        return;
    };
    let entries = pictor_core::parse_captions(&text).unwrap();
    let captions: usize = entries.iter().map(|entry| entry.captions.len()).sum();
    assert_eq!((entries.len(), captions), (5_000, 25_010));
    assert!(entries.iter().all(|entry| coco_id(&entry.image).is_some()));

    // As a dataset, over empty files: reading decodes nothing.
    let dir = tempfile::tempdir().unwrap();
    for entry in &entries {
        let name = entry.image.rsplit('/').next().unwrap();
        fs_err::write(dir.path().join(name), "").unwrap();
    }
    let images = Some(dir.path().to_owned());
    let dataset = Dataset::read(&DatasetOptions { captions: file, images, split: None }).unwrap();
    assert_eq!((dataset.images.len(), dataset.captions.len()), (5_000, 25_010));
    assert_eq!(dataset.image_ids[0], Some(391_895));
    assert!(dataset.captions.windows(2).all(|pair| pair[0].image <= pair[1].image));
}
