//! One comparison against one column of values, all of a kind.
//!
//! A comparison that cannot be made with this kind of value (a word with numbers) selects `None`, which is not the same as no image:
//! when no column of an attribute can be compared, that is an error (`select.rs`).

use std::ops::{Bound, RangeInclusive};

use tantivy::columnar::{Column, ColumnType, DynamicColumn, MonotonicallyMappableToU64, StrColumn};
use tantivy::{DateTime, DocId};

use super::document::moments;
use crate::filter::Comparison;

/// What the values of a column are, in the words of an error.
pub(super) fn kind(column: ColumnType) -> &'static str {
    match column {
        ColumnType::I64 | ColumnType::U64 | ColumnType::F64 => "numbers",
        ColumnType::Bool => "true and false",
        ColumnType::DateTime => "dates",
        ColumnType::Str | ColumnType::Bytes | ColumnType::IpAddr => "text",
    }
}

/// Whether `comparison` can be made with values of `column`.
pub(super) fn can_compare(column: ColumnType, comparison: &Comparison) -> bool {
    match column {
        _ if *comparison == Comparison::Present => true,
        ColumnType::I64 | ColumnType::U64 | ColumnType::F64 => ends(comparison, number).is_some(),
        ColumnType::DateTime => ends(comparison, moments).is_some(),
        ColumnType::Bool => truth(comparison).is_some(),
        ColumnType::Str => is_of_letters(comparison),
        // Of no attribute.
        ColumnType::Bytes | ColumnType::IpAddr => false,
    }
}

/// The documents below `docs` whose value in `column` is as `comparison` says; none when it cannot be compared.
///
/// # Errors
/// When the dictionary of a text column cannot be read.
pub(super) fn select(
    column: &DynamicColumn,
    comparison: &Comparison,
    docs: DocId,
) -> std::io::Result<Vec<DocId>> {
    if *comparison == Comparison::Present {
        let index = column.column_index();
        return Ok((0..docs).filter(|&doc| index.has_value(doc)).collect());
    }
    Ok(match column {
        DynamicColumn::I64(column) => {
            let range = ends(comparison, number).and_then(|ends| whole(&ends));
            within(column, range.and_then(|range| clip(range, i64::MIN.into(), i64::MAX.into())), docs)
        }
        DynamicColumn::U64(column) => {
            let range = ends(comparison, number).and_then(|ends| whole(&ends));
            within(column, range.and_then(|range| clip(range, 0, u64::MAX.into())), docs)
        }
        DynamicColumn::F64(column) => within(column, ends(comparison, number).map(|ends| real(&ends)), docs),
        DynamicColumn::DateTime(column) => {
            let range = ends(comparison, moments).and_then(|ends| in_time(&ends));
            let date = DateTime::from_timestamp_nanos;
            within(column, range.map(|range| date(*range.start())..=date(*range.end())), docs)
        }
        DynamicColumn::Bool(column) => within(column, truth(comparison).map(|value| value..=value), docs),
        DynamicColumn::Str(column) => within(column.ords(), ordinals(column, comparison)?, docs),
        DynamicColumn::Bytes(_) | DynamicColumn::IpAddr(_) => Vec::new(),
    })
}

fn within<T>(column: &Column<T>, range: Option<RangeInclusive<T>>, docs: DocId) -> Vec<DocId>
where
    T: MonotonicallyMappableToU64 + PartialOrd + Copy + std::fmt::Debug + Send + Sync + 'static,
{
    let mut found = Vec::new();
    if let Some(range) = range {
        // Within what the column holds: a range below all of it selects the least values otherwise.
        let start = range.start().to_u64().max(column.min_value().to_u64());
        let end = range.end().to_u64().min(column.max_value().to_u64());
        if start <= end {
            column.get_docids_for_value_range(T::from_u64(start)..=T::from_u64(end), 0..docs, &mut found);
        }
    }
    found
}

/// The ends of a range of values.
type Ends<T> = (Bound<T>, Bound<T>);

