//! Webdatasets: packed here with the `tar` crate, cut and damaged by hand.

use tar::{Builder, EntryType, Header};

use super::super::*;

/// A shard with these members.
fn pack(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }
    dir
}

fn read(path: PathBuf, split: Option<&str>) -> Result<Dataset, EvalError> {
    Dataset::read(&DatasetOptions { captions: path, images: None, split: split.map(PathBuf::from) })
}

fn sample(number: u32) -> Vec<u8> {
    let key = format!("s{number:07}");
    let (image, text) = (format!("{key}.webp"), format!("{key}.txt"));
    let bytes = format!("image {number}").into_bytes();
    pack(&[(&image, &bytes), (&text, format!("caption {number}\n a second \\n ").as_bytes())])
}

#[test]
fn a_folder_as_clip_benchmark_writes_it() {
    let shards: Vec<(String, Vec<u8>)> = (0..11).map(|n| (format!("test/{n}.tar"), sample(n))).collect();
    let mut files: Vec<(&str, Vec<u8>)> =
        shards.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    files.push(("test/nshards.txt", b"11\n".to_vec()));
    files.push(("dataset_type.txt", b"retrieval\n".to_vec()));
    let dir = folder(&files);
    let pattern = |pattern: &str| dir.path().join(pattern);
    let all = [
        read(dir.path().into(), None),
        read(dir.path().into(), Some("test")),
        read(dir.path().join("test"), None),
        read(pattern("test/{0..10}.tar"), None),
        read(pattern("test/*.tar"), None),
        read(pattern("{test,test}/{0..0}.tar"), None),
    ];
    for dataset in &all[..5] {
        let dataset = dataset.as_ref().unwrap();
        assert_eq!((dataset.images.len(), dataset.captions.len()), (11, 22));
        // Shard 2 comes before shard 10.
        assert_eq!(dataset.image_names[2], "2.tar/s0000002.webp");
        assert_eq!(dataset.images[10].read().unwrap(), b"image 10");
        assert_eq!(dataset.images[10].name(), "s0000010.webp");
        assert_eq!((dataset.captions[21].image, dataset.captions[21].text.as_str()), (10, "a second \\n"));
        assert_eq!(dataset.hash(), all[0].as_ref().unwrap().hash());
    }
    assert!(all[5].as_ref().unwrap_err().to_string().contains("comes twice"));

    let words = |path: PathBuf, split| read(path, split).unwrap_err().to_string();
    assert!(words(dir.path().into(), Some("train")).contains("the splits test"));
    assert!(words(dir.path().join("test/0.tar"), Some("test")).contains("no split"));
    assert!(words(pattern("test/{0..11}.tar"), None).contains("11.tar is not there"));
    assert!(words(pattern("test/x*.tar"), None).contains("fits it"));
    fs_err::remove_file(dir.path().join("test/3.tar")).unwrap();
    assert!(words(dir.path().into(), None).contains("says 11 shards, there are 10"));
    let with_images =
        DatasetOptions { captions: dir.path().join("test/0.tar"), images: Some("x".into()), split: None };
    assert!(Dataset::read(&with_images).unwrap_err().to_string().contains("leave x out"));
}

