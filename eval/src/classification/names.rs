//! What classes are called: the words that go into prompts.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::EvalError;

/// Class names, as a file gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassNames {
    /// Name of class 0, class 1, …: for folders in the order of their names, or for label numbers.
    Ordered(Vec<String>),
    /// Folder and name of each class, in the order of the file.
    ByFolder(Vec<(String, String)>),
}

/// Reads class names, told apart by content:
///
/// - lines `name`, one a class: CLIP_benchmark's `classnames.txt`;
/// - lines `folder`, tab, `name`;
/// - lines `n01440764 tench, Tinca tinca`: ImageNet's `LOC_synset_mapping.txt`, where every first word is a WordNet id;
/// - JSON: a list of names, an object from folder to name, or `{"0": ["n01440764", "tench"], …}` (Keras' `imagenet_class_index.json`).
///   An object whose keys are 0, 1, 2 … with names alone is an ordered list.
///
/// # Errors
/// [`EvalError::Rows`] when there is no name, one is empty, a line lacks its name, or a folder comes twice.
pub fn parse_class_names(text: &str) -> Result<ClassNames, EvalError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let names = match text.chars().next() {
        Some('[' | '{') => of_json(text)?,
        _ => of_lines(text)?,
    };
    let (count, first_empty) = match &names {
        ClassNames::Ordered(names) => (names.len(), names.iter().position(String::is_empty)),
        ClassNames::ByFolder(pairs) => {
            let mut seen = HashMap::new();
            for (folder, name) in pairs {
                if let Some(first) = seen.insert(folder, name) {
                    return wrong(format!(
                        "folder '{folder}' has two names, '{first}' and '{name}'; keep one"
                    ));
                }
            }
            (pairs.len(), pairs.iter().position(|(folder, name)| folder.is_empty() || name.is_empty()))
        }
    };
    match (count, first_empty) {
        (0, _) => wrong("the file has no class names; give one a line".into()),
        (_, Some(at)) => wrong(format!("class {at} (counted from 0) has no name; complete the file")),
        (_, None) => Ok(names),
    }
}

fn wrong<T>(reason: String) -> Result<T, EvalError> {
    Err(EvalError::Rows { reason })
}

fn of_lines(text: &str) -> Result<ClassNames, EvalError> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    let tabs = lines.iter().filter(|line| line.contains('\t')).count();
    if tabs > 0 {
        if tabs < lines.len() {
            return wrong(format!(
                "{tabs} of {} lines have a tab between folder and name; give all of them one",
                lines.len()
            ));
        }
        return Ok(ClassNames::ByFolder(
            lines.iter().filter_map(|line| pair(line.split_once('\t')?)).collect(),
        ));
    }
    let synsets: Vec<(String, String)> = lines
        .iter()
        .filter_map(|line| line.split_once(' '))
        .filter(|(folder, _)| is_synset(folder))
        .filter_map(pair)
        .collect();
    if !lines.is_empty() && synsets.len() == lines.len() {
        return Ok(ClassNames::ByFolder(synsets));
    }
    Ok(ClassNames::Ordered(lines.iter().map(|line| line.trim().to_owned()).collect()))
}

fn pair((folder, name): (&str, &str)) -> Option<(String, String)> {
    Some((folder.trim().to_owned(), name.trim().to_owned()))
}

/// A WordNet id of a noun, as ImageNet's folders are called: `n01440764`.
fn is_synset(word: &str) -> bool {
    word.strip_prefix('n')
        .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn of_json(text: &str) -> Result<ClassNames, EvalError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Json {
        List(Vec<String>),
        Pairs(BTreeMap<String, (String, String)>),
        Names(BTreeMap<String, String>),
    }
    let Ok(json) = serde_json::from_str(text) else {
        return wrong(
            "no class names in JSON; expected a list of names, or an object from folder to name".into(),
        );
    };
    let by_number = |mut keys: Vec<(usize, (String, String))>| {
        keys.sort_by_key(|(number, _)| *number);
        keys.into_iter().map(|(_, pair)| pair).collect()
    };
    let trim = |name: String| name.trim().to_owned();
    Ok(match json {
        Json::List(names) => ClassNames::Ordered(names.into_iter().map(trim).collect()),
        Json::Pairs(pairs) => {
            let numbered = |(key, pair): (String, _)| Some((key.parse().ok()?, pair));
            let count = pairs.len();
            let keys: Vec<_> = pairs.into_iter().filter_map(numbered).collect();
            if keys.len() < count {
                return wrong(
                    "the keys of the JSON object are no numbers; expected {\"0\": [\"folder\", \"name\"], …}"
                        .into(),
                );
            }
            ClassNames::ByFolder(by_number(keys))
        }
        Json::Names(names) => {
            let numbers: Option<Vec<(usize, String)>> =
                names.iter().map(|(key, name)| Some((key.parse().ok()?, name.clone()))).collect();
            let mut numbers = numbers.unwrap_or_default();
            numbers.sort();
            let is_list =
                !numbers.is_empty() && numbers.iter().enumerate().all(|(at, (number, _))| at == *number);
            match is_list {
                true => ClassNames::Ordered(numbers.into_iter().map(|(_, name)| trim(name)).collect()),
                false => ClassNames::ByFolder(
                    names.into_iter().map(|(folder, name)| (folder, trim(name))).collect(),
                ),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(names: &[&str]) -> ClassNames {
        ClassNames::Ordered(names.iter().map(|&name| name.into()).collect())
    }

    fn by_folder(pairs: &[(&str, &str)]) -> ClassNames {
        ClassNames::ByFolder(pairs.iter().map(|&(folder, name)| (folder.into(), name.into())).collect())
    }

    #[test]
    fn every_layout() {
        let read = |text: &str| parse_class_names(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            read("\u{feff}tench\r\n\r\ngreat white shark \r\n"),
            ordered(&["tench", "great white shark"])
        );
        assert_eq!(read("b\tBee\na\tAnt, black"), by_folder(&[("b", "Bee"), ("a", "Ant, black")]));
        assert_eq!(
            read("n01440764 tench, Tinca\nn01443537 goldfish"),
            by_folder(&[("n01440764", "tench, Tinca"), ("n01443537", "goldfish")])
        );
        assert_eq!(read("n01440764 tench\nfish"), ordered(&["n01440764 tench", "fish"]));
        assert_eq!(read(r#"["a", " b"]"#), ordered(&["a", "b"]));
        assert_eq!(read(r#"{"x": "Ex"}"#), by_folder(&[("x", "Ex")]));
        assert_eq!(
            read(
                r#"{"10": "k", "0": "a", "1": "b", "2": "c", "3": "d", "4": "e", "5": "f", "6": "g", "7": "h", "8": "i", "9": "j"}"#
            ),
            ordered(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"])
        );
        assert_eq!(read(r#"{"10": ["n2", "b"], "9": ["n1", "a"]}"#), by_folder(&[("n1", "a"), ("n2", "b")]));
    }

    #[test]
    fn what_is_no_list_of_names() {
        for bad in [
            "",
            "\n",
            "[]",
            "{}",
            "[1]",
            "{\"a\": [1]}",
            "a\tb\nc",
            "a\tb\na\tc",
            "a\t\nb\tc",
            r#"["a", ""]"#,
            r#"{"a": ["x", "y"]}"#,
            "[",
        ] {
            assert!(parse_class_names(bad).is_err(), "{bad}");
        }
    }
}
