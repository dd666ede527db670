//! A table of words and figures, and how it looks in plain text and in Markdown; in HTML: `html/tables.rs`.

use std::fmt;

use crate::words::NONE;

/// What a column holds, which says how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Labels of runs.
    Run,
    /// Other words.
    Words,
    /// Figures, set flush right.
    Figure,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// A heading above those of neighbouring columns of the same group; empty for none.
    pub group: &'static str,
    /// The heading.
    pub title: &'static str,
    /// What is in it.
    pub kind: Kind,
}

/// Rows under headings. Each row has one cell for every column.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The columns, left to right.
    pub columns: Vec<Column>,
    /// The cells, as they are read.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(columns: impl IntoIterator<Item = (&'static str, &'static str, Kind)>) -> Self {
        let column = |(group, title, kind)| Column { group, title, kind };
        Self { columns: columns.into_iter().map(column).collect(), rows: Vec::new() }
    }

    /// Without the figures that no row has.
    pub fn compact(mut self) -> Self {
        let kept: Vec<bool> = (0..self.columns.len())
            .map(|c| self.columns[c].kind != Kind::Figure || self.rows.iter().any(|row| row[c] != NONE))
            .collect();
        for row in &mut self.rows {
            *row = std::mem::take(row)
                .into_iter()
                .zip(&kept)
                .filter(|(_, kept)| **kept)
                .map(|(cell, _)| cell)
                .collect();
        }
        let mut kept = kept.into_iter();
        self.columns.retain(|_| kept.next() == Some(true));
        self
    }

    /// The groups in order, each with its number of columns.
    pub fn groups(&self) -> Vec<(&'static str, usize)> {
        let groups = self.columns.chunk_by(|a, b| a.group == b.group);
        groups.map(|columns| (columns[0].group, columns.len())).collect()
    }

    /// As GitHub's Markdown. There are no groups of columns there: the first heading of each names its group.
    pub fn markdown(&self) -> String {
        let mut group = "";
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let first = std::mem::replace(&mut group, column.group) != column.group;
                let title =
                    if first { format!("{} {}", column.group, column.title) } else { column.title.into() };
                markdown_text(title.trim())
            })
            .collect();
        let rule = self.columns.iter().map(|c| if c.kind == Kind::Figure { "---:" } else { "---" });
        let mut lines = vec![titles.join(" | "), rule.collect::<Vec<_>>().join(" | ")];
        lines.extend(
            self.rows
                .iter()
                .map(|row| row.iter().map(|cell| markdown_text(cell)).collect::<Vec<_>>().join(" | ")),
        );
        lines.iter().map(|line| format!("| {line} |\n")).collect()
    }
}

/// Plain text, columns aligned by characters.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|c| {
                let cells = self.rows.iter().map(|row| length(&row[c]));
                cells.max().unwrap_or(0).max(length(self.columns[c].title))
            })
            .collect();
        // A group's heading may be wider than its columns.
        let mut first = 0;
        for (group, columns) in self.groups() {
            let has: usize = widths[first..first + columns].iter().map(|width| width + 2).sum::<usize>() - 2;
            widths[first] += length(group).saturating_sub(has);
            first += columns;
        }
        if self.columns.iter().any(|column| !column.group.is_empty()) {
            let (mut line, mut first) = (String::new(), 0);
            for (group, columns) in self.groups() {
                let width: usize = widths[first..first + columns].iter().map(|width| width + 2).sum();
                line += &format!("{group:>w$}  ", w = width - 2);
                first += columns;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        let titles: Vec<&str> = self.columns.iter().map(|column| column.title).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(String::as_str).collect());
        for row in std::iter::once(titles).chain(rows) {
            let cells =
                row.iter().zip(&widths).zip(&self.columns).map(|((cell, &width), column)| {
                    match column.kind {
                        Kind::Figure => format!("{cell:>width$}"),
                        Kind::Run | Kind::Words => format!("{cell:<width$}"),
                    }
                });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Words that Markdown is to show as they are, in one line.
pub(crate) fn markdown_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '\\' | '`' | '*' | '|' | '<' | '>' | '[' | ']' | '#' | '~' | '&' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            ("", "run", Kind::Run),
            ("text → image", "R@1", Kind::Figure),
            ("text → image", "R@5", Kind::Figure),
            ("", "empty", Kind::Figure),
        ]);
        table.rows.push(["a", "1.0", "2.0", NONE].map(String::from).to_vec());
        table.rows.push(["a|b <c>", "100.0", "3.0", NONE].map(String::from).to_vec());
        table.compact()
    }

    #[test]
    fn plain_text_lines_up() {
        let expected =
            "          text → image\nrun        R@1   R@5\na          1.0   2.0\na|b <c>  100.0   3.0\n";
        let text = table().to_string();
        assert_eq!(text.lines().count(), 4, "{text}");
        let ends: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{text}\nas in\n{expected}");
        assert!(!text.contains("empty"), "{text}");
    }

    #[test]
    fn markdown_keeps_cells_apart() {
        let expected = "| run | text → image R@1 | R@5 |\n| --- | ---: | ---: |\n| a | 1.0 | 2.0 |\n\
                        | a\\|b \\<c\\> | 100.0 | 3.0 |\n";
        assert_eq!(table().markdown(), expected);
    }

    #[test]
    fn nothing_to_show_is_shown() {
        let table = Table::new([("", "run", Kind::Run)]);
        assert_eq!((table.to_string().as_str(), table.markdown().as_str()), ("run\n", "| run |\n| --- |\n"));
    }
}
