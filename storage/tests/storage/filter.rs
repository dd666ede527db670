//! Filters over a real index: what they match, against an evaluator that is obviously right; and what they refuse.

use std::collections::BTreeMap;

use pictor_core::{Attribute, ImageId, ImageRecord, RasterSize};
use pictor_storage::{Filter, FilterError, Snapshot, StorageError, Store};
use proptest::prelude::*;

use crate::{check_consistent, new_store, put, record, vector};

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The ids that a filter matches, by what a search returns of them.
fn matching(snapshot: &Snapshot, text: &str) -> Result<Vec<u64>, StorageError> {
    let filter = filter(text);
    let hits = snapshot.search_vectors(&vector("anything"), usize::MAX, None, Some(&filter))?;
    let mut ids: Vec<u64> = hits.iter().map(|hit| hit.id.0).collect();
    ids.sort_unstable();
    assert_eq!(snapshot.count_matches(&filter)?, ids.len(), "{text}");
    let few = snapshot.search_vectors(&vector("anything"), 3, None, Some(&filter))?;
    assert_eq!(few, hits[..3.min(hits.len())], "{text}");
    Ok(ids)
}

fn refusal(snapshot: &Snapshot, text: &str) -> FilterError {
    match matching(snapshot, text) {
        Err(StorageError::Filter(error)) => error,
        other => panic!("{text}: {other:?}"),
    }
}

fn with(uri: &str, caption: &str, attributes: &[(&str, Attribute)]) -> ImageRecord {
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    ImageRecord { attributes, ..record(uri, caption) }
}

fn text(text: &str) -> Attribute {
    Attribute::Text(text.into())
}

/// Six images, in two commits.
fn album() -> (tempfile::TempDir, Store) {
    use Attribute::{Bool, Float, Integer};
    let (dir, store) = new_store("auto");
    let mut writer = store.writer().unwrap();
    let mut add = |uri: &str, caption: &str, attributes: &[(&str, Attribute)]| {
        writer.put(with(uri, caption, attributes), &vector(uri)).unwrap();
        if uri.ends_with("3.jpg") {
            writer.commit().unwrap();
        }
    };
    add("/p/2020/0.jpg", "A dog on grass", &[("camera", text("Canon")), ("iso", Integer(100))]);
    add("/p/2020/1.jpg", "Two cats", &[("camera", text("Canon EOS R5")), ("taken", text("2020-05-17"))]);
    add("/p/2021/2.jpg", "Grass on a dog", &[("iso", Float(100.5)), ("flash", Bool(true))]);
    add("/P/2021/3.JPG", "t-shirt", &[("taken", text("2020-05-18T00:00:00Z")), ("exif.lens", text("x:y"))]);
    add(
        "/p/2021/3.jpg",
        "nothing",
        &[("iso", Integer(6400)), ("flash", Bool(false)), ("long name", text(""))],
    );
    add("/p/5.jpg", "a dog", &[("iso", text("auto")), ("taken", text("1950-01-01T12:00:00.5+02:00"))]);
    let size = Some(RasterSize { width: 1000, height: 10 });
    let big =
        ImageRecord { size, bytes: 9_000_000, modified_ns: Some(0), ..record("/p/6.jpg", "a dog runs") };
    writer.put(big, &vector("big")).unwrap();
    writer.commit().unwrap();
    drop(writer);
    (dir, store)
}

