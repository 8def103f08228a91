//! `cluster snapshot save`: fetches a snapshot into a file, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{CWD, RenameFlags, renameat_with};
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
    let draft = Draft::beside(file)?;
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
    let mut out = BufWriter::with_capacity(256 << 10, draft.begin()?);
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

/// How a file is put in a place where there is none. Nothing is replaced: where there is one that is
/// [`AlreadyExists`](ErrorKind::AlreadyExists).
type Way = fn(&Path, &Path) -> io::Result<()>;

/// In this order: not every file system knows the first two.
const WAYS: [Way; 3] = [renamed, linked, copied];

/// renameat2(2) with `RENAME_NOREPLACE`.
fn renamed(draft: &Path, file: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, draft, CWD, file, RenameFlags::NOREPLACE)?)
}

fn linked(draft: &Path, file: &Path) -> io::Result<()> {
    fs::hard_link(draft, file)
}

/// The only way on which somebody may see a part of it meanwhile.
fn copied(draft: &Path, file: &Path) -> io::Result<()> {
    let mut from = File::open(draft)?;
    let mut to = create_new(file)?;
    let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all());
    if copied.is_err() {
        let _ = fs::remove_file(file);
    }
    copied
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// A file that is not whole yet, of a name that no other has. Dropped, it is removed.
struct Draft {
    path: PathBuf,
    out: File,
}

impl Draft {
    fn beside(file: &Path) -> anyhow::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
        let mut path = file.as_os_str().to_owned();
        path.push(format!(".{:016x}.draft", u64::from_le_bytes(random)));
        let path = PathBuf::from(path);
        let made = create_new(&path);
        let out =
            made.map_err(|error| Failure::input(format!("{} cannot be made: {error}", path.display())))?;
        Ok(Self { path, out })
    }

    /// Begins it anew.
    fn begin(&self) -> anyhow::Result<&File> {
        let mut out = &self.out;
        self.out
            .set_len(0)
            .and_then(|()| out.rewind())
            .with_context(|| format!("writing {}", self.path.display()))?;
        Ok(out)
    }

    /// Puts it in its place. Without `force` nothing is replaced that came there meanwhile.
    fn keep(self, file: &Path, force: bool, name: &str) -> anyhow::Result<()> {
        match force {
            true => fs::rename(&self.path, file).with_context(|| format!("{name} cannot be replaced"))?,
            false => self.put(file, &WAYS, name)?,
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("{} cannot be made durable", folder.display()))
    }

    fn put(&self, file: &Path, ways: &[Way], name: &str) -> anyhow::Result<()> {
        let mut failed = io::Error::from(ErrorKind::Unsupported);
        for way in ways {
            match way(&self.path, file) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(is_there(name).into()),
                Err(error) => failed = error,
            }
        }
        Err(failed).with_context(|| format!("{name} cannot be put in its place"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Where it was renamed there is none.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn draft(file: &Path) -> Draft {
        let draft = Draft::beside(file).unwrap();
        draft
            .begin()
            .unwrap()
            .write_all(b"an attempt that broke")
            .unwrap();
        draft.begin().unwrap().write_all(b"whole").unwrap();
        draft
    }

    fn unknown_here(_: &Path, _: &Path) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    #[test]
    fn every_way_puts_it_in_its_place_and_replaces_nothing() {
        let ways: [&[Way]; 6] = [
            &[renamed],
            &[linked],
            &[copied],
            &[unknown_here, linked],
            &[unknown_here, unknown_here, copied],
            &WAYS,
        ];
        for (round, ways) in ways.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("kept");
            let first = draft(&file);
            first.put(&file, ways, "kept").unwrap();
            drop(first);
            assert_eq!(fs::read(&file).unwrap(), b"whole", "{round}");
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{round}");
            fs::write(&file, "somebody's").unwrap();
            let second = draft(&file);
            let refused = second.put(&file, ways, "kept").unwrap_err().to_string();
            assert!(refused.contains("kept is there already"), "{refused}");
            drop(second);
            assert_eq!(fs::read(&file).unwrap(), b"somebody's", "{round}");
            assert_eq!(names(dir.path()), ["kept"], "{round}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kept");
        let refused = draft(&file).put(&file, &[unknown_here], "kept").unwrap_err();
        assert!(
            refused.to_string().contains("cannot be put in its place"),
            "{refused}"
        );
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn what_others_left_beside_it_stays_and_two_at_once_have_a_draft_each() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kept");
        fs::write(dir.path().join("kept.draft"), "somebody's").unwrap();
        let (one, other) = (draft(&file), draft(&file));
        assert_ne!(one.path, other.path);
        one.keep(&file, false, "kept").unwrap();
        assert_eq!(fs::read(&other.path).unwrap(), b"whole");
        other.keep(&file, true, "kept").unwrap();
        assert_eq!(names(dir.path()), ["kept", "kept.draft"]);
        assert_eq!(fs::read(dir.path().join("kept.draft")).unwrap(), b"somebody's");
    }
}
