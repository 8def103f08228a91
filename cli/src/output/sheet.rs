//! A table whose rows are also objects, so that every format says the same.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;
use verger_policy::model::{is_printable, printable, printable_within};

use crate::args::Format;

/// The most of a cell that a table shows; what machines read is whole. A table wraps what is longer than 65,535.
const CELL_CHARACTERS: usize = 4_000;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its heading.
    pub head: &'static str,
    /// Only with `-o wide`.
    pub wide: bool,
}

impl Column {
    pub(crate) const fn new(head: &'static str) -> Self {
        Self { head, wide: false }
    }

    pub(crate) const fn wide(head: &'static str) -> Self {
        Self { head, wide: true }
    }
}

/// A result to print.
#[derive(Debug)]
pub(crate) struct Sheet {
    columns: &'static [Column],
    rows: Vec<Row>,
    empty: &'static str,
    /// One object, printed by itself and not as a list of one.
    single: bool,
}

#[derive(Debug)]
struct Row {
    name: String,
    cells: Vec<String>,
    object: Value,
}

impl Sheet {
    /// A list; `empty` is what a person sees when there is nothing in it.
    pub(crate) const fn list(columns: &'static [Column], empty: &'static str) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            empty,
            single: false,
        }
    }

    /// One object.
    pub(crate) const fn one(columns: &'static [Column]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            empty: "",
            single: true,
        }
    }

    /// Adds a row: its name, a cell per column, and the object machines read.
    pub(crate) fn push(&mut self, name: impl Into<String>, cells: Vec<String>, object: Value) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell per column");
        self.rows.push(Row {
            name: name.into(),
            cells,
            object,
        });
    }

    /// Renders in the asked format, ending with a newline unless empty.
    pub(crate) fn render(&self, format: Format) -> anyhow::Result<String> {
        Ok(match format {
            Format::Table | Format::Wide => self.table(format == Format::Wide),
            Format::Name => self
                .rows
                .iter()
                .map(|row| format!("{}\n", printable(&row.name)))
                .collect(),
            Format::Jsonl => {
                let mut text = String::new();
                for row in &self.rows {
                    text.push_str(&ascii_json(&row.object, false)?);
                    text.push('\n');
                }
                text
            }
            Format::Json => {
                let value = self.document();
                ascii_json(&value, true)? + "\n"
            }
            Format::Yaml => {
                let mut text = String::new();
                for row in &self.rows {
                    text.push_str("---\n");
                    // Line ends at the end may belong to the last value.
                    let yaml = yaml(&row.object)?;
                    text.push_str(yaml.strip_prefix("---\n").unwrap_or(&yaml));
                    if !text.ends_with('\n') {
                        text.push('\n');
                    }
                }
                text
            }
        })
    }

    fn document(&self) -> Value {
        match (self.single, self.rows.as_slice()) {
            (true, [row]) => row.object.clone(),
            (_, rows) => Value::Array(rows.iter().map(|row| row.object.clone()).collect()),
        }
    }

    fn table(&self, wide: bool) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        let shown = |index: &usize| wide || !self.columns[*index].wide;
        let indices: Vec<usize> = (0..self.columns.len()).filter(shown).collect();
        table.set_header(indices.iter().map(|index| self.columns[*index].head));
        for row in &self.rows {
            table.add_row(
                indices
                    .iter()
                    .map(|index| printable_within(&row.cells[*index], CELL_CHARACTERS)),
            );
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim());
            text.push('\n');
        }
        text
    }
}

/// YAML that is safe on a terminal. What holds characters a terminal could act on is written in flow style, where each of
/// them can be escaped.
fn yaml(value: &Value) -> anyhow::Result<String> {
    let safe = |c: char| c == '\n' || is_printable(c);
    let text = serde_saphyr::to_string(value)?;
    if text.chars().all(safe) {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in serde_json::to_string_pretty(value)?.chars() {
        match u32::from(c) {
            _ if safe(c) => out.push(c),
            code @ 0..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    Ok(out)
}

/// JSON in which every character outside printable ASCII is escaped: it reads back the same, and is safe on a terminal.
pub(crate) fn ascii_json(value: &impl Serialize, pretty: bool) -> anyhow::Result<String> {
    let text = if pretty {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || (' '..='~').contains(&character) {
            out.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const COLUMNS: &[Column] = &[Column::new("NAME"), Column::wide("ID")];

    fn hostile() -> Sheet {
        let mut sheet = Sheet::list(COLUMNS, "none");
        let name = "a\u{1b}[31m\r\n\u{202e}<script>";
        sheet.push(
            name,
            vec![name.to_owned(), "1".to_owned()],
            json!({ "name": name }),
        );
        sheet
    }

    #[test]
    fn hostile_names_are_never_raw_in_any_format() {
        for format in [
            Format::Table,
            Format::Wide,
            Format::Json,
            Format::Jsonl,
            Format::Name,
            Format::Yaml,
        ] {
            let text = hostile().render(format).unwrap();
            assert!(
                !text.contains('\u{1b}') && !text.contains('\r') && !text.contains('\u{202e}'),
                "{format:?}: {text}"
            );
        }
    }

    #[test]
    fn json_reads_back_the_same() {
        let text = hostile().render(Format::Json).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["name"], "a\u{1b}[31m\r\n\u{202e}<script>");
    }

    #[test]
    fn yaml_reads_back_the_same() {
        for name in [
            "plain",
            "a\u{1b}[31m\r\n\u{202e}<script>",
            "\u{e0041}\u{7f}\u{1f600}\"\\",
            "\n",
            "a\n\n",
        ] {
            let mut sheet = Sheet::one(COLUMNS);
            sheet.push(
                "",
                vec![String::new(), String::new()],
                json!({ "name": name, "n": 1, "list": [name, null, true], "note": name }),
            );
            let text = sheet.render(Format::Yaml).unwrap();
            let value: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(
                value,
                json!({ "name": name, "n": 1, "list": [name, null, true], "note": name }),
                "{text}"
            );
        }
    }

    #[test]
    fn wide_columns_show_only_when_asked() {
        assert!(!hostile().render(Format::Table).unwrap().contains("ID"));
        assert!(hostile().render(Format::Wide).unwrap().contains("ID"));
    }
}
