//! Asking the kernel of links, over rtnetlink(7).
//!
//! The socket belongs to the network namespace it was opened in, whichever thread uses it. Another namespace is looked at by the number
//! under which the host knows it (`IFLA_TARGET_NETNSID`), which takes `CAP_NET_ADMIN` over it, and not by entering it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::fstat;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use verger_agent_core::enforcer::Attachment;

use crate::links::{HEADER, InvalidAnswer, Link, Message, attachment, attributes, link, messages};

/// `RTM_GETLINK`, `RTM_NEWNSID`, `RTM_GETNSID`.
const GETLINK: u16 = 18;
const NEWNSID: u16 = 88;
const GETNSID: u16 = 90;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// `NETNSA_NSID`, `NETNSA_FD`.
const NSID: u16 = 1;
const FD: u16 = 3;
/// `IFLA_TARGET_NETNSID`.
const TARGET_NETNSID: u16 = 46;
/// `EEXIST`.
const EXISTS: i32 = 17;
/// The kernel answers from memory.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kernel fills datagrams of 32 KiB at most.
const DATAGRAM: usize = 64 << 10;
/// Listings that are begun anew because something changed meanwhile.
const ATTEMPTS: usize = 10;

/// Why the kernel cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// The socket, or a file of `/proc`.
    #[error("{what}: {source}")]
    Io {
        /// What was done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// What it answers.
    #[error("{what}: {source}{}", if matches!(.source, InvalidAnswer::Refused(1)) { " (it takes CAP_NET_ADMIN)" } else { "" })]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        source: InvalidAnswer,
    },
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::Io { what, source }
}

/// Has the calling thread act in another network namespace.
pub(crate) fn enter(namespace: &Path) -> io::Result<()> {
    let file = File::open(namespace)?;
    Ok(move_into_link_name_space(
        file.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}

/// A namespace, by the inode of its file.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    let stat = fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A socket to the kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    socket: OwnedFd,
    own: (u64, u64),
    sequence: u32,
}

impl Kernel {
    /// In the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, KernelError> {
        let open = || -> io::Result<OwnedFd> {
            let socket = socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                // `NETLINK_ROUTE` is 0.
                None,
            )?;
            set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
            Ok(socket)
        };
        let own = File::open("/proc/thread-self/ns/net").and_then(|file| identity(&file));
        Ok(Self {
            socket: open().map_err(io_error("no socket for rtnetlink"))?,
            own: own.map_err(io_error("its own network namespace cannot be told"))?,
            sequence: 0,
        })
    }

    /// The links of this namespace.
    pub(crate) fn host_links(&mut self) -> Result<Vec<Link>, KernelError> {
        self.links(None)
    }

    /// How a process is attached, where this namespace has these links.
    pub(crate) fn attachment(&mut self, pid: u32, host: &[Link]) -> Result<Attachment, KernelError> {
        let file = File::open(format!("/proc/{pid}/ns/net")).map_err(io_error(
            "the network namespace of its first process cannot be opened",
        ))?;
        let identity = identity(&file).map_err(io_error("its network namespace cannot be told"))?;
        if identity == self.own {
            return Ok(Attachment::Beyond {
                why: "it has the host's network".to_owned(),
                ports: BTreeSet::new(),
            });
        }
        let namespace = self.number(&file)?;
        let own = self.links(Some(namespace))?;
        Ok(attachment(namespace, &own, host))
    }

    /// The number under which this namespace knows another; it is given one where it has none.
    fn number(&mut self, file: &File) -> Result<i32, KernelError> {
        let what = "its network namespace has no number";
        let fd = file.as_raw_fd().to_ne_bytes();
        // `rtgenmsg`, padded: no family.
        let named = [
            &[0; 4][..],
            &attribute(NSID, &(-1_i32).to_ne_bytes()),
            &attribute(FD, &fd),
        ]
        .concat();
        match self.ask(NEWNSID, ACK, &named, &mut |_| Ok(())) {
            Err(Failure::Answer(InvalidAnswer::Refused(EXISTS))) | Ok(()) => {}
            Err(failure) => return Err(failure.of(what)),
        }
        let asked = [&[0; 4][..], &attribute(FD, &fd)].concat();
        let mut number = None;
        let answer = self.ask(GETNSID, ACK, &asked, &mut |message| {
            if message.kind == NEWNSID {
                let body = message.body.get(4..).ok_or(InvalidAnswer::Malformed)?;
                let of = attributes(body)?.into_iter().find(|(kind, _)| *kind == NSID);
                number = of
                    .and_then(|(_, value)| value.try_into().ok())
                    .map(i32::from_ne_bytes)
                    .filter(|number| *number >= 0);
            }
            Ok(())
        });
        answer.map_err(|failure| failure.of(what))?;
        number.ok_or(KernelError::Answer {
            what,
            source: InvalidAnswer::Malformed,
        })
    }

    /// The links of a namespace: this one, or the one it knows under that number.
    fn links(&mut self, namespace: Option<i32>) -> Result<Vec<Link>, KernelError> {
        // `ifinfomsg`: no family, all links.
        let mut body = vec![0; 16];
        if let Some(namespace) = namespace {
            body.extend(attribute(TARGET_NETNSID, &namespace.to_ne_bytes()));
        }
        let mut attempts = 0;
        loop {
            let mut links = Vec::new();
            let answer = self.ask(GETLINK, DUMP, &body, &mut |message| {
                links.extend(link(message)?);
                Ok(())
            });
            attempts += 1;
            match answer {
                Ok(()) => return Ok(links),
                Err(Failure::Answer(InvalidAnswer::Interrupted)) if attempts < ATTEMPTS => {}
                Err(failure) => return Err(failure.of("links cannot be listed")),
            }
        }
    }

    /// Asks, and hands on each message of the answer.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        each: &mut dyn FnMut(&Message<'_>) -> Result<(), InvalidAnswer>,
    ) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        let request = [
            &length.to_ne_bytes()[..],
            &kind.to_ne_bytes(),
            &(REQUEST | flags).to_ne_bytes(),
            &self.sequence.to_ne_bytes(),
            &[0; 4],
            body,
        ]
        .concat();
        send(&self.socket, &request, SendFlags::empty()).map_err(io::Error::from)?;
        let mut buffer = vec![0; DATAGRAM];
        // What is left of an answer to an earlier question (it was interrupted, or late) has another number.
        loop {
            let (_, length) =
                recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC).map_err(io::Error::from)?;
            let datagram = buffer.get(..length).ok_or(InvalidAnswer::Malformed)?;
            if sequence(datagram) != Some(self.sequence) {
                continue;
            }
            for message in messages(datagram)? {
                if message.sequence != self.sequence {
                    continue;
                }
                if message.is_end {
                    return Ok(());
                }
                each(&message)?;
            }
        }
    }
}

fn sequence(datagram: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(datagram.get(8..12)?.try_into().ok()?))
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    Answer(InvalidAnswer),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<InvalidAnswer> for Failure {
    fn from(answer: InvalidAnswer) -> Self {
        Self::Answer(answer)
    }
}

impl Failure {
    fn of(self, what: &'static str) -> KernelError {
        match self {
            Self::Io(source) => KernelError::Io { what, source },
            Self::Answer(source) => KernelError::Answer { what, source },
        }
    }
}

/// An attribute of four bytes (netlink(7)).
fn attribute(kind: u16, value: &[u8; 4]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&8_u16.to_ne_bytes());
    bytes[2..4].copy_from_slice(&kind.to_ne_bytes());
    bytes[4..].copy_from_slice(value);
    bytes
}
