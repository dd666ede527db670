//! [`Table`] in HTML.

use super::{Keys, escape};
use crate::table::{Kind, Table};

/// A column of drawings, which only HTML has.
pub(super) struct Drawn {
    /// The column that it stands before.
    pub before: usize,
    /// Its heading, in HTML.
    pub heading: String,
    /// A cell for each row, in HTML.
    pub cells: Vec<String>,
}

/// With a caption above, which keeps the width of the page; the table scrolls by itself where the page is too narrow, by keyboard too.
pub(super) fn table(table: &Table, caption: &str, keys: &Keys, drawn: Option<Drawn>) -> String {
    let caption = escape(caption);
    let place = drawn.as_ref().map(|drawn| drawn.before);
    let class = |kind: Kind| if kind == Kind::Figure { "figure" } else { "words" };
    let mut html = format!(
        "<p class=\"caption\">{caption}</p>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\">\n<table>\n<thead>\n"
    );
    if place.is_none() && table.groups().len() > 1 {
        html += "<tr>";
        for (group, columns) in table.groups() {
            html += &match group {
                "" => format!("<td colspan=\"{columns}\"></td>"),
                group => format!("<th scope=\"colgroup\" colspan=\"{columns}\">{}</th>", escape(group)),
            };
        }
        html += "</tr>\n";
    }
    html += "<tr>";
    for (c, column) in table.columns.iter().enumerate() {
        if let Some(drawn) = drawn.as_ref().filter(|_| place == Some(c)) {
            html += &format!("<th scope=\"col\" class=\"drawn\">{}</th>", drawn.heading);
        }
        html += &format!("<th scope=\"col\" class=\"{}\">{}</th>", class(column.kind), escape(column.title));
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    for (r, row) in table.rows.iter().enumerate() {
        html += "<tr>";
        for (c, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
            if let Some(drawing) =
                drawn.as_ref().filter(|_| place == Some(c)).and_then(|drawn| drawn.cells.get(r))
            {
                html += &format!("<td class=\"drawn\">{drawing}</td>");
            }
            let text = if column.kind == Kind::Run { keys.name(cell) } else { escape(cell) };
            html += &match c {
                0 => format!("<th scope=\"row\">{text}</th>"),
                _ => format!("<td class=\"{}\">{text}</td>", class(column.kind)),
            };
        }
        html += "</tr>\n";
    }
    html + "</tbody>\n</table>\n</div>\n"
}
