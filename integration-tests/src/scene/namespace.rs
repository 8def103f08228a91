//! The network namespace of the test daemon's host: commands in it, and what the kernel counts there.

use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::checked;

/// It, by its file.
pub(crate) struct Namespace(PathBuf);

impl Namespace {
    pub(crate) fn at(file: PathBuf) -> Self {
        Self(file)
    }

    /// A command in it.
    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.0.display())).args(line);
        command
    }

    /// What nft(8) prints of it, with this on its standard input.
    ///
    /// # Errors
    /// When it ends otherwise than with 0.
    pub(crate) fn nft(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut file = tempfile::tempfile()?;
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        let line = [&["nft"], arguments].concat();
        let output = checked(self.command(&line).stdin(file))?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What the counters of a table have counted, packets, in the order of its rules.
    ///
    /// # Errors
    /// When there is no such table.
    pub(crate) fn counted(&self, family: &str, table: &str) -> Result<Vec<u64>> {
        let listed = self.nft(&["-j", "list", "table", family, table], "")?;
        let document: Value = serde_json::from_str(&listed)?;
        let objects = document["nftables"].as_array().context("nft lists objects")?;
        let rules = objects.iter().filter_map(|object| object.get("rule"));
        let parts = rules.filter_map(|rule| rule["expr"].as_array());
        Ok(parts
            .filter_map(|parts| parts.iter().find_map(|part| part["counter"]["packets"].as_u64()))
            .collect())
    }
}
