//! Ports and where the host publishes them.

use std::net::{IpAddr, Ipv6Addr};

use super::node::{Node, Value};
use super::problem::quoted;
use super::reader::{Got, Reader};
use crate::model::{Port, Publish};

/// Reads one port.
pub(super) fn port(reader: &mut Reader<'_>, node: &Node) -> Got<Port> {
    let mut fields = reader.open(node)?;
    let listen = fields.required(reader, "listen", "8080/tcp", listen);
    let publish = fields.required(reader, "publish", "none", publish);
    fields.close(reader)?;
    Ok(Port {
        listen: listen?,
        publish: publish?,
    })
}

fn listen(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    const REMEDY: &str = "write NUMBER/PROTOCOL, as in 8080/tcp (tcp, udp or sctp)";
    if let Value::Number(text) = &node.value {
        return Err(reader.report(
            node.place,
            format!("the port {} has no protocol", quoted(text)),
            REMEDY,
        ));
    }
    let text = reader.text(node)?;
    let parsed = text.split_once('/').and_then(|(number, protocol)| {
        matches!(protocol, "tcp" | "udp" | "sctp").then_some(())?;
        Some(format!("{}/{protocol}", port_number(number)?))
    });
    parsed.ok_or_else(|| reader.report(node.place, format!("{} is not a port", quoted(text)), REMEDY))
}

fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    digits.then(|| text.parse().ok()).flatten()
}

fn publish(reader: &mut Reader<'_>, node: &Node) -> Got<Publish> {
    if matches!(&node.value, Value::Text { text, .. } if &**text == "none") {
        return Ok(Publish::None);
    }
    if !matches!(node.value, Value::List(_)) {
        return reader.wrong_sort(node, "`none` or a list such as [ \"127.0.0.1:8080\" ]");
    }
    let places = reader.set(node, place)?;
    if places.is_empty() {
        return Err(reader.report(node.place, "is an empty list", "write `none`"));
    }
    Ok(Publish::At(places))
}

fn place(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let text = reader.text(node)?;
    let parsed = text.rsplit_once(':').and_then(|(address, port)| {
        let port = port_number(port)?;
        Some(format!("{}:{port}", wildcard_or_address(address)?))
    });
    parsed.ok_or_else(|| {
        reader.report(
            node.place,
            format!("{} is not an address and a port", quoted(text)),
            "write ADDRESS:PORT, as in 127.0.0.1:8080, [::1]:8080 or *:8080 (every address of the host)",
        )
    })
}

fn wildcard_or_address(text: &str) -> Option<String> {
    if text == "*" {
        return Some("*".to_owned());
    }
    let address = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inside) => IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?),
        None => IpAddr::V4(text.parse().ok()?),
    };
    Some(match address {
        address if address.is_unspecified() => "*".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    })
}
