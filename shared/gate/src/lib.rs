//! What the gate asks the agent, and what it is answered.
//!
//! A question is two frames: its head as JSON, then the document it is about, byte for byte as the runtime will read it. An
//! answer is one. A frame is its length (32 bits, little endian) and so many bytes. Beside the words are the files that the agent
//! leaves for the gate ([`settings`], [`pin`], [`glass`]). The gate links this crate into a program that runs before every container: nothing is
//! in it that takes time to start.

pub mod file;
#[cfg(test)]
mod fuzz;
pub mod glass;
pub mod pin;
pub mod settings;
pub mod tighten;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// The version of these words. Gate and agent come from one package: another version is refused, never guessed at.
pub const VERSION: u32 = 3;
/// How a refusal ends that is no answer of the agent's: what was refused so is launched again once there is one.
pub const WITHOUT_ANSWER: &str = "nothing runs without its word (fail closed)";
/// The longest head of a question, bytes.
pub const HEAD_BYTES: u32 = 64 << 10;
/// The longest document, bytes. The kernel gives a process at most some MiB of arguments and environment.
pub const DOCUMENT_BYTES: u32 = 8 << 20;
/// The longest answer, bytes: a seccomp filter of [`tighten::FILTER_BYTES`], each byte of which JSON may write as two, and the rest.
pub const ANSWER_BYTES: u32 = 320 << 10;

/// What a runtime is asked to do. What only ends or shows a container is never asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Make a container; nothing of it runs yet.
    Create,
    /// Run the first process of a container that was made.
    Start,
    /// Both at once.
    Run,
    /// Both, from a checkpoint.
    Restore,
    /// Run another process in a container.
    Exec,
}

impl Operation {
    /// The word of the command line, and of sentences.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Run => "run",
            Self::Restore => "restore",
            Self::Exec => "exec",
        }
    }

    /// What the document of a question about it is.
    pub const fn document(self) -> Document {
        match self {
            Self::Create | Self::Run | Self::Restore => Document::Config,
            Self::Exec => Document::Process,
            Self::Start => Document::None,
        }
    }
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// The OCI runtime `config.json`.
    Config,
    /// Its `process` object alone.
    Process,
    /// Nothing: the container was judged when it was made.
    None,
}

/// The head of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// [`VERSION`].
    pub version: u32,
    /// What is to be done.
    pub operation: Operation,
    /// The container's id, as the runtime was given it.
    pub id: String,
    /// The container's bundle: an absolute path. Empty where the runtime was given none.
    pub bundle: String,
    /// Where the runtime will write the number of the process that an exec starts: an absolute path. containerd names the file after
    /// the exec. Empty where the runtime was given none, and for what is no exec.
    pub pid_file: String,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// The runtime may do it.
    Allow,
    /// It may not, and this is what the person reads: one line that can be shown.
    Refuse(String),
    /// The runtime may do it with so much taken away, as the policy wants it.
    Tighten(tighten::Tightened),
}

/// How [`Answer::Allow`] is written, and in no other way.
const ALLOWED: &[u8] = b"\"allow\"";

/// Why a frame cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Its length is beyond the bound.
    #[error("{length} bytes are announced where {limit} are the most")]
    TooLong {
        /// Announced.
        length: u32,
        /// The bound.
        limit: u32,
    },
    /// What it holds is something else.
    #[error("malformed at column {0}")]
    Malformed(usize),
    /// It speaks other words.
    #[error("version {0} is spoken where {VERSION} is: install gate and agent of one version")]
    Version(u32),
    /// The connection.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

/// Whether so many bytes may come.
///
/// # Errors
/// When they are more than the bound.
pub const fn within(length: u32, limit: u32) -> Result<(), FrameError> {
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    Ok(())
}

/// Reads the head of a question.
///
/// # Errors
/// When it is no head, or one of another version.
pub fn question(bytes: &[u8]) -> Result<Question, FrameError> {
    let question: Question = parsed(bytes)?;
    if question.version != VERSION {
        return Err(FrameError::Version(question.version));
    }
    Ok(question)
}

/// Reads an answer.
///
/// # Errors
/// When it is none.
pub fn answer(bytes: &[u8]) -> Result<Answer, FrameError> {
    let answer = parsed(bytes)?;
    // serde takes an object whose only key is the word for the word, too.
    let is_other = answer == Answer::Allow && bytes.trim_ascii() != ALLOWED;
    match is_other {
        true => Err(FrameError::Malformed(0)),
        false => Ok(answer),
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(bytes).map_err(|error| FrameError::Malformed(error.column()))
}

/// One frame of JSON.
///
/// # Errors
/// When it is longer than the bound.
pub fn frame(value: &impl Serialize, limit: u32) -> Result<Vec<u8>, FrameError> {
    framed(&serde_json::to_vec(value).map_err(io::Error::from)?, limit)
}

/// One frame of these bytes.
///
/// # Errors
/// When they are more than the bound.
pub fn framed(bytes: &[u8], limit: u32) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    within(length, limit)?;
    Ok([&length.to_le_bytes(), bytes].concat())
}

