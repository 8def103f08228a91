//! Which addresses of TCP a process listens on (proc_net_tcp, Documentation/networking/proc_net_tcp.rst).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use verger_policy::facts::Evidence;

/// `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The addresses that a process listens on, of its network namespace.
pub(super) fn listening(pid: u32) -> Evidence<BTreeSet<String>> {
    let unread = |what: &str, error: std::io::Error| {
        Evidence::Missing(format!(
            "what Docker's daemon listens on cannot be read ({what}: {error}); the agent needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
        ))
    };
    let mut all = BTreeMap::new();
    for table in ["tcp", "tcp6"] {
        let file = format!("/proc/{pid}/net/{table}");
        match fs::read_to_string(&file) {
            Ok(text) => all.extend(listeners(&text)),
            // A kernel without IPv6 has no such file.
            Err(error) if table == "tcp6" && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return unread(&file, error),
        }
    }
    let folder = format!("/proc/{pid}/fd");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => return unread(&folder, error),
    };
    let mut found = BTreeSet::new();
    for entry in entries {
        let target = match entry.and_then(|entry| fs::read_link(entry.path())) {
            Ok(target) => target,
            // It was closed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return unread(&folder, error),
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(address) = inode.and_then(|inode| all.get(inode)) {
            found.insert(address.to_string());
        }
    }
    Evidence::Seen(found)
}

/// The listening sockets of a table, by inode.
pub(super) fn listeners(table: &str) -> BTreeMap<String, SocketAddr> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (*state == LISTEN).then_some(())?;
        Some(((*inode).to_owned(), address(local)?))
    };
    table.lines().filter_map(line).collect()
}

/// `0100007F:0947`: words of 32 bits in the host's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Option<Vec<[u8; 4]>> = address
        .as_bytes()
        .chunks(8)
        .map(|word| {
            Some(
                u32::from_str_radix(std::str::from_utf8(word).ok()?, 16)
                    .ok()?
                    .to_ne_bytes(),
            )
        })
        .collect();
    let address = match words?.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [a, b, c, d] => {
            let bytes: [u8; 16] = [*a, *b, *c, *d].concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_process_listens_where_it_says_and_others_do_not() {
        let own: Vec<TcpListener> = ["127.0.0.1:0", "[::1]:0"]
            .iter()
            .filter_map(|address| TcpListener::bind(address).ok())
            .collect();
        let found = listening(std::process::id());
        let found = found.seen().unwrap();
        assert!(!own.is_empty());
        for listener in &own {
            let address = listener.local_addr().unwrap().to_string();
            assert!(found.contains(&address), "{address} in {found:?}");
        }
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let of_child = listening(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(of_child, Evidence::Seen(BTreeSet::new()));
    }

    #[test]
    fn only_what_listens_is_told() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n\
            1: 0100007F:0948 0100007F:0947 01 00000000:00000000 00:00000000 00000000 0 0 4712 1\n\
            2: 00000000000000000000000000000000:0949 0:0 0A 0:0 0:0 0 0 0 4713 1\n";
        let found = listeners(table);
        assert_eq!(found["4711"].to_string(), "127.0.0.1:2375");
        assert_eq!(found["4713"].to_string(), "[::]:2377");
        assert_eq!(found.len(), 2);
    }
}
