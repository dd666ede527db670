//! How figures are written, the same in the terminal, in Markdown and in HTML.

use crate::report::{Direction, Ranking, RetrievalReport, Run};

/// What stands where there is no figure.
pub(crate) const NONE: &str = "–";

/// The two directions as they are called in files, and for people.
const DIRECTIONS: [(&str, &str); 2] = [("text_to_image", "text → image"), ("image_to_text", "image → text")];

/// `text_to_image` as `text → image`; anything else as it is.
pub(crate) fn direction(name: &str) -> &str {
    DIRECTIONS.iter().find(|(key, _)| *key == name).map_or(name, |(_, words)| words)
}

/// The name of a figure in files as people write it: `mean_rank` as `mean rank`.
pub(crate) fn figure(name: &str) -> String {
    name.replace('_', " ")
}

/// The directions that a run has: name in files, name for people, figures.
pub(crate) fn directions(run: &Run) -> impl Iterator<Item = (&'static str, &'static str, &Direction)> {
    let [(t, text), (i, image)] = DIRECTIONS;
    [Some((t, text, &run.text_to_image)), run.image_to_text.as_ref().map(|d| (i, image, d))]
        .into_iter()
        .flatten()
}

/// With this many decimals, or a dash.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| NONE.into(), |value| format!("{value:.decimals$}"))
}

/// Three digits that count: `0.0123`, `1.23`, `123`, and thousands apart; for times and rates, whose sizes differ by powers
/// of ten.
pub(crate) fn digits(value: f64) -> String {
    match value {
        v if !v.is_finite() => NONE.into(),
        v if v >= 99.95 => count(v.round() as u64),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v >= 0.9995 => format!("{v:.2}"),
        v if v >= 0.09995 => format!("{v:.3}"),
        v if v >= 0.00005 => format!("{v:.4}"),
        0.0 => "0".into(),
        v => format!("{v:.0e}"),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// With its sign, to two decimals, and the minus that is as wide as the plus; what rounds to nothing has none.
pub(crate) fn signed(value: f64) -> String {
    let text = format!("{:.2}", value.abs());
    match value {
        _ if text == "0.00" => text,
        v if v < 0.0 => format!("−{text}"),
        v if v > 0.0 => format!("+{text}"),
        _ => NONE.into(),
    }
}

/// Low and high ends, signed.
pub(crate) fn interval([low, high]: [f64; 2]) -> String {
    format!("{} … {}", signed(low), signed(high))
}

/// A probability, three decimals.
pub(crate) fn p(value: f64) -> String {
    if value < 0.001 { "< 0.001".into() } else { format!("{value:.3}") }
}

/// `20.6 ±1.1`: a figure and half the width of its 95 % interval, where it has one.
pub(crate) fn with_half_width(direction: &Direction, name: &str, value: f64) -> String {
    match direction.intervals.get(name) {
        Some([low, high]) => format!("{value:.1} ±{:.1}", (high - low) / 2.0),
        None => format!("{value:.1}"),
    }
}

/// What was ranked, in a line.
pub(crate) fn dataset(report: &RetrievalReport) -> String {
    let dataset = &report.dataset;
    let mut line = format!(
        "{}: {} images, {} captions, positives from {}",
        dataset.name,
        count(dataset.images),
        count(dataset.captions),
        dataset.relevance
    );
    if dataset.images_without_captions > 0 {
        line += &format!(
            "; {} images without captions are ranked but are no queries",
            count(dataset.images_without_captions)
        );
    }
    line
}

/// What put a run's results in order, in a line.
pub(crate) fn ranking(ranking: &Ranking) -> String {
    match ranking {
        Ranking::Exact => "exact inner products".into(),
        Ranking::Index { path, kind, images, filter } => {
            let filter = filter.as_ref().map_or_else(String::new, |filter| format!(", where {filter}"));
            format!("index {path} ({kind}, {} images{filter})", count(*images))
        }
        Ranking::Rerank { matcher, k_test, first_stage } => {
            format!("the first {} of “{first_stage}” by {}", count(*k_test), matcher.name)
        }
    }
}

/// What ran, in a line.
pub(crate) fn made_by(report: &RetrievalReport) -> String {
    let made = &report.provenance;
    format!("pictor {}, {}, {}, {} s", made.pictor, made.date, made.machine, digits(made.seconds))
}

/// The command as a POSIX shell takes it.
pub(crate) fn command(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quoted = words.iter().map(|word| match word {
        word if !word.is_empty() && word.chars().all(plain) => word.clone(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_say() {
        let all = [0.0, 1e-7, 0.00123, 0.5, 1.0, 9.999, 12.34, 99.97, 25_010.2, f64::NAN].map(digits);
        assert_eq!(all, ["0", "1e-7", "0.0012", "0.500", "1.00", "10.0", "12.3", "100", "25,010", "–"]);
        assert_eq!([0_u64, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.001, -0.001, -1.5, 2.0].map(signed), ["0.00", "0.00", "−1.50", "+2.00"]);
        assert_eq!([0.0004, 0.05].map(p), ["< 0.001", "0.050"]);
    }

    #[test]
    fn a_command_is_quoted_where_it_must_be() {
        let words = ["pictor", "eval", "my photos/it's.json", "", "--model=a/b"].map(String::from);
        assert_eq!(command(&words), r"pictor eval 'my photos/it'\''s.json' '' --model=a/b");
    }
}
