//! Rendering: one result, any format. Nothing that came from a container reaches the terminal unescaped.

#[cfg(test)]
pub(crate) mod fuzz;
mod sheet;

pub(crate) use sheet::{Column, Sheet, ascii_json};

use std::io::Write;

use serde_json::Value;
use verger_policy::model::printable;

use crate::args::Format;

/// Writes to standard output. A closed pipe ends the program quietly, as `head` expects.
pub(crate) fn emit(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Renders a sheet in the asked format.
pub(crate) fn print(sheet: &Sheet, format: Format) -> anyhow::Result<()> {
    emit(&sheet.render(format)?)
}

/// One object that has no rows.
pub(crate) fn document(value: &Value, format: Format) -> anyhow::Result<String> {
    const COLUMNS: &[Column] = &[];
    let mut sheet = Sheet::one(COLUMNS);
    sheet.push("", Vec::new(), value.clone());
    sheet.render(format)
}

/// Writes one line for a person to standard error, each of its lines escaped. Nothing is said if there is nobody to hear.
pub(crate) fn note(text: &str) {
    let mut out = std::io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(out, "{}", printable(line));
    }
}

/// Whether a format is for people.
pub(crate) const fn for_people(format: Format) -> bool {
    matches!(format, Format::Table | Format::Wide)
}