/// Both ends of a comparison, read by `read`; `None` when one of them cannot be, or the comparison has none.
fn ends<T: Clone>(comparison: &Comparison, read: impl Fn(&str) -> Option<T>) -> Option<Ends<T>> {
    let read_bound = |bound: &Bound<String>| match bound {
        Bound::Included(value) => read(value).map(Bound::Included),
        Bound::Excluded(value) => read(value).map(Bound::Excluded),
        Bound::Unbounded => Some(Bound::Unbounded),
    };
    match comparison {
        Comparison::Equal(value) => {
            let value = read(value)?;
            Some((Bound::Included(value.clone()), Bound::Included(value)))
        }
        Comparison::Range(lower, upper) => Some((read_bound(lower)?, read_bound(upper)?)),
        Comparison::Prefix(_) | Comparison::Present => None,
    }
}

fn truth(comparison: &Comparison) -> Option<bool> {
    match comparison {
        Comparison::Equal(value) => value.to_lowercase().parse().ok(),
        _ => None,
    }
}

/// A number as typed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Integer(i64),
    Real(f64),
}

fn number(text: &str) -> Option<Number> {
    let real = || text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Number::Real);
    text.parse().ok().map(Number::Integer).or_else(real)
}

/// The whole numbers between two numbers. Saturating casts: what lies beyond 128 bits lies beyond any column.
fn whole((lower, upper): &Ends<Number>) -> Option<RangeInclusive<i128>> {
    let start = match *lower {
        Bound::Unbounded => i128::MIN,
        Bound::Included(Number::Integer(x)) => x.into(),
        Bound::Excluded(Number::Integer(x)) => i128::from(x) + 1,
        Bound::Included(Number::Real(x)) => x.ceil() as i128,
        Bound::Excluded(Number::Real(x)) => (x.floor() as i128).saturating_add(1),
    };
    let end = match *upper {
        Bound::Unbounded => i128::MAX,
        Bound::Included(Number::Integer(x)) => x.into(),
        Bound::Excluded(Number::Integer(x)) => i128::from(x) - 1,
        Bound::Included(Number::Real(x)) => x.floor() as i128,
        Bound::Excluded(Number::Real(x)) => (x.ceil() as i128).saturating_sub(1),
    };
    (start <= end).then_some(start..=end)
}

/// The part of a range that a column's type can hold.
fn clip<T: TryFrom<i128>>(range: RangeInclusive<i128>, least: i128, most: i128) -> Option<RangeInclusive<T>> {
    let (start, end) = (*range.start().max(&least), *range.end().min(&most));
    if start > end {
        return None;
    }
    Some(T::try_from(start).ok()?..=T::try_from(end).ok()?)
}

/// The real numbers between two numbers. An integer beyond 2⁵³ is rounded, as those of the column were when a fraction joined them.
fn real((lower, upper): &Ends<Number>) -> RangeInclusive<f64> {
    let float = |number| match number {
        Number::Integer(x) => x as f64,
        Number::Real(x) => x,
    };
    // −0 lies below +0 in a column and is equal to it for people.
    let down = |x: f64| if x == 0.0 { -0.0 } else { x };
    let up = |x: f64| if x == 0.0 { 0.0 } else { x };
    let start = match *lower {
        Bound::Unbounded => f64::NEG_INFINITY,
        Bound::Included(x) => down(float(x)),
        Bound::Excluded(x) => up(float(x)).next_up(),
    };
    let end = match *upper {
        Bound::Unbounded => f64::INFINITY,
        Bound::Included(x) => up(float(x)),
        Bound::Excluded(x) => down(float(x)).next_down(),
    };
    start..=end
}

/// The nanoseconds between two dates, each a first and a last nanosecond: a day as an end belongs to the range as a whole, or not.
fn in_time((lower, upper): &Ends<(i64, i64)>) -> Option<RangeInclusive<i64>> {
    let start = match *lower {
        Bound::Unbounded => i64::MIN,
        Bound::Included((first, _)) => first,
        Bound::Excluded((_, last)) => last.checked_add(1)?,
    };
    let end = match *upper {
        Bound::Unbounded => i64::MAX,
        Bound::Included((_, last)) => last,
        Bound::Excluded((first, _)) => first.checked_sub(1)?,
    };
    Some(start..=end)
}

