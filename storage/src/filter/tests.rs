//! What is read, and what is refused.

use super::*;

fn parse(text: &str) -> Result<Condition, FilterError> {
    text.parse::<Filter>().map(|filter| filter.0)
}

fn is(name: &str, comparison: Comparison) -> Condition {
    Condition::Test { name: name.into(), comparison }
}

fn equal(name: &str, value: &str) -> Condition {
    is(name, Comparison::Equal(value.into()))
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

#[test]
fn reads_each_kind_of_comparison() {
    use Bound::{Excluded, Included, Unbounded};
    let range = |lower, upper| Comparison::Range(lower, upper);
    let text = |text: &str| text.to_owned();
    for (written, meant) in [
        ("camera:canon", equal("camera", "canon")),
        ("camera:\"Canon EOS\"", equal("camera", "Canon EOS")),
        ("camera:'Canon EOS'", equal("camera", "Canon EOS")),
        ("lat:-33.5", equal("lat", "-33.5")),
        ("my\\ name:x", equal("my name", "x")),
        ("exif.iso:100", equal("exif.iso", "100")),
        ("uri:/photos/2020*", is("uri", Comparison::Prefix("/photos/2020".into()))),
        ("uri:\"/my photos\"*", is("uri", Comparison::Prefix("/my photos".into()))),
        ("uri:/photos/", equal("uri", "/photos/")),
        ("uri:/photos/a.jpg", equal("uri", "/photos/a.jpg")),
        ("star:\"a*b\"", equal("star", "a*b")),
        ("width:>=1000", is("width", range(Included(text("1000")), Unbounded))),
        ("width:<-5", is("width", range(Unbounded, Excluded(text("-5"))))),
        ("w:[1 TO 2}", is("w", range(Included(text("1")), Excluded(text("2"))))),
        ("w:{* TO 2.5]", is("w", range(Unbounded, Included(text("2.5"))))),
        (
            "taken:[2020-01-01T00:00:00Z TO 2021-01-01}",
            is("taken", range(Included(text("2020-01-01T00:00:00Z")), Excluded(text("2021-01-01")))),
        ),
        ("w:[* TO *]", is("w", Comparison::Present)),
        ("w:*", is("w", Comparison::Present)),
        ("*", Condition::Everything),
        ("c: IN [a \"b c\"]", Condition::Any(vec![equal("c", "a"), equal("c", "b c")])),
        ("c:(a OR b)", Condition::Any(vec![equal("c", "a"), equal("c", "b")])),
    ] {
        assert_eq!(parse(written).as_ref(), Ok(&meant), "{written}");
    }
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    let [a, b, c] = ["a", "b", "c"].map(|name| equal(name, "1"));
    let all = |parts: &[&Condition]| Condition::All(parts.iter().map(|&part| part.clone()).collect());
    let any = |parts: &[&Condition]| Condition::Any(parts.iter().map(|&part| part.clone()).collect());
    for (written, meant) in [
        ("a:1 AND b:1 AND c:1", all(&[&a, &b, &c])),
        ("a:1 OR b:1 AND c:1", any(&[&a, &all(&[&b, &c])])),
        ("a:1 AND b:1 OR c:1", any(&[&all(&[&a, &b]), &c])),
        ("(a:1 OR b:1) AND c:1", all(&[&any(&[&a, &b]), &c])),
        ("a:1 AND NOT b:1", all(&[&a, &not(b.clone())])),
        ("NOT a:1", not(a.clone())),
        ("-a:1", not(a.clone())),
        ("NOT NOT a:1", not(not(a.clone()))),
        ("NOT a:1 OR NOT b:1", any(&[&not(a.clone()), &not(b.clone())])),
        ("NOT (a:1 OR b:1)", not(any(&[&a, &b]))),
        ("+a:1 -b:1", all(&[&a, &not(b.clone())])),
        (" ( a:1 ) ", a.clone()),
    ] {
        assert_eq!(parse(written).as_ref(), Ok(&meant), "{written}");
    }
}

#[test]
fn what_cannot_be_meant_is_an_error_that_says_why() {
    for (written, said) in [
        ("", "the filter is empty"),
        ("  ", "the filter is empty"),
        ("dog", "'dog' names no attribute"),
        ("camera:canon eos", "AND or OR, in capitals"),
        ("a:1 and b:2", "AND or OR, in capitals"),
        ("a:1 b:2 OR c:3", "AND or OR, in capitals"),
        ("a:(x y)", "AND or OR, in capitals"),
        ("a:1 AND", "nothing stands behind its last word"),
        ("AND a:1", "nothing stands before its first word"),
        ("NOT", "nothing stands behind"),
        ("(a:1", "a '(' is not closed"),
        ("a:1)", "a ')' that closes nothing"),
        ("a:\"x", "a quote is not closed"),
        ("a:[1 TO 2", "a '[' or '{' is not closed"),
        ("a:", "it is not made of conditions"),
        ("a:x:y", "it is not made of conditions"),
        ("caption:dog's", "double quotes"),
        ("a:x^2", "no weights"),
        ("a:\"x y\"~2", "~ has no meaning"),
        ("a:b*c", "the * is not at the end"),
        ("[1 TO 2]", "a range names no attribute"),
        ("IN [a b]", "IN names no attribute"),
        ("a: IN []", "lists no value"),
        ("a:1 OR +b:1", "do not go together"),
        ("uri:/a AND uri:/ OR x:1", "needs quotes"),
    ] {
        let error = parse(written).expect_err(written).to_string();
        assert!(error.contains(said), "{written} → {error}");
    }
}

#[test]
fn is_bounded_in_length_and_depth() {
    assert!(matches!(parse(&"x".repeat(MAX_FILTER_CHARS + 1)), Err(FilterError::TooLong(_))));
    for opening in ["(", "NOT ", "a:(", "-("] {
        assert!(matches!(parse(&opening.repeat(65)), Err(FilterError::TooDeep(65))), "{opening}");
        let deepest = format!("{}a:1{}", opening.repeat(64), ")".repeat(64 * opening.matches('(').count()));
        // Whether it is one or not: on the small stack of a worker thread it must not overflow.
        let read = move || drop(parse(&deepest));
        std::thread::Builder::new().stack_size(1 << 20).spawn(read).unwrap().join().unwrap();
    }
    let many: Vec<String> = (0..1500).map(|i| format!("a:{i}")).collect();
    assert!(matches!(parse(&many.join(" OR ")), Ok(Condition::Any(parts)) if parts.len() == 1500));
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[a-c:\\\\\"'*/()\\[\\]{}<>=~^+ \\-0-9TOANDR]{0,40}") {
        let _ = parse(&text);
    }
}