/// Asks over a connection, and waits for the answer as long as the connection's own limits let it.
///
/// # Errors
/// When something is longer than its bound, or the connection fails or is silent, or what comes is no answer.
pub fn ask(
    connection: &mut (impl Read + Write),
    question: &Question,
    document: &[u8],
) -> Result<Answer, FrameError> {
    let head = frame(question, HEAD_BYTES)?;
    connection.write_all(&head)?;
    connection.write_all(&framed(document, DOCUMENT_BYTES)?)?;
    connection.flush()?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    within(length, ANSWER_BYTES)?;
    let mut bytes = vec![0; length as usize];
    connection.read_exact(&mut bytes)?;
    answer(&bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exec() -> Question {
        Question {
            version: VERSION,
            operation: Operation::Exec,
            id: "ab12".to_owned(),
            bundle: String::new(),
            pid_file: "/b/e.pid".to_owned(),
        }
    }

    #[test]
    fn nothing_but_the_word_allows() {
        assert_eq!(answer(b" \"allow\"\n").unwrap(), Answer::Allow);
        for other in [
            br#"{"allow":null}"#.as_slice(),
            br#"{"allow":{}}"#,
            br#""Allow""#,
            br#""\u0061llow""#,
            br#"["allow"]"#,
            br#""allow" "allow""#,
            b"",
        ] {
            answer(other).unwrap_err();
        }
    }

    #[test]
    fn the_bytes_on_the_socket_are_frozen() {
        let text = br#"{"version":3,"operation":"exec","id":"ab12","bundle":"","pidFile":"/b/e.pid"}"#;
        assert_eq!(
            frame(&exec(), HEAD_BYTES).unwrap(),
            [&[77, 0, 0, 0], text.as_slice()].concat()
        );
        assert_eq!(
            frame(&Answer::Allow, ANSWER_BYTES).unwrap(),
            b"\x07\0\0\0\"allow\""
        );
        let refused = Answer::Refuse("no".to_owned());
        assert_eq!(
            frame(&refused, ANSWER_BYTES).unwrap(),
            b"\x0f\0\0\0{\"refuse\":\"no\"}"
        );
        let tightened = Answer::Tighten(tighten::Tightened {
            tightening: tighten::Tightening {
                capabilities: Some(["CAP_KILL".to_owned()].into()),
                no_new_privileges: true,
                read_only_rootfs: true,
                seccomp: Some(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#.to_owned()),
            },
            sha256: "00".to_owned(),
        });
        let text = br#"{"tighten":{"tightening":{"capabilities":["CAP_KILL"],"noNewPrivileges":true,"readOnlyRootfs":true,"seccomp":"{\"defaultAction\":\"SCMP_ACT_ERRNO\"}"},"sha256":"00"}}"#;
        assert_eq!(
            frame(&tightened, ANSWER_BYTES).unwrap(),
            [&[u8::try_from(text.len()).unwrap(), 0, 0, 0], text.as_slice()].concat()
        );
    }

    #[test]
    fn the_longest_filter_fits_into_an_answer() {
        let tightened = Answer::Tighten(tighten::Tightened {
            tightening: tighten::Tightening {
                capabilities: Some((0..64).map(|number| format!("CAP_{number:0>60}")).collect()),
                no_new_privileges: true,
                read_only_rootfs: true,
                seccomp: Some("\"".repeat(tighten::FILTER_BYTES)),
            },
            sha256: "0".repeat(64),
        });
        frame(&tightened, ANSWER_BYTES).unwrap();
    }

    #[test]
    fn another_version_is_refused() {
        let other = Question { version: 2, ..exec() };
        let bytes = serde_json::to_vec(&other).unwrap();
        assert!(matches!(question(&bytes), Err(FrameError::Version(2))));
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_read() {
        let long = vec![b' '; DOCUMENT_BYTES as usize + 1];
        assert!(matches!(
            framed(&long, DOCUMENT_BYTES),
            Err(FrameError::TooLong { .. })
        ));
        struct Greedy;
        impl Read for Greedy {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                into.fill(0xff);
                Ok(into.len())
            }
        }
        impl Write for Greedy {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(matches!(
            ask(&mut Greedy, &exec(), b"{}"),
            Err(FrameError::TooLong { .. })
        ));
    }
}
