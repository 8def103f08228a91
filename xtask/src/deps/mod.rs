//! Who may depend on whom: the direction rules of the architecture, held against `cargo metadata`.
//!
//! The rules are data (`table`), the judgement is a pure function (`violations`), reading the workspace is apart
//! from both (`graph`).

mod graph;
mod rules;
mod table;

use std::path::Path;

use anyhow::{Result, bail};

use graph::Graph;
use rules::violations;

/// Reads the workspace and fails with every violation, each with its remedy.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let graph = Graph::read(workspace)?;
    let found = violations(&graph, &table::RULES);
    if found.is_empty() {
        println!("    {} crates, no forbidden dependency", graph.declared.len());
        return Ok(());
    }
    for violation in &found {
        eprintln!("  {violation}");
    }
    bail!("{} forbidden dependencies", found.len())
}

#[cfg(test)]
mod tests;
