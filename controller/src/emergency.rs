//! A door for who is on the member's own host while it runs: a socket in the member's folder, for root and for the member's user.
//!
//! Whoever may open it could read the authorities' keys in the same folder anyway. One question a connection, one line of JSON
//! each way; what it asks for is a command like any other, with a row in the audit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::{Action, Command, Response, break_glass_name, limits};
use verger_policy::digest::Digest;
use verger_policy::model::printable;
use verger_transport::Label;

use crate::adapters::SystemAmbient;
use crate::config::Config;
use crate::{timekeeper, wire_up};

/// The longest line, bytes.
const LINE_BYTES: u64 = 16 << 10;
/// How long a question and its answer may take: longer than a leader is looked for and its answer waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// What may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Question {
    /// See [`Action::BreakGlass`].
    BreakGlass {
        person: String,
        reason: String,
        /// `sha256:` and hex.
        key: String,
        ends: Timestamp,
    },
    /// See [`Action::EndBreakGlass`].
    EndBreakGlass { person: String },
    /// See [`Action::RecoverLogin`].
    RecoverLogin {
        person: String,
        reason: String,
        /// `sha256:` and hex.
        key: String,
    },
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answer {
    /// It is done, and on record.
    Done {
        /// The cluster's id.
        cluster: String,
        /// When it ends; absent where it ended.
        ends: Option<Timestamp>,
    },
    /// Nothing was done.
    Refused { why: String },
}

/// A reason as it is put on record.
///
/// # Errors
/// Where it says nothing, or too much.
pub(crate) fn reason_in(text: &str) -> anyhow::Result<String> {
    let reason = printable(text.trim()).into_owned();
    anyhow::ensure!(
        !reason.is_empty() && reason.len() <= limits::NAME_BYTES,
        "--reason: say why, in at most {} bytes",
        limits::NAME_BYTES
    );
    Ok(reason)
}

/// Carries a question out.
pub(crate) async fn carry_out(member: &Member, name: &str, question: Question) -> Answer {
    match attempt(member, name, question).await {
        Ok((cluster, ends)) => Answer::Done { cluster, ends },
        Err(error) => Answer::Refused {
            why: format!("{error:#}"),
        },
    }
}

async fn attempt(
    member: &Member,
    name: &str,
    question: Question,
) -> anyhow::Result<(String, Option<Timestamp>)> {
    let (login, action) = match question {
        Question::BreakGlass {
            person,
            reason,
            key,
            ends,
        } => {
            let key: Digest = key.parse().context("the key's digest")?;
            // The command asks for both; whoever writes to the socket is asked again.
            let _: Label = break_glass_name(&person).parse().context("the person's name")?;
            let reason = reason_in(&reason)?;
            let action = Action::BreakGlass {
                person: person.clone(),
                reason,
                key,
                ends,
            };
            (Some(break_glass_name(&person)), action)
        }
        Question::EndBreakGlass { person } => (None, Action::EndBreakGlass { person }),
        Question::RecoverLogin { person, reason, key } => {
            let key: Digest = key.parse().context("the key's digest")?;
            let _: Label = person.parse().context("the person's name")?;
            let reason = reason_in(&reason)?;
            (None, Action::RecoverLogin { person, reason, key })
        }
    };
    let command = Command::of_member(name, SystemAmbient.now(), action);
    match member.propose(&command).await? {
        Response::LoginCreated | Response::BreakGlassEnded => {}
        Response::Refused(refused) => anyhow::bail!("{refused}"),
        other => anyhow::bail!("the state machine answered {other:?}"),
    }
    member.read(|state| {
        let cluster = state.cluster().context("this member is not founded")?.id.hex();
        let login = login.and_then(|login| state.login(&login));
        Ok((cluster, login.and_then(|login| login.ends())))
    })
}

/// Serves for ever. A member that cannot says so in its log, and serves everybody else.
pub(crate) async fn serve(place: PathBuf, member: Arc<Member>, name: String) {
    let listener = match open(&place) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "nobody can break the glass or recover a login while this member runs"
            );
            return;
        }
    };
    loop {
        // One at a time: it is for emergencies.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        match tokio::time::timeout(LIMIT, attend(stream, &member, &name)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "a question on the emergency socket")
            }
            Err(_) => tracing::warn!("a question on the emergency socket took too long"),
        }
    }
}

fn open(place: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt as _;
    // What a member that was killed left. Nobody else's: the folder is the member's, which holds its lock by now.
    if place
        .symlink_metadata()
        .is_ok_and(|there| there.file_type().is_socket())
    {
        std::fs::remove_file(place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    let listener =
        UnixListener::bind(place).with_context(|| format!("cannot listen at {}", place.display()))?;
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn attend(stream: UnixStream, member: &Member, name: &str) -> anyhow::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        uid == 0 || uid == own,
        "user {uid} may not ask: only root and the member's user may"
    );
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut stream)
        .take(LINE_BYTES)
        .read_until(b'\n', &mut line)
        .await?;
    let answer = match serde_json::from_slice(&line) {
        Ok(question) => carry_out(member, name, question).await,
        Err(_) => Answer::Refused {
            why: "the question cannot be read: use the same version of verger-controller".to_owned(),
        },
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    stream.into_inner().write_all(&bytes).await?;
    Ok(())
}

/// Asks the member that runs here; `None` where none does.
///
/// # Errors
/// When it runs, and gives no answer that can be read.
pub(crate) async fn ask(place: &Path, question: &Question) -> anyhow::Result<Option<Answer>> {
    use std::io::ErrorKind;
    let stream = match UnixStream::connect(place).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("{}: run this as root or as the member's user", place.display()));
        }
    };
    let talk = async {
        let mut stream = BufReader::new(stream);
        let mut bytes = serde_json::to_vec(question)?;
        bytes.push(b'\n');
        stream.write_all(&bytes).await?;
        let mut line = Vec::new();
        (&mut stream)
            .take(LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await?;
        serde_json::from_slice(&line).context("the member gave no answer; see its log")
    };
    let answer = tokio::time::timeout(LIMIT, talk).await;
    answer.context("the member does not answer in time: whether it was done is not known; see the audit, or run this again, which takes the place of what was done")?.map(Some)
}

/// Has a question carried out by the member: the one that runs, or else by its stores. Gives the cluster's id, and when what was
/// asked for ends.
///
/// # Errors
/// When it refuses, or there is none that can decide by itself.
pub(crate) async fn settle(
    config: &Config,
    question: Question,
) -> anyhow::Result<(String, Option<Timestamp>)> {
    let answer = match ask(&config.emergency_socket(), &question).await? {
        Some(answer) => answer,
        None => {
            let member = wire_up::open_stopped(config)
                .await
                .context("no member answers here, and its stores cannot be opened")?;
            // It may have been off for days: what is recorded now is of now.
            let start = timekeeper::Start::of(&member);
            timekeeper::catch_up(&member, &config.member, start).await;
            let answer = carry_out(&member, &config.member, question).await;
            member.stop().await;
            answer
        }
    };
    match answer {
        Answer::Done { cluster, ends } => Ok((cluster, ends)),
        Answer::Refused { why } => anyhow::bail!("{}", printable(&why)),
    }
}

#[cfg(test)]
mod fuzz;
