//! `cluster snapshot restore`: whether a file can be restored, and what to run on the member's host. Nothing can be done from here: the
//! files of a member are made where they stay, by whoever may read the roots' keys.

use std::path::Path;

use serde_json::json;
use verger_policy::model::printable;

use super::super::docker_env::quoted;
use super::contents::{self, Contents};
use crate::args::Format;
use crate::exit::Exit;
use crate::output::{document, emit, for_people};

pub(super) fn restore(file: &Path, roots: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let contents = contents::read(file)?;
    let command = command(file, roots);
    if !for_people(format) {
        let object = json!({
            "clusterId": contents.cluster,
            "digest": contents.digest.to_string(),
            "epoch": contents.epoch,
            "usedNames": contents.members,
            "command": command,
        });
        emit(&document(&object, format)?)?;
        return Ok(Exit::Clean);
    }
    emit(&told(&contents, &command))?;
    Ok(Exit::Clean)
}

fn command(file: &Path, roots: Option<&Path>) -> String {
    let word = |path: &Path| quoted(&printable(&path.display().to_string()));
    let roots = roots.map_or_else(|| "ROOTS".to_owned(), word);
    format!(
        "verger-controller restore --snapshot {} --roots {roots}",
        word(file)
    )
}

fn told(contents: &Contents, command: &str) -> String {
    let Contents {
        cluster,
        time,
        epoch,
        members,
        ..
    } = contents;
    format!(
        "This is cluster {cluster} as of {time}, epoch {epoch}; the file is sound.\n\
         It is restored on the host of the new cluster's first member:\n  \
         1. stop every member that is left ({members}): none of them is one any more\n  \
         2. bring there this file, and the folder that `verger-controller roots export` wrote (ROOTS)\n  \
         3. write its configuration, with an empty `data_dir` and a `member` that none of these had; with the addresses of before, agents and \
         contexts find it\n  \
         4. {command}\n\
         It says what comes next: agents that have a higher epoch than {epoch} wait for a set that is sealed above it.\n",
        members = members.join(", ")
    )
}
