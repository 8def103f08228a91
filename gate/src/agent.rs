//! Asking the agent.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use verger_gate_protocol::{Answer, FrameError, Question, ask};

/// How long an agent that has been called is waited for: one that is only starting has its socket held open for it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody listens.
    #[error("the policy agent is unreachable at {path} ({what})", path = .path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Somebody else listens.
    #[error("{path} is listened on by uid {uid}, and not by the policy agent", path = .path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Who.
        uid: u32,
    },
    /// It was called, and the connection ended.
    #[error("the policy agent ended the connection without an answer ({0})")]
    Ended(io::Error),
    /// It says nothing in time.
    #[error("the policy agent gave no answer within {limit} s", limit = PATIENCE.as_secs())]
    Silent,
    /// What it says is no answer.
    #[error("the policy agent's answer is not understood: {0}")]
    Malformed(FrameError),
}

/// Asks the agent, who must be root or this user.
///
/// # Errors
/// When it gives no answer.
pub fn question(
    path: &Path,
    agent_uid: u32,
    question: &Question,
    document: &[u8],
) -> Result<Answer, NoAnswer> {
    let unreachable = |error: io::Error| NoAnswer::Unreachable {
        path: path.to_owned(),
        what: error.to_string(),
    };
    let mut stream = reach(path).map_err(unreachable)?;
    let peer = socket_peercred(&stream).map_err(|error| unreachable(error.into()))?;
    let uid = peer.uid.as_raw();
    if uid != 0 && uid != agent_uid {
        return Err(NoAnswer::Stranger {
            path: path.to_owned(),
            uid,
        });
    }
    match ask(&mut stream, question, document) {
        Ok(answer) => Ok(answer),
        Err(FrameError::Io(error)) if is_late(&error) => Err(NoAnswer::Silent),
        Err(FrameError::Io(error)) => Err(NoAnswer::Ended(error)),
        Err(error) => Err(NoAnswer::Malformed(error)),
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Connects. A full queue of a listener is waited for as long as an answer is.
fn reach(path: &Path) -> io::Result<UnixStream> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}
