//! Why a filter has no answer. All of it is the caller's to mend.

use thiserror::Error;

use super::{MAX_FILTER_CHARS, MAX_NESTING};

/// Why a filter cannot be read, or cannot be meant for this index.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// No condition.
    #[error("the filter is empty; leave it out, or write a condition such as camera:canon")]
    Empty,
    /// Too many characters.
    #[error("the filter has {0} characters; it must have at most {MAX_FILTER_CHARS}")]
    TooLong(usize),
    /// Too many levels.
    #[error("the filter has {0} parentheses and NOTs; it must have at most {MAX_NESTING}")]
    TooDeep(usize),
    /// Not of the grammar.
    #[error(
        "the filter cannot be read: {0}. Conditions are written camera:canon, width:>=1000, taken:[2020-01-01 TO 2020-12-31], \
         uri:/photos/2020*, caption:\"red car\", and joined by AND, OR, NOT and parentheses; a value with a space or any of \
         : ( ) [ ] {{ }} ^ ' in it is written in double quotes"
    )]
    Syntax(String),
    /// A name that no image has.
    #[error("no image has the attribute '{name}'; filter by one of: {}", .known.join(", "))]
    UnknownAttribute {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A value that the attribute's own cannot be compared with.
    #[error("'{name}' holds {holds}, which {comparison} cannot be compared with; {advice}")]
    Incomparable {
        /// The attribute.
        name: String,
        /// What its values are.
        holds: String,
        /// What was asked of them.
        comparison: String,
        /// What to write instead.
        advice: &'static str,
    },
}

/// What is most likely wrong with a text that the grammar refuses.
pub(super) fn guess(text: &str) -> String {
    let mut open = Vec::new();
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => open.push(')'),
            '[' | '{' => open.push(']'),
            ')' | ']' | '}' => {
                let closes = if c == ')' { ')' } else { ']' };
                if open.pop() != Some(closes) {
                    return format!("there is a '{c}' that closes nothing");
                }
            }
            _ => {}
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_operator = |word: Option<&&str>| word.is_some_and(|word| ["AND", "OR", "NOT"].contains(word));
    if quoted {
        "a quote is not closed".into()
    } else if let Some(missing) = open.pop() {
        let missing = if missing == ')' { "a '(' is" } else { "a '[' or '{' is" };
        format!("{missing} not closed")
    } else if is_operator(words.last()) {
        "nothing stands behind its last word".into()
    } else if words.first().is_some_and(|word| ["AND", "OR"].contains(word)) {
        "nothing stands before its first word".into()
    } else if text.contains('\'') {
        "a value with ' in it stands in double quotes".into()
    } else {
        "it is not made of conditions".into()
    }
}