#[test]
fn compares_each_kind_of_value_as_what_it_is() {
    let (_dir, store) = album();
    let snapshot = store.snapshot().unwrap();
    let cases: &[(&str, &[u64])] = &[
        ("*", &[0, 1, 2, 3, 4, 5, 6]),
        ("camera:canon", &[0]),
        ("camera:CANON*", &[0, 1]),
        ("camera:\"canon eos r5\"", &[1]),
        ("camera:\"canon e\"*", &[1]),
        ("camera:kodak", &[]),
        ("camera:[a TO canon]", &[0]),
        ("camera:>canon", &[1]),
        ("camera:*", &[0, 1]),
        ("NOT camera:*", &[2, 3, 4, 5, 6]),
        ("uri:/p/2020*", &[0, 1]),
        ("uri:/p/2021/3.jpg", &[3, 4]),
        ("uri:/p/", &[]),
        ("iso:100", &[0]),
        ("iso:100.0", &[0]),
        ("iso:100.5", &[2]),
        ("iso:>100", &[2, 4]),
        ("iso:[100 TO 100.5]", &[0, 2]),
        ("iso:[100 TO 100.5}", &[0]),
        ("iso:{100.1 TO 7000]", &[2, 4]),
        ("iso:<=1e300", &[0, 2, 4]),
        ("iso:auto", &[5]),
        ("iso: IN [100 auto 7]", &[0, 5]),
        ("flash:true", &[2]),
        ("flash:False", &[4]),
        ("taken:2020-05-17", &[1]),
        ("taken:[2020-05-17 TO 2020-05-18]", &[1, 3]),
        ("taken:[2020-05-17 TO 2020-05-18}", &[1]),
        ("taken:>2020-05-17", &[3]),
        ("taken:<2020-05-17T00:00:00Z", &[5]),
        ("taken:\"1950-01-01T10:00:00.5Z\"", &[5]),
        ("taken:>=1950-01-01", &[1, 3, 5]),
        ("exif.lens:\"X:Y\"", &[3]),
        ("long\\ name:\"\"", &[4]),
        ("caption:dog", &[0, 2, 5, 6]),
        ("caption:dogs AND caption:run", &[6]),
        ("caption:\"dog on grass\"", &[0]),
        ("caption:T-Shirt", &[3]),
        ("caption:(cat OR shirt)", &[1, 3]),
        ("caption:zebra", &[]),
        ("caption:nothing", &[4]),
        ("caption:*", &[0, 1, 2, 3, 4, 5, 6]),
        ("width:>=1000", &[6]),
        ("width:640 AND height:480", &[0, 1, 2, 3, 4, 5]),
        ("bytes:>1000000", &[6]),
        ("modified:1970-01-01", &[6]),
        ("modified:>2023-01-01", &[0, 1, 2, 3, 4, 5]),
        ("camera:canon AND NOT caption:dog", &[]),
        ("camera:canon OR iso:>1000 AND flash:false", &[0, 4]),
        ("(camera:canon OR iso:>1000) AND NOT flash:false", &[0]),
    ];
    for (text, ids) in cases {
        assert_eq!(matching(&snapshot, text).unwrap(), *ids, "{text}");
    }
    check_consistent(store.dir());
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_can() {
    let (_dir, store) = album();
    let snapshot = store.snapshot().unwrap();
    let says = |text: &str| refusal(&snapshot, text).to_string();
    assert_eq!(
        says("kamera:canon"),
        "no image has the attribute 'kamera'; filter by one of: bytes, camera, caption, exif.lens, flash, height, iso, long \
         name, modified, taken, uri, width"
    );
    assert!(says("camera:canon AND NOT kamera:*").contains("'kamera'"));
    assert!(
        says("taken:dog").contains("'taken' holds dates, which 'dog' cannot be compared with; write a day")
    );
    assert!(says("taken:2020*").contains("'2020*'"));
    assert!(says("camera:[1 TO 2]").contains("'camera' holds text, which this range"));
    assert!(says("width:wide").contains("numbers"));
    assert!(says("width:[a TO b]").contains("this range"));
    assert!(says("flash:maybe").contains("true or false"));
    assert!(says("caption:do*").contains("whole word"));
    assert!(says("caption:\"...\"").contains("write a word"));
    assert!(says("Camera:canon").contains("'Camera'"), "names are as they are written");
}

#[test]
fn names_go_with_the_last_image_that_has_them() {
    let (_dir, store) = album();
    let before = store.snapshot().unwrap();
    let named = |snapshot: &Snapshot| {
        let attributes = snapshot.attributes().unwrap().into_iter();
        attributes.map(|known| (known.name, known.holds.join(", "), known.images)).collect::<Vec<_>>()
    };
    let known = named(&before);
    let mut writer = store.writer().unwrap();
    writer.delete(ImageId(0)).unwrap();
    writer.delete(ImageId(1)).unwrap();
    let record = before.record(ImageId(2)).unwrap().unwrap();
    writer.update_record(ImageId(2), ImageRecord { attributes: BTreeMap::new(), ..record }).unwrap();
    writer.commit().unwrap();
    let after = store.snapshot().unwrap();
    assert!(matches!(refusal(&after, "camera:canon"), FilterError::UnknownAttribute { name, known }
        if name == "camera" && !known.contains(&name)));
    assert_eq!(matching(&after, "iso:>=100").unwrap(), [4]);
    assert_eq!(matching(&after, "caption:dog").unwrap(), [2, 5, 6]);
    let flash = named(&after).into_iter().find(|(name, ..)| name == "flash");
    assert_eq!(flash, Some(("flash".into(), "true and false".into(), 1)));
    let iso = known.into_iter().find(|(name, ..)| name == "iso").unwrap();
    assert_eq!((iso.1.contains("numbers"), iso.1.contains("text"), iso.2), (true, true, 4));
}

#[test]
fn holds_for_words_too_and_for_an_empty_index() {
    let (_dir, store) = album();
    let snapshot = store.snapshot().unwrap();
    let ids = |query: &str, text: &str| {
        let hits = snapshot.search_text(query, 10, Some(&filter(text))).unwrap();
        hits.iter().map(|hit| hit.id.0).collect::<Vec<_>>()
    };
    let mut dogs = ids("dog", "NOT camera:canon");
    dogs.sort_unstable();
    assert_eq!(dogs, [2, 5, 6]);
    assert_eq!(ids("dog", "iso:>6000"), [0; 0]);
    let (_dir, empty) = new_store("auto");
    assert_eq!(matching(&empty.snapshot().unwrap(), "camera:canon").unwrap(), [0; 0]);
}

#[test]
fn every_index_kind_finds_all_that_a_filter_matches() {
    for kind in ["flat", "hnsw", "faiss:Flat", "faiss:HNSW16", "faiss:IVF4,Flat"] {
        let (_dir, store) = new_store(kind);
        let mut writer = store.writer().unwrap();
        for i in 0..300_i64 {
            let name = format!("image{i}");
            let attributes = [("n", Attribute::Integer(i))];
            writer.put(with(&name, "", &attributes), &vector(&name)).unwrap();
        }
        writer.commit().unwrap();
        drop(writer);
        let snapshot = store.snapshot().unwrap();
        assert_eq!(matching(&snapshot, "n:[10 TO 16]").unwrap(), (10..17).collect::<Vec<_>>(), "{kind}");
        assert_eq!(matching(&snapshot, "n:299").unwrap(), [299], "{kind}");
        let found = snapshot.search_vectors(&vector("image7"), 5, None, Some(&filter("n:<100"))).unwrap();
        assert_eq!((found.len(), found[0].id), (5, ImageId(7)), "{kind}");
    }
}

#[test]
fn many_filters_and_many_threads_get_the_same_answers() {
    let (_dir, store) = album();
    let snapshot = store.snapshot().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..100 {
                    assert_eq!(matching(&snapshot, "iso:>100.25").unwrap(), [2, 4]);
                    // More than are kept.
                    assert_eq!(matching(&snapshot, &format!("iso:>{}", 200 + i)).unwrap(), [4]);
                }
            });
        }
    });
}