#[test]
fn kinds_of_members() {
    let long = format!("{}/{}.jpg", "folder".repeat(20), "name".repeat(30));
    let long_txt = long.replace(".jpg", ".txt");
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("comment", "global".as_bytes())]).unwrap();
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        if name.ends_with('/') {
            header.set_entry_type(EntryType::Directory);
        }
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    add("folder/", b"");
    add("folder/._a.jpg", b"a resource fork");
    add("README", b"no sample");
    add("a.JPG", b"A");
    add("a.txt", "\u{feff}one\r\n\r\ntwo\u{2028}three".as_bytes());
    add("b.png", b"B");
    add("b.json", br#"{"caption": "a bee", "url": "x"}"#);
    add("c.seg.png", b"mask");
    add("c.jpeg", b"C");
    add("c.json", br#"{"captions": ["c1", "c2"]}"#);
    add("c.cls", b"3");
    add(&long, b"L");
    add(&long_txt, b"long");
    add("d.jpg", b"");
    add("d.txt", b"");
    let dir = folder(&[("x", builder.into_inner().unwrap())]);
    let dataset = read(dir.path().join("x"), None).unwrap();
    let bytes: Vec<Vec<u8>> = dataset.images.iter().map(|image| image.read().unwrap()).collect();
    assert_eq!(bytes, [b"A".to_vec(), b"B".to_vec(), b"C".to_vec(), b"L".to_vec(), vec![]]);
    let captions: Vec<(usize, &str)> = dataset.captions.iter().map(|c| (c.image, c.text.as_str())).collect();
    let wanted =
        [(0, "one"), (0, ""), (0, "two"), (0, "three"), (1, "a bee"), (2, "c1"), (2, "c2"), (3, "long")];
    assert_eq!(captions, wanted);
    assert_eq!(dataset.image_names[3], format!("x/{long}"));
    let ImageRef::Member { archive, .. } = &dataset.images[0] else { panic!("a member") };
    fs_err::write(archive, "short").unwrap();
    assert!(dataset.images[0].read().is_err());
}

#[test]
fn every_cut_is_an_error() {
    let whole = pack(&[("a.jpg", &[7; 700]), ("a.txt", b"one"), ("b.jpg", &[8; 10]), ("b.txt", b"two")]);
    let dir = folder(&[("whole.tar", whole.clone())]);
    let path = dir.path().join("whole.tar");
    assert_eq!(read(path.clone(), None).unwrap().images.len(), 2);
    // The last block of zeros is spare; all that comes before it is missed.
    for length in (0..whole.len() - 512).step_by(101).chain((0..whole.len() - 512).step_by(512)) {
        fs_err::write(&path, &whole[..length]).unwrap();
        assert!(read(path.clone(), None).is_err(), "{length} of {}", whole.len());
    }
    for at in (0..512).chain(1536..2048) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs_err::write(&path, flipped).unwrap();
        let _ = read(path.clone(), None);
    }
}

#[test]
fn samples_that_are_not_whole() {
    let jpg: &[u8] = b"x";
    let huge = vec![b'x'; (1 << 20) + 1];
    /// Members of a shard, and a word of the error.
    type Case<'a> = (&'a [(&'a str, &'a [u8])], &'a str);
    let cases: [Case<'_>; 11] = [
        (&[("a.jpg", jpg)], "no .txt"),
        (&[("a.jpg", jpg), ("a.cls", b"1")], "zeroshot"),
        (&[("a.txt", b"x")], "has no image"),
        (&[("a.jpg", jpg), ("b.jpg", jpg), ("a.txt", b"x"), ("b.txt", b"x")], "no image"),
        (&[("a.jpg", jpg), ("a.jpg", jpg), ("a.txt", b"x")], "twice"),
        (
            &[
                ("a.jpg", jpg),
                ("a.txt", b"x"),
                ("b.jpg", jpg),
                ("b.txt", b"x"),
                ("a.jpg", jpg),
                ("a.txt", b"x"),
            ],
            "comes twice",
        ),
        (&[("a.jpg", jpg), ("a.txt", b"\xff")], "no UTF-8"),
        (&[("a.jpg", jpg), ("a.txt", huge.as_slice())], "at most"),
        (&[("a.jpg", jpg), ("a.json", b"{}")], "neither caption"),
        (&[("a.jpg", jpg), ("a.json", b"x")], "makes no sense"),
        (&[("README", jpg)], "no samples"),
    ];
    for (members, words) in cases {
        let dir = folder(&[("x.tar", pack(members))]);
        let error = read(dir.path().join("x.tar"), None).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("x.tar"), "{words}: {error}");
    }
    let mut builder = Builder::new(Vec::new());
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "a.jpg", "b.jpg").unwrap();
    let dir = folder(&[
        ("link.tar", builder.into_inner().unwrap()),
        ("gzip.tar", vec![0x1f, 0x8b, 8, 0]),
        ("empty/readme", vec![]),
        ("two/a/0.tar", sample(0)),
        ("two/b/0.tar", sample(0)),
        ("odd/nshards.txt", b"many".to_vec()),
        ("odd/0.tar", sample(0)),
    ]);
    for (name, words) in [
        ("link.tar", "no plain file"),
        ("gzip.tar", "gunzip"),
        ("empty", "no .tar shards"),
        ("two", "the splits a, b"),
        ("odd", "no number"),
        ("none/{0..2", "not closed"),
        ("none.tar", "none.tar"),
    ] {
        let error = read(dir.path().join(name), None).unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
    }
}
