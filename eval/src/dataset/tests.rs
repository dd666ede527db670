use super::*;

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
