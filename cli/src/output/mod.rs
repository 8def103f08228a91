//! Rendering: one result, any format. Nothing that came from a container reaches the terminal unescaped.

mod sheet;

pub(crate) use sheet::{Column, Sheet};

use std::io::Write;

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
