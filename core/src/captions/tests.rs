use std::error::Error;

use super::*;

fn pairs(text: &str) -> Vec<(String, Vec<String>)> {
    let entries = parse_captions(text).unwrap_or_else(|error| panic!("{error}"));
    entries.into_iter().map(|entry| (entry.image, entry.captions)).collect()
}

fn pair(image: &str, captions: &[&str]) -> (String, Vec<String>) {
    (image.into(), captions.iter().map(|&caption| caption.into()).collect())
}

#[test]
fn coco_keeps_images_in_order_and_images_without_captions() {
    let text = r#"{"info": {"year": 2017},
        "images": [{"id": 9, "file_name": "b.jpg", "height": 4}, {"id": 2, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "image_id": 2, "caption": " A cat.\n"}, {"image_id": 2, "caption": "Cats"}]}"#;
    assert_eq!(pairs(text), [pair("b.jpg", &[]), pair("a.jpg", &["A cat.", "Cats"])]);
}

#[test]
fn karpathy_in_all_three_shapes() {
    let dataset = r#"{"dataset": "coco", "images": [
        {"filepath": "val2014", "filename": "b.jpg", "split": "test", "sentences": [{"raw": "B", "tokens": []}]},
        {"filename": "a.jpg", "split": "train", "sentences": []}]}"#;
    let entries = parse_captions(dataset).unwrap();
    assert_eq!(pairs(dataset), [pair("val2014/b.jpg", &["B"]), pair("a.jpg", &[])]);
    assert_eq!(entries[0].split.as_deref(), Some("test"));

    let list = r#"[{"image": "x/b.jpg", "caption": ["B", "bee"]}, {"image": "a.jpg", "caption": "A"},
                   {"image": "a.jpg", "caption": "ay", "image_id": "coco_1"}]"#;
    assert_eq!(pairs(list), [pair("x/b.jpg", &["B", "bee"]), pair("a.jpg", &["A", "ay"])]);
}

#[test]
fn token_files_keep_quotes_and_tabs_of_a_caption() {
    let text = "\u{feff}b.jpg#0\tA \"STOP sign .\r\n\r\na #1.jpg#0\tone\ttwo\nb.jpg#1\t\n";
    assert_eq!(pairs(text), [pair("b.jpg", &["A \"STOP sign .", ""]), pair("a #1.jpg", &["one\ttwo"])]);
}

#[test]
fn tsv_and_csv_with_and_without_heading() {
    assert_eq!(pairs("file\tcaption\nb.jpg\tB"), [pair("b.jpg", &["B"])]);
    assert_eq!(pairs("image,caption\nb.jpg,\"B, \"\"bee\"\"\"\n"), [pair("b.jpg", &["B, \"bee\""])]);
    assert_eq!(
        pairs("b.jpg,two\r\nlines.jpg,\"x\ny\"\r\n"),
        [pair("b.jpg", &["two"]), pair("lines.jpg", &["x\ny"])]
    );
    assert_eq!(pairs("id,Caption,File_Name\n7,B,b.jpg"), [pair("b.jpg", &["B"])]);
}

#[test]
fn keeps_the_ids_of_coco_and_no_others() {
    let ids = |text: &str| -> Vec<(Option<u64>, Vec<Option<u64>>)> {
        parse_captions(text).unwrap().into_iter().map(|e| (e.id, e.caption_ids)).collect()
    };
    let official = r#"{"images": [{"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"id": 77, "image_id": 9, "caption": "x"}, {"image_id": 9, "caption": "y"}]}"#;
    assert_eq!(ids(official), [(Some(9), vec![Some(77), None])]);
    let karpathy = r#"{"images": [
        {"filename": "b.jpg", "cocoid": 9, "sentids": [77], "sentences": [{"raw": "x", "sentid": 77}]},
        {"filename": "a.jpg", "sentids": [0], "sentences": [{"raw": "x", "sentid": 0}]}]}"#;
    assert_eq!(ids(karpathy), [(Some(9), vec![Some(77)]), (None, vec![None])]);
    let named = r#"{"images": [{"id": "b", "file_name": "b.jpg"}],
        "annotations": [{"id": "c", "image_id": "b", "caption": "x"}]}"#;
    assert_eq!(ids(named), [(None, vec![None])]);
    assert_eq!(ids("b.jpg#0\tB"), [(None, vec![None])]);
}

#[test]
fn flickr30k_with_bars() {
    let text = "\u{feff}image_name| comment_number| comment\r\n1.jpg| 0| Two \"men\", a | b .\r\n\r\n1.jpg| 1|\r\n\
                2.jpg| 4   A dog runs across the grass .\r\n";
    let read =
        [pair("1.jpg", &["Two \"men\", a | b .", ""]), pair("2.jpg", &["A dog runs across the grass ."])];
    assert_eq!(pairs(text), read);
    assert_eq!(pairs("1.jpg| 0| A dog\n2.jpg|1|B"), [pair("1.jpg", &["A dog"]), pair("2.jpg", &["B"])]);
    let error = |text: &str| parse_captions(text).expect_err(text).to_string();
    assert!(error("1.jpg| 0| A\n2.jpg").starts_with("line 2: fewer than two bars"));
    assert!(error("1.jpg| 0| A\n2.jpg| x| B").starts_with("line 2: 'x' between"));
    assert!(error("1.jpg| 0| A\n | 1| B").starts_with("line 2: the image name is empty"));
}

#[test]
fn bare_commas_under_the_heading_of_clip_benchmark() {
    let text =
        "image,caption\r\n1.jpg,A man, in a hat, says \"hi\", twice\r\n2.jpg,\"B, quoted\"\r\n1.jpg,one\r\n";
    let read =
        [pair("1.jpg", &["A man, in a hat, says \"hi\", twice", "one"]), pair("2.jpg", &["B, quoted"])];
    assert_eq!(pairs(text), read);
    // Without the heading, or when the first column is no image, nothing says where a caption starts.
    assert!(parse_captions("1.jpg,a\n2.jpg,b,c").is_err());
    assert!(parse_captions("image,caption\nx,b,c").is_err());
}

#[test]
fn says_where_it_went_wrong() {
    let error = |text: &str| parse_captions(text).expect_err(text).to_string();
    let cause = |text: &str| parse_captions(text).expect_err(text).source().expect(text).to_string();
    assert!(matches!(parse_captions(" \n"), Err(CaptionsError::Empty)));
    assert!(matches!(parse_captions("image,caption\n"), Err(CaptionsError::Empty)));
    assert!(matches!(parse_captions("[]"), Err(CaptionsError::Empty)));
    assert!(matches!(parse_captions("{\"images\": ["), Err(CaptionsError::Json(_))));
    assert!(error("a.jpg\tA\nb.jpg B").starts_with("line 2: no tab"));
    assert!(error("a.jpg\tA\n\t B").starts_with("line 2: the image name is empty"));
    assert!(error("a.jpg,A\nb.jpg,one,two").starts_with("line 2: 3 columns instead of 2"));
    assert!(error("just words").starts_with("line 1: 1 columns instead of 2"));
    assert!(cause(r#"[{"image": "a.jpg"}]"#).contains("missing field `caption`"));
    assert!(
        error(r#"{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": []}]}"#)
            .contains("lacks `caption`")
    );
    assert!(error(r#"{"images": [], "annotations": [{"image_id": 5, "caption": "x"}]}"#).contains("id 5"));
    assert!(error(r#"{"images": [{"filename": "a"}]}"#).contains("`sentences`"));
}
