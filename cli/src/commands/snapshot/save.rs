//! `cluster snapshot save`: fetches a snapshot into a file, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use verger_policy::model::printable;
use verger_proto::cluster::v1 as pb;

use super::contents::{self, Contents};
use crate::args::Format;
use crate::connect::{Session, Waits, request_id};
use crate::exit::{Exit, Failure};
use crate::output::{for_people, note};
use crate::status::is_unreachable;

/// How often it is begun anew.
const ATTEMPTS: u32 = 6;
/// A member that gives nothing for so long is given up. The first of it comes when all of it was written there.
const SILENCE: Duration = Duration::from_secs(120);

pub(super) async fn save(
    context: Option<&Path>,
    file: &Path,
    force: bool,
    format: Format,
) -> anyhow::Result<Exit> {
    let name = printable(&file.display().to_string()).into_owned();
    if !force && fs::symlink_metadata(file).is_ok() {
        return Err(is_there(&name).into());
    }
    let mut session = Session::open(context).await?;
    let draft = Draft::of(file);
    fetch(&mut session, &draft).await?;
    let contents = contents::read(&draft.path).context("what came is no sound snapshot; nothing was kept")?;
    let (found, wanted) = (&contents.cluster, &session.context().cluster_id);
    if found != wanted {
        return Err(Failure::new(
            Exit::Violation,
            format!("the snapshot that came is of cluster {found}, the context's cluster is {wanted}; nothing was kept"),
        )
        .into());
    }
    draft.keep(file, force, &name)?;
    show(&contents, &name, format)?;
    Ok(Exit::Clean)
}

fn show(contents: &Contents, name: &str, format: Format) -> anyhow::Result<()> {
    super::show(contents, format)?;
    if for_people(format) {
        note(&format!(
            "saved as {name}. It holds hashes of secrets, digests of keys and the audit: keep it as you keep keys, and the roots \
             (`verger-controller roots export`) with which alone it can be restored elsewhere"
        ));
    }
    Ok(())
}

fn is_there(name: &str) -> Failure {
    Failure::input(format!(
        "{name} is there already: name another file, or replace it with --force"
    ))
}

/// Whether another member, or the same one later, may give it.
fn is_passing(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    is_unreachable(status) || reason.as_deref() == Some("SNAPSHOT_BUSY")
}

async fn fetch(session: &mut Session, draft: &Draft) -> anyhow::Result<()> {
    let (mut waits, mut attempt) = (Waits::new(), 0);
    loop {
        attempt += 1;
        match fetched(session, draft).await {
            Err(error) if attempt < ATTEMPTS && error.downcast_ref::<Status>().is_some_and(is_passing) => {
                waits.next().await;
                // Who cannot be reached now may be at the next attempt.
                let _ = session.reconnect().await;
            }
            other => return other,
        }
    }
}

async fn fetched(session: &Session, draft: &Draft) -> anyhow::Result<()> {
    let out = draft.create()?;
    let mut out = BufWriter::with_capacity(256 << 10, out);
    // Each is on record by itself: whoever was given some of it was given it.
    let request = Request::new(pb::SaveSnapshotRequest {
        request_id: request_id(),
    });
    let silent =
        |_| Status::deadline_exceeded(format!("the member gave nothing for {} s", SILENCE.as_secs()));
    let mut members = session.members();
    let answer = tokio::time::timeout(SILENCE, members.save_snapshot(request)).await;
    let mut stream = answer.map_err(silent)??.into_inner();
    let (mut size, mut taken) = (0, 0);
    loop {
        let next = tokio::time::timeout(SILENCE, stream.message()).await;
        let Some(pb::SaveSnapshotResponse { data, size: told }) = next.map_err(silent)?? else {
            break;
        };
        size = size.max(told);
        taken += data.len() as u64;
        out.write_all(&data)
            .with_context(|| format!("writing {}", draft.path.display()))?;
    }
    if taken != size {
        return Err(Status::unavailable(format!("{taken} bytes came of {size}")).into());
    }
    let written = out.into_inner().map_err(std::io::IntoInnerError::into_error);
    written
        .and_then(|file| file.sync_all())
        .with_context(|| format!("writing {}", draft.path.display()))
}

/// A file that is not whole yet. Dropped, it is removed.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn of(file: &Path) -> Self {
        let mut path = file.as_os_str().to_owned();
        path.push(".draft");
        Self { path: path.into() }
    }

    /// Begins it, anew where there was one.
    fn create(&self) -> anyhow::Result<File> {
        let name = self.path.display();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{name} is in the way"));
            }
            _ => {}
        }
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path);
        made.map_err(|error| Failure::input(format!("{name} cannot be made: {error}")).into())
    }

    /// Puts it in its place. Without `force` nothing is replaced that came there meanwhile.
    fn keep(self, file: &Path, force: bool, name: &str) -> anyhow::Result<()> {
        match force {
            true => fs::rename(&self.path, file).with_context(|| format!("{name} cannot be replaced"))?,
            false => fs::hard_link(&self.path, file).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => anyhow::Error::from(is_there(name)),
                _ => anyhow::Error::from(error).context(format!("{name} cannot be put in its place")),
            })?,
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("{} cannot be made durable", folder.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Where it was renamed there is none.
        let _ = fs::remove_file(&self.path);
    }
}
