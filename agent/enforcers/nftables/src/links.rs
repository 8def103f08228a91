//! What rtnetlink(7) says of links, and what it means for an instance. Pure.

use std::collections::BTreeSet;

use verger_agent_core::enforcer::{Attachment, Port};

/// `nlmsghdr`, bytes (netlink(7)).
pub(crate) const HEADER: usize = 16;
/// `ifinfomsg`, bytes (rtnetlink(7)).
const LINK_HEADER: usize = 16;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: what is listed changed meanwhile.
const INTERRUPTED: u16 = 0x10;
/// `RTM_NEWLINK`.
const NEWLINK: u16 = 16;
/// `ARPHRD_LOOPBACK`.
const LOOPBACK: u16 = 772;
/// `IFF_UP`.
const UP: u32 = 1;
/// `IFLA_*` (linux/if_link.h).
const IFNAME: u16 = 3;
const LINK: u16 = 5;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const LINK_NETNSID: u16 = 37;
/// `IFLA_INFO_KIND`.
const KIND: u16 = 1;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` are no part of a type.
const TYPE: u16 = 0x3fff;
/// The longest names that are taken.
const NAME: usize = 64;

/// Kinds of tunnel of which the kernel makes one in every network namespace by itself, down until somebody sets it up.
const FALLBACKS: [&str; 9] = [
    "ipip", "gre", "gretap", "erspan", "sit", "ip6tnl", "ip6gre", "vti", "vti6",
];

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What kind of device; empty for hardware and loopback.
    kind: String,
    /// `ARPHRD_*`.
    hardware: u16,
    flags: u32,
    /// Its other end, or what it is on top of.
    peer: Option<u32>,
    /// In which namespace that is, as the host numbers them; none: in its own.
    peer_namespace: Option<i32>,
    /// The bridge or bond it is a port of.
    master: Option<u32>,
}

/// Why an answer says nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAnswer {
    /// It is cut off, or its lengths do not fit.
    #[error("an answer of the kernel is malformed")]
    Malformed,
    /// The kernel refused; the errno.
    #[error("the kernel refused: {}", std::io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    /// What was listed changed meanwhile.
    #[error("links changed while they were listed")]
    Interrupted,
    /// It lists more than is looked at.
    #[error("the kernel lists more links than are looked at")]
    Long,
}

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
    /// It is the last one.
    pub(crate) is_end: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The messages of a datagram.
pub(crate) fn messages(mut bytes: &[u8]) -> Result<Vec<Message<'_>>, InvalidAnswer> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let head = |at| u32_at(bytes, at).ok_or(InvalidAnswer::Malformed);
        let length = head(0)? as usize;
        let (kind, flags) = (u16_at(bytes, 4), u16_at(bytes, 6));
        let (Some(kind), Some(flags)) = (kind, flags) else {
            return Err(InvalidAnswer::Malformed);
        };
        let sequence = head(8)?;
        if length < HEADER || length > bytes.len() {
            return Err(InvalidAnswer::Malformed);
        }
        if flags & INTERRUPTED != 0 {
            return Err(InvalidAnswer::Interrupted);
        }
        let body = &bytes[HEADER..length];
        let mut is_end = kind == DONE;
        if kind == ERROR || kind == DONE {
            // Both begin with an errno, negated; 0 is an acknowledgement.
            let code = u32_at(body, 0).unwrap_or(0).cast_signed();
            if code != 0 {
                return Err(InvalidAnswer::Refused(code.saturating_neg()));
            }
            is_end = true;
        }
        messages.push(Message {
            kind,
            sequence,
            body,
            is_end,
        });
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    Ok(messages)
}

/// Attributes, by type (netlink(7)).
pub(crate) fn attributes(mut bytes: &[u8]) -> Result<Vec<(u16, &[u8])>, InvalidAnswer> {
    let mut attributes = Vec::new();
    while !bytes.is_empty() {
        let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else {
            return Err(InvalidAnswer::Malformed);
        };
        let length = usize::from(length);
        if length < 4 || length > bytes.len() {
            return Err(InvalidAnswer::Malformed);
        }
        attributes.push((kind & TYPE, &bytes[4..length]));
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    Ok(attributes)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end.min(NAME)]).into_owned()
}

/// The link of a message; none where it is of something else.
pub(crate) fn link(message: &Message<'_>) -> Result<Option<Link>, InvalidAnswer> {
    if message.kind != NEWLINK {
        return Ok(None);
    }
    let body = message.body;
    let rest = body.get(LINK_HEADER..).ok_or(InvalidAnswer::Malformed)?;
    let mut link = Link {
        hardware: u16_at(body, 2).ok_or(InvalidAnswer::Malformed)?,
        index: u32_at(body, 4).ok_or(InvalidAnswer::Malformed)?,
        flags: u32_at(body, 8).ok_or(InvalidAnswer::Malformed)?,
        ..Link::default()
    };
    for (kind, value) in attributes(rest)? {
        match kind {
            IFNAME => link.name = text(value),
            LINK => link.peer = u32_at(value, 0),
            MASTER => link.master = u32_at(value, 0),
            LINK_NETNSID => link.peer_namespace = u32_at(value, 0).map(u32::cast_signed),
            LINKINFO => {
                for (kind, value) in attributes(value)? {
                    if kind == KIND {
                        link.kind = text(value);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Some(link))
}

/// How an instance is attached whose namespace the host numbers so, and which has these links, where the host has those.
pub(crate) fn attachment(namespace: i32, own: &[Link], host: &[Link]) -> Attachment {
    let mut ports = BTreeSet::new();
    let mut beyond = None;
    for link in own {
        let is_at_rest = FALLBACKS.contains(&link.kind.as_str()) && link.flags & UP == 0;
        if link.hardware == LOOPBACK || is_at_rest {
            continue;
        }
        match port(namespace, link, host) {
            Ok(port) => {
                ports.insert(port);
            }
            Err(why) => {
                beyond.get_or_insert(why);
            }
        }
    }
    match beyond {
        Some(why) => Attachment::Beyond { why, ports },
        None => Attachment::Ports(ports),
    }
}

fn port(namespace: i32, link: &Link, host: &[Link]) -> Result<Port, String> {
    let name = verger_policy::model::printable_within(&link.name, NAME);
    let kind = verger_policy::model::printable_within(&link.kind, NAME);
    if link.kind != "veth" {
        let kind = if kind.is_empty() { "hardware" } else { &kind };
        return Err(format!(
            "its interface {name} ({kind}) reaches networks past the bridges of this host"
        ));
    }
    let end = host.iter().find(|end| {
        end.kind == "veth" && end.peer == Some(link.index) && end.peer_namespace == Some(namespace)
    });
    let end = end
        .ok_or_else(|| format!("the other end of its interface {name} is not on this host's own network"))?;
    let master = host.iter().find(|master| Some(master.index) == end.master);
    if master.is_none_or(|master| master.kind != "bridge") {
        return Err(format!("its interface {name} ends at no bridge of this host"));
    }
    Port::new(&end.name).ok_or_else(|| {
        format!(
            "the other end of its interface {name} has a name that rules cannot hold ({})",
            verger_policy::model::printable_within(&end.name, NAME)
        )
    })
}

#[cfg(test)]
pub(crate) mod tests;