/// The numbers of the texts, in the order of the column's dictionary, that are as `comparison` says.
fn ordinals(column: &StrColumn, comparison: &Comparison) -> std::io::Result<Option<RangeInclusive<u64>>> {
    if !is_of_letters(comparison) {
        return Ok(None);
    }
    let bytes = |text: &str| Some(text.to_lowercase().into_bytes());
    let (lower, upper) = match comparison {
        Comparison::Prefix(start) => {
            let Some(start) = bytes(start) else { return Ok(None) };
            let end = successor(&start).map_or(Bound::Unbounded, Bound::Excluded);
            (Bound::Included(start), end)
        }
        other => match ends(other, bytes) {
            Some(ends) => ends,
            None => return Ok(None),
        },
    };
    let (lower, upper) = column.dictionary().term_bounds_to_ord(lower, upper)?;
    let start = match lower {
        Bound::Unbounded => Some(0),
        Bound::Included(ord) => Some(ord),
        Bound::Excluded(ord) => ord.checked_add(1),
    };
    let end = match upper {
        Bound::Unbounded => Some(u64::MAX),
        Bound::Included(ord) => Some(ord),
        Bound::Excluded(ord) => ord.checked_sub(1),
    };
    Ok(start.zip(end).map(|(start, end)| start..=end))
}

/// Whether a comparison can be made with texts: a range between numbers, or between dates, is none of letters.
fn is_of_letters(comparison: &Comparison) -> bool {
    let is_range = matches!(comparison, Comparison::Range(..));
    !is_range || ends(comparison, number).is_none() && ends(comparison, moments).is_none()
}

/// The least string of bytes above all that start with `prefix`; `None` when there is none. (No UTF-8 has a byte 255.)
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut next = prefix.to_vec();
    *next.last_mut()? += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lower: &str, upper: &str) -> Ends<Number> {
        let bound = |text: &str, open: char| match text.trim_matches(['[', ']', '{', '}']) {
            "*" => Bound::Unbounded,
            value if text.contains(open) => Bound::Excluded(number(value).unwrap()),
            value => Bound::Included(number(value).unwrap()),
        };
        (bound(lower, '{'), bound(upper, '}'))
    }

    #[test]
    fn whole_numbers_between_any_numbers() {
        assert_eq!(whole(&range("[1", "3]")), Some(1..=3));
        assert_eq!(whole(&range("{1", "3}")), Some(2..=2));
        assert_eq!(whole(&range("[0.5", "2.5]")), Some(1..=2));
        assert_eq!(whole(&range("{-0.5", "2.0}")), Some(0..=1));
        assert_eq!(whole(&range("{1", "2}")), None);
        assert_eq!(whole(&range("[1e300", "*]")), Some(i128::MAX..=i128::MAX));
        assert_eq!(clip::<i64>(i128::MAX..=i128::MAX, i64::MIN.into(), i64::MAX.into()), None);
        let all = whole(&range("[*", "1e300]")).unwrap();
        assert_eq!(clip::<i64>(all.clone(), i64::MIN.into(), i64::MAX.into()), Some(i64::MIN..=i64::MAX));
        assert_eq!(clip::<u64>(all, 0, u64::MAX.into()), Some(0..=u64::MAX));
    }

    #[test]
    fn real_numbers_and_both_zeros() {
        let holds = |ends: Ends<Number>, x: f64| {
            let key = MonotonicallyMappableToU64::to_u64;
            let range = real(&ends);
            (key(*range.start())..=key(*range.end())).contains(&key(x))
        };
        for zero in [0.0, -0.0] {
            assert!(holds(range("[0", "1]"), zero) && holds(range("[-1", "0]"), zero));
            assert!(!holds(range("{0", "1]"), zero) && !holds(range("[-1", "0}"), zero));
        }
        assert!(holds(range("{0.1", "0.3}"), 0.2) && !holds(range("{0.2", "0.3}"), 0.2));
        assert!(!holds(range("[*", "*]"), f64::NAN));
    }
}
