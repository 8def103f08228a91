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
/// The most links of an instance that are looked at. Of links that it may make itself it can make any number.
const LINKS: usize = 256;

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

/// That of the calling thread.
fn current() -> io::Result<(u64, u64)> {
    identity(&File::open("/proc/thread-self/ns/net")?)
}

fn socket() -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // `NETLINK_ROUTE` is 0.
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// How one is attached that has more links than those it was seen to be attached by.
fn with_more(seen: Attachment) -> Attachment {
    Attachment::Beyond {
        why: format!("it has more than {LINKS} interfaces, and not all of them are looked at"),
        ports: seen.ports().cloned().collect(),
    }
}

/// A socket to the kernel, and another one after each question that was not answered to its end: what is left of the answer would stand
/// in the way of the next (the kernel refuses to list while it still lists, `EBUSY`).
#[derive(Debug)]
pub(crate) struct Kernel {
    socket: Option<OwnedFd>,
    own: (u64, u64),
    sequence: u32,
}

impl Kernel {
    /// In the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, KernelError> {
        Ok(Self {
            socket: Some(socket().map_err(io_error("no socket for rtnetlink"))?),
            own: current().map_err(io_error("its own network namespace cannot be told"))?,
            sequence: 0,
        })
    }

    /// The links of this namespace.
    pub(crate) fn host_links(&mut self) -> Result<Vec<Link>, KernelError> {
        self.links(None, usize::MAX).map(|(links, _)| links)
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
        let (own, is_all) = self.links(Some(namespace), LINKS)?;
        let seen = attachment(namespace, &own, host);
        Ok(if is_all { seen } else { with_more(seen) })
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

    /// The links of a namespace (this one, or the one it knows under that number), this many at most; and whether they are all.
    fn links(&mut self, namespace: Option<i32>, most: usize) -> Result<(Vec<Link>, bool), KernelError> {
        // `ifinfomsg`: no family, all links.
        let mut body = vec![0; 16];
        if let Some(namespace) = namespace {
            body.extend(attribute(TARGET_NETNSID, &namespace.to_ne_bytes()));
        }
        let mut attempts = 0;
        loop {
            let mut links = Vec::new();
            let answer = self.ask(GETLINK, DUMP, &body, &mut |message| {
                if links.len() >= most {
                    return Err(InvalidAnswer::Long);
                }
                links.extend(link(message)?);
                Ok(())
            });
            attempts += 1;
            match answer {
                Ok(()) => return Ok((links, true)),
                Err(Failure::Answer(InvalidAnswer::Long)) => return Ok((links, false)),
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
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.another()?,
        };
        let answer = self.converse(&socket, kind, flags, body, each);
        let is_refused = matches!(answer, Err(Failure::Answer(InvalidAnswer::Refused(_))));
        // A refusal is the whole of an answer, unless it comes amid a listing.
        if answer.is_ok() || is_refused && flags & DUMP == 0 {
            self.socket = Some(socket);
        }
        answer
    }

    /// Another socket, in the same namespace as the first.
    fn another(&self) -> io::Result<OwnedFd> {
        if current()? != self.own {
            return Err(io::Error::other(
                "the thread is not in the network namespace it began in",
            ));
        }
        socket()
    }

    fn converse(
        &mut self,
        socket: &OwnedFd,
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
        send(socket, &request, SendFlags::empty()).map_err(io::Error::from)?;
        let mut buffer = vec![0; DATAGRAM];
        // Nothing but the answer has this number.
        loop {
            let (_, length) = recv(socket, &mut buffer[..], RecvFlags::TRUNC).map_err(io::Error::from)?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_agent_core::enforcer::Port;

    use super::*;

    #[test]
    fn a_listing_that_is_left_early_stands_in_nobodys_way() {
        let mut kernel = Kernel::open().unwrap();
        let all = kernel.host_links().unwrap();
        assert!(all.iter().any(|link| link.name == "lo"), "{all:?}");
        for _ in 0..20 {
            assert_eq!(kernel.links(None, 0).unwrap(), (Vec::new(), false));
            assert!(kernel.socket.is_none());
            assert_eq!(kernel.host_links().unwrap(), all);
            assert!(kernel.socket.is_some());
        }
        assert_eq!(kernel.links(None, all.len()).unwrap(), (all, true));
    }

    #[test]
    fn what_is_refused_is_refused_and_the_next_is_answered() {
        let mut kernel = Kernel::open().unwrap();
        // No namespace has this number.
        kernel.links(Some(i32::MAX), LINKS).unwrap_err();
        kernel.host_links().unwrap();
    }

    #[test]
    fn what_has_too_many_links_is_closed_where_it_can_be_and_said() {
        let ports = [Port::new("veth1").unwrap()].into();
        match with_more(Attachment::Ports(ports)) {
            Attachment::Beyond { why, ports } => {
                assert!(why.contains("more than 256 interfaces"), "{why}");
                assert_eq!(ports.len(), 1);
            }
            other => panic!("{other:?}"),
        }
    }
}
