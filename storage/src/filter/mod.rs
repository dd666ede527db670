//! Filters: which images a search may return, said in one string that is the same on the command line, over HTTP and on the
//! page.
//!
//! ```text
//! camera:canon                          the value, as a whole; case does not matter
//! caption:dog   caption:"red car"       a word, or words in a row, of a caption (stemmed as English: dog finds dogs)
//! uri:/photos/2020*                     a value that starts so
//! width:>=1000   width:[800 TO 1600}    a range: [ ] with its ends, { } without, * for no end; <, <=, >, >=
//! taken:2020-05-17                      a day (UTC), also as the end of a range; or a moment as in RFC 3339
//! camera: IN [canon nikon "sony a7"]    any of these
//! camera:(canon OR nikon)               the same, in another way
//! taken:*                               images that have the attribute, whatever its value
//! AND  OR  NOT  ( )                     between and before conditions, in capitals; AND binds tighter
//! ```
//!
//! A value with a space or one of `: ( ) [ ] { } ^ ' "` in it is written in double quotes, as a moment always is outside a
//! range. Names are compared as they are written; a space in one is written `\ `.
//!
//! Names: every attribute that some image has, and `uri`, `width`, `height`, `bytes`, `modified` and `caption`, which are known of
//! images without anybody's saying (and go before attributes so called). A value is compared as what it is: a number by size, a
//! date in time, true and false, a text by its letters. So a range between numbers finds
//! numbers, one between dates dates, and any other texts. A text is a date when all of it is one (RFC 3339, or `YYYY-MM-DD`, which is
//! midnight UTC), from 1678 to 2261.
//!
//! What must stay true: a condition that cannot be meant as written is an error that says what can, never an empty answer. So a
//! name that no image has, a value that the attribute's values cannot be compared with, and two conditions with nothing between them
//! are errors.
//!
//! The grammar is tantivy's (`tantivy::query_grammar`); its query parser is not used, because it asks one field type per name,
//! takes unknown names for empty results, and can be made to panic by a range of an integer and a fraction.

mod error;
#[cfg(test)]
mod tests;

use std::ops::Bound;
use std::str::FromStr;

use tantivy::query_grammar::{
    Delimiter, Occur, UserInputAst, UserInputBound, UserInputLeaf, UserInputLiteral, parse_query,
};

pub use error::FilterError;

/// Longest filter, in characters: room for a list of hundreds of names, none for a denial of service.
pub const MAX_FILTER_CHARS: usize = 16_384;
/// Most parentheses and `NOT`s in one filter. Each may be a level of recursion.
pub const MAX_NESTING: usize = 64;

/// A condition on what is known of an image. Reads from a string ([`FromStr`]); the grammar is drawn at the top of `filter/mod.rs`
/// and in the README.
///
/// ```
/// use pictor_storage::{Filter, FilterError};
///
/// let filter: Filter = "camera:canon AND width:>=1000".parse()?;
/// assert_eq!(filter, "(camera:canon) AND width:[1000 TO *]".parse()?);
/// # Ok::<(), FilterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(pub(crate) Condition);

/// What a filter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// True of every image.
    Everything,
    /// True where the other is not.
    Not(Box<Condition>),
    /// True where all of them are.
    All(Vec<Condition>),
    /// True where one of them is.
    Any(Vec<Condition>),
    /// Of one attribute.
    Test {
        /// Its name.
        name: String,
        /// What its value is to be.
        comparison: Comparison,
    },
}

/// What a value is to be; the words are as typed, for each kind of value to read in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Anything.
    Present,
    /// This.
    Equal(String),
    /// A text that starts so.
    Prefix(String),
    /// Between these.
    Range(Bound<String>, Bound<String>),
}

impl FromStr for Filter {
    type Err = FilterError;

    /// Reads a filter. Whether its names and values make sense is seen when an index is asked.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let chars = text.chars().count();
        if chars > MAX_FILTER_CHARS {
            return Err(FilterError::TooLong(chars));
        }
        if text.trim().is_empty() {
            return Err(FilterError::Empty);
        }
        let nesting = text.matches('(').count() + text.matches("NOT").count();
        if nesting > MAX_NESTING {
            return Err(FilterError::TooDeep(nesting));
        }
        let ast = parse_query(text).map_err(|_| FilterError::Syntax(error::guess(text)))?;
        condition(ast).map(Self)
    }
}

impl Condition {
    /// Every test in it.
    pub(crate) fn tests(&self) -> Vec<(&str, &Comparison)> {
        match self {
            Self::Everything => Vec::new(),
            Self::Not(inner) => inner.tests(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::tests).collect(),
            Self::Test { name, comparison } => vec![(name, comparison)],
        }
    }
}