#[test]
fn a_reader_remakes_a_text_index_of_another_schema() {
    let (_dir, store) = album();
    // What a version of another schema leaves: here, with a field less.
    let path = store.dir().join("text").join("meta.json");
    let meta = fs_err::read_to_string(&path).unwrap();
    let altered = meta.replace("\"attributes\"", "\"properties\"");
    assert_ne!(meta, altered);
    fs_err::write(&path, altered).unwrap();
    let snapshot = Store::open(store.dir()).unwrap().snapshot().unwrap();
    assert_eq!(matching(&snapshot, "camera:canon").unwrap(), [0]);
    check_consistent(store.dir());
}

/// A condition that can be written and, on its own, evaluated.
#[derive(Clone, Debug)]
enum Expr {
    Camera(usize),
    CameraStarts(usize),
    CameraFrom(usize, usize),
    Iso(&'static str, i64),
    IsoIn(Vec<i64>),
    Mixed(usize),
    Day(&'static str, u8),
    Days(u8, u8, bool),
    Has(usize),
    Flash(bool),
    Word(usize),
    Words(usize, usize),
    Not(Box<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
}

const CAMERAS: [&str; 4] = ["Canon", "canon EOS", "Nikon", "ñandú"];
const WORDS: [&str; 4] = ["dog", "cat", "red", "car"];
const MIXED: [&str; 4] = ["7", "seven", "-1.5", "true"];
const NAMES: [&str; 5] = ["camera", "iso", "mixed", "taken", "flash"];
const SIGNS: [&str; 4] = ["<", "<=", ">", ">="];

/// Half steps, so that there are integers and fractions.
fn halves(n: i64) -> String {
    if n % 2 == 0 { (n / 2).to_string() } else { (n as f64 / 2.0).to_string() }
}

fn compare<T: PartialOrd>(left: T, sign: &str, right: T) -> bool {
    match sign {
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        _ => left >= right,
    }
}

impl Expr {
    fn write(&self) -> String {
        let join = |parts: &[Expr], word: &str| {
            format!("({})", parts.iter().map(Expr::write).collect::<Vec<_>>().join(word))
        };
        match self {
            Self::Camera(i) => format!("camera:\"{}\"", CAMERAS[*i].to_uppercase()),
            Self::CameraStarts(i) => format!("camera:{}*", &CAMERAS[*i][..3]),
            Self::CameraFrom(i, j) => format!("camera:[{} TO {}}}", &CAMERAS[*i][..3], &CAMERAS[*j][..3]),
            Self::Iso(sign, n) => format!("iso:{sign}{}", halves(*n)),
            Self::IsoIn(list) => {
                format!("iso: IN [{}]", list.iter().map(|&n| halves(n)).collect::<Vec<_>>().join(" "))
            }
            Self::Mixed(i) => format!("mixed:{}", MIXED[*i]),
            Self::Day(sign, day) => format!("taken:{sign}2020-02-{day:02}"),
            Self::Days(first, last, open) => {
                format!("taken:[2020-02-{first:02} TO 2020-02-{last:02}{}", if *open { '}' } else { ']' })
            }
            Self::Has(i) => format!("{}:*", NAMES[*i]),
            Self::Flash(on) => format!("flash:{on}"),
            Self::Word(i) => format!("caption:{}s", WORDS[*i]),
            Self::Words(i, j) => format!("caption:\"{} {}\"", WORDS[*i], WORDS[*j]),
            Self::Not(inner) => format!("NOT {}", inner.write()),
            Self::All(parts) => join(parts, " AND "),
            Self::Any(parts) => join(parts, " OR "),
        }
    }

    fn holds(&self, record: &ImageRecord) -> bool {
        let value = |name: &str| record.attributes.get(name);
        let number = |name| match value(name)? {
            Attribute::Integer(n) => Some(*n as f64),
            Attribute::Float(x) => Some(*x),
            _ => None,
        };
        let string = |name| match value(name)? {
            Attribute::Text(text) => Some(text.to_lowercase()),
            _ => None,
        };
        // The day of the month, and the hour.
        let day = || {
            let text = string("taken")?;
            Some((
                text[8..10].parse::<u8>().ok()?,
                text.get(11..13).map_or(0, |hour| hour.parse().unwrap_or(0_u8)),
            ))
        };
        let camera = |i: usize| CAMERAS[i].to_lowercase();
        let start = |i: usize| CAMERAS[i][..3].to_lowercase();
        let words: Vec<&str> = record.captions.iter().flat_map(|caption| caption.split(' ')).collect();
        match self {
            Self::Camera(i) => string("camera") == Some(camera(*i)),
            Self::CameraStarts(i) => string("camera").is_some_and(|known| known.starts_with(&start(*i))),
            Self::CameraFrom(i, j) => {
                string("camera").is_some_and(|known| start(*i) <= known && known < start(*j))
            }
            Self::Iso(sign, n) => number("iso").is_some_and(|x| compare(x, sign, *n as f64 / 2.0)),
            Self::IsoIn(list) => number("iso").is_some_and(|x| list.iter().any(|&n| n as f64 / 2.0 == x)),
            Self::Mixed(i) => match value("mixed") {
                Some(Attribute::Text(text)) => text == MIXED[*i],
                Some(Attribute::Bool(on)) => *on && *i == 3,
                _ => number("mixed").is_some_and(|x| MIXED[*i].parse() == Ok(x)),
            },
            Self::Day(sign, wanted) => day().is_some_and(|(day, _)| match *sign {
                // A day as an end is in, or out, as a whole.
                "" => day == *wanted,
                sign => compare(day, sign, *wanted),
            }),
            Self::Days(first, last, open) => {
                day().is_some_and(|(day, _)| *first <= day && (day < *last || !open && day == *last))
            }
            Self::Has(i) => value(NAMES[*i]).is_some(),
            Self::Flash(on) => value("flash") == Some(&Attribute::Bool(*on)),
            Self::Word(i) => words.contains(&WORDS[*i]),
            Self::Words(i, j) => words.windows(2).any(|two| two == [WORDS[*i], WORDS[*j]]),
            Self::Not(inner) => !inner.holds(record),
            Self::All(parts) => parts.iter().all(|part| part.holds(record)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(record)),
        }
    }
}

fn expr() -> impl Strategy<Value = Expr> {
    let sign = prop::sample::select(&SIGNS[..]);
    let leaf = prop_oneof![
        (0..4_usize).prop_map(Expr::Camera),
        (0..3_usize).prop_map(Expr::CameraStarts),
        (0..3_usize, 0..3_usize).prop_map(|(i, j)| Expr::CameraFrom(i, j)),
        (sign.clone(), -6..20_i64).prop_map(|(sign, n)| Expr::Iso(sign, n)),
        prop::collection::vec(-6..20_i64, 1..4).prop_map(Expr::IsoIn),
        (0..4_usize).prop_map(Expr::Mixed),
        (prop_oneof![sign, Just("")], 1..8_u8).prop_map(|(sign, day)| Expr::Day(sign, day)),
        (1..8_u8, 1..8_u8, any::<bool>()).prop_map(|(first, last, open)| Expr::Days(first, last, open)),
        (0..5_usize).prop_map(Expr::Has),
        any::<bool>().prop_map(Expr::Flash),
        (0..4_usize).prop_map(Expr::Word),
        (0..4_usize, 0..4_usize).prop_map(|(i, j)| Expr::Words(i, j)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Expr::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            prop::collection::vec(inner, 2..4).prop_map(Expr::Any),
        ]
    })
}

fn attributes() -> impl Strategy<Value = BTreeMap<String, Attribute>> {
    let number = |n: i64, float: bool| match n % 2 == 0 && !float {
        true => Attribute::Integer(n / 2),
        false => Attribute::Float(n as f64 / 2.0),
    };
    let camera = (0..4_usize).prop_map(|i| text(CAMERAS[i]));
    let iso = (-6..20_i64, any::<bool>()).prop_map(move |(n, float)| number(n, float));
    let mixed = prop_oneof![
        Just(Attribute::Integer(7)),
        Just(Attribute::Float(-1.5)),
        Just(Attribute::Bool(true)),
        Just(text("seven")),
        Just(text("7")),
    ];
    let taken = prop_oneof![
        (1..8_u8).prop_map(|day| text(&format!("2020-02-{day:02}"))),
        (1..8_u8, 0..24_u8).prop_map(|(day, hour)| text(&format!("2020-02-{day:02}T{hour:02}:30:00.25Z"))),
    ];
    let some = prop::option::of::<BoxedStrategy<Attribute>>;
    let flash = any::<bool>().prop_map(Attribute::Bool);
    (some(camera.boxed()), some(iso.boxed()), some(mixed.boxed()), some(taken.boxed()), some(flash.boxed()))
        .prop_map(|(camera, iso, mixed, taken, flash)| {
            let values = [camera, iso, mixed, taken, flash];
            let named = NAMES.into_iter().zip(values);
            named.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn matches_what_an_obvious_evaluation_does(
        images in prop::collection::vec((attributes(), prop::collection::vec(0..4_usize, 0..5), 0..10_u8), 1..40),
        exprs in prop::collection::vec(expr(), 20),
    ) {
        let (_dir, store) = new_store("auto");
        let mut writer = store.writer().unwrap();
        put(&mut writer, "without attributes");
        for (i, (attributes, words, fate)) in images.iter().enumerate() {
            let caption = words.iter().map(|&i| WORDS[i]).collect::<Vec<_>>().join(" ");
            let uri = format!("/{i}.jpg");
            let wanted = ImageRecord { attributes: attributes.clone(), ..record(&uri, &caption) };
            let id = match fate {
                // Another record first, and perhaps in an earlier commit.
                0 | 1 => {
                    let id = writer.put(with(&uri, "red car", &[("camera", text("Nikon"))]), &vector(&uri)).unwrap();
                    if *fate == 0 { writer.commit().unwrap(); }
                    writer.update_record(id, wanted).unwrap();
                    id
                }
                _ => writer.put(wanted, &vector(&uri)).unwrap(),
            };
            match fate {
                2 => { writer.commit().unwrap(); }
                3 => { writer.delete(id).unwrap(); }
                4 => { writer.commit().unwrap(); writer.delete(id).unwrap(); }
                _ => {}
            }
        }
        writer.commit().unwrap();
        let snapshot = store.snapshot().unwrap();
        let shown: Vec<(ImageId, ImageRecord)> = snapshot.records().map(Result::unwrap).collect();
        for expr in exprs {
            let written = expr.write();
            let expected: Vec<u64> =
                shown.iter().filter(|(_, record)| expr.holds(record)).map(|(id, _)| id.0).collect();
            let has = |name: &str| shown.iter().any(|(_, record)| record.attributes.contains_key(name));
            match matching(&snapshot, &written) {
                Ok(ids) => {
                    prop_assert_eq!(&ids, &expected, "{}", written);
                    let unknown = NAMES.iter().any(|name| written.contains(&format!("{name}:")) && !has(name));
                    prop_assert!(!ids.is_empty() || !unknown, "an unknown name is no empty answer: {}", written);
                }
                Err(StorageError::Filter(FilterError::UnknownAttribute { name, .. })) => {
                    prop_assert!(!has(&name), "{}: {}", written, name);
                }
                // No value is left that is a text, or that the number is compared with.
                Err(StorageError::Filter(FilterError::Incomparable { name, .. })) => {
                    prop_assert_eq!(name, "mixed");
                    prop_assert!(!shown.iter().any(|(_, r)| matches!(r.attributes.get("mixed"), Some(Attribute::Text(_)))));
                }
                Err(error) => prop_assert!(false, "{}: {}", written, error),
            }
        }
    }
}
