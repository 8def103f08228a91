//! `completions` and `man`.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::args::Cli;
use crate::exit::Exit;
use crate::output::{emit, note};

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "verger", &mut script);
    emit(&String::from_utf8(script).context("a completion script is text")?)?;
    Ok(Exit::Clean)
}

/// Writes a page for the program and for each of its commands.
pub(super) fn manual(folder: &Path) -> anyhow::Result<Exit> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
    note(&format!("manual pages written to {}", folder.display()));
    Ok(Exit::Clean)
}
