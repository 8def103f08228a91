//! What the gate, the proxy and a write cost, beside the runtime without them and beside a peer: both in turn, in one run, built optimised.

mod gate;
mod pairs;
mod proxy;
mod replicated;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::point::tell;

pub use gate::run as gate_launch;
pub use proxy::run as proxy_streams;
pub use replicated::run as replicated_writes;

/// A debug build says nothing about cost.
fn is_optimised() -> Result<()> {
    ensure!(
        !cfg!(debug_assertions),
        "a benchmark of a debug build says nothing: build with --release"
    );
    Ok(())
}

/// Writes what a benchmark came to into its table.
fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let table = folder.join(format!("{name}.md"));
    std::fs::write(&table, format!("# {name}\n\n{text}"))
        .with_context(|| format!("writing {}", table.display()))?;
    tell(&format!("table in {}", table.display()));
    Ok(())
}
