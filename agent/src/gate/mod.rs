//! The gate, as the agent has to do with it: what it is answered, and how it comes to stand before a runtime.

pub(crate) mod answers;
mod divert;
pub(crate) mod filters;
pub(crate) mod glass;
pub(crate) mod install;
pub(crate) mod listening;
pub(crate) mod refused;
pub(crate) mod standing;
pub(crate) mod watching;

/// Tells whoever called the program one line.
fn said(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