fn condition(ast: UserInputAst) -> Result<Condition, FilterError> {
    match ast {
        UserInputAst::Clause(parts) => clause(parts),
        UserInputAst::Boost(..) => Err(FilterError::Syntax("a filter has no weights (^)".into())),
        UserInputAst::Leaf(leaf) => test(*leaf),
    }
}

fn clause(mut parts: Vec<(Option<Occur>, UserInputAst)>) -> Result<Condition, FilterError> {
    if matches!(&parts[..], [(None, _)])
        && let Some((_, only)) = parts.pop()
    {
        return condition(only);
    }
    let (mut all, mut any) = (Vec::new(), Vec::new());
    let must = parts.iter().any(|(occur, _)| *occur == Some(Occur::Must));
    for (occur, part) in parts {
        match occur {
            Some(Occur::Must) => all.push(condition(part)?),
            Some(Occur::MustNot) => all.push(Condition::Not(Box::new(condition(part)?))),
            Some(Occur::Should) if must => {
                return Err(FilterError::Syntax("+ and OR do not go together".into()));
            }
            Some(Occur::Should) => any.push(condition(part)?),
            None => {
                return Err(FilterError::Syntax(
                    "AND or OR, in capitals, is missing between two conditions, or quotes around a value with a space in it"
                        .into(),
                ));
            }
        }
    }
    if !any.is_empty() {
        all.push(Condition::Any(any));
    }
    Ok(match all.pop() {
        None => return Err(FilterError::Empty),
        Some(only) if all.is_empty() => only,
        Some(last) => {
            all.push(last);
            Condition::All(all)
        }
    })
}

fn test(leaf: UserInputLeaf) -> Result<Condition, FilterError> {
    let named = |name: Option<String>, what: &str| {
        name.ok_or_else(|| FilterError::Syntax(format!("{what} names no attribute to compare with")))
    };
    let (name, comparison) = match leaf {
        UserInputLeaf::All => return Ok(Condition::Everything),
        UserInputLeaf::Exists { field } => (field, Comparison::Present),
        UserInputLeaf::Literal(literal) => (
            named(literal.field_name.clone(), &format!("'{}'", literal.phrase))?,
            literal_comparison(literal)?,
        ),
        UserInputLeaf::Range { field, lower, upper } => {
            let comparison = match (bound(lower), bound(upper)) {
                (Bound::Unbounded, Bound::Unbounded) => Comparison::Present,
                (lower, upper) => Comparison::Range(lower, upper),
            };
            (named(field, "a range")?, comparison)
        }
        UserInputLeaf::Set { field, elements } => {
            let name = named(field, "IN")?;
            if elements.is_empty() {
                return Err(FilterError::Syntax(format!("'{name}: IN []' lists no value")));
            }
            let equal = |value| Condition::Test { name: name.clone(), comparison: Comparison::Equal(value) };
            return Ok(Condition::Any(elements.into_iter().map(equal).collect()));
        }
        // The grammar takes a path with a slash at both ends for a regular expression; with a space in it, it may have swallowed
        // the conditions behind it.
        UserInputLeaf::Regex { pattern, .. } if pattern.contains(char::is_whitespace) => {
            return Err(FilterError::Syntax("a value that starts with a slash needs quotes here".into()));
        }
        UserInputLeaf::Regex { field, pattern } => {
            let path = format!("/{pattern}/");
            (named(field, &format!("'{path}'"))?, Comparison::Equal(path))
        }
    };
    Ok(Condition::Test { name, comparison })
}

fn literal_comparison(literal: UserInputLiteral) -> Result<Comparison, FilterError> {
    let UserInputLiteral { phrase, delimiter, slop, prefix, .. } = literal;
    if slop > 0 {
        return Err(FilterError::Syntax("~ has no meaning in a filter".into()));
    }
    if prefix || delimiter != Delimiter::None {
        return Ok(if prefix { Comparison::Prefix(phrase) } else { Comparison::Equal(phrase) });
    }
    match phrase.split_once('*') {
        None => Ok(Comparison::Equal(phrase)),
        Some((start, "")) => Ok(Comparison::Prefix(start.into())),
        Some(_) => Err(FilterError::Syntax(format!(
            "in '{phrase}' the * is not at the end; write the value in quotes if the * belongs to it"
        ))),
    }
}

fn bound(bound: UserInputBound) -> Bound<String> {
    match bound {
        UserInputBound::Inclusive(value) => Bound::Included(value),
        UserInputBound::Exclusive(value) => Bound::Excluded(value),
        UserInputBound::Unbounded => Bound::Unbounded,
    }
}
