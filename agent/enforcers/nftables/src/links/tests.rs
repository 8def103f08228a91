#![allow(clippy::unwrap_used)]
use super::*;

/// One message of these bytes.
pub(crate) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A link as the kernel tells of it.
pub(crate) fn told(link: &Link) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(link.hardware.to_ne_bytes());
    body.extend(link.index.to_ne_bytes());
    body.extend(link.flags.to_ne_bytes());
    body.extend([0; 4]);
    body.extend(attribute(IFNAME, format!("{}\0", link.name).as_bytes()));
    for (kind, value) in [(LINK, link.peer), (MASTER, link.master)] {
        body.extend(
            value
                .map(|value| attribute(kind, &value.to_ne_bytes()))
                .unwrap_or_default(),
        );
    }
    if let Some(namespace) = link.peer_namespace {
        body.extend(attribute(LINK_NETNSID, &namespace.to_ne_bytes()));
    }
    // The kernel marks what is nested.
    body.extend(attribute(
        LINKINFO | 0x8000,
        &attribute(KIND, format!("{}\0", link.kind).as_bytes()),
    ));
    message(NEWLINK, 2, &body)
}

fn named(index: u32, name: &str, kind: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        kind: kind.to_owned(),
        hardware: 1,
        flags: UP,
        ..Link::default()
    }
}

/// The host's links: a bridge, and a port of it whose other end is interface 5 of namespace 3.
pub(crate) fn host() -> Vec<Link> {
    let port = Link {
        peer: Some(5),
        peer_namespace: Some(3),
        master: Some(2),
        ..named(9, "veth0a1b2c3", "veth")
    };
    vec![named(2, "docker0", "bridge"), port]
}

fn own() -> Vec<Link> {
    let lo = Link {
        hardware: LOOPBACK,
        ..named(1, "lo", "")
    };
    let eth0 = Link {
        peer: Some(9),
        ..named(5, "eth0", "veth")
    };
    vec![lo, eth0]
}

fn beyond(own: &[Link], host: &[Link]) -> String {
    match attachment(3, own, host) {
        Attachment::Beyond { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_kernel_tells_of_a_link_is_read() {
    for link in own().into_iter().chain(host()) {
        let bytes = told(&link);
        let messages = messages(&bytes).unwrap();
        assert_eq!(
            (messages.len(), messages[0].sequence, messages[0].is_end),
            (1, 7, false)
        );
        assert_eq!(super::link(&messages[0]).unwrap(), Some(link));
    }
}

#[test]
fn an_end_a_refusal_and_a_change_meanwhile_are_told_apart() {
    let refused = (-1_i32).to_ne_bytes();
    assert_eq!(
        messages(&message(ERROR, 0, &refused)).err(),
        Some(InvalidAnswer::Refused(1))
    );
    assert_eq!(
        messages(&message(DONE, 0, &refused)).err(),
        Some(InvalidAnswer::Refused(1))
    );
    assert!(messages(&message(DONE, 0, &[0; 4])).unwrap()[0].is_end);
    assert!(messages(&message(ERROR, 0, &[0; 4])).unwrap()[0].is_end);
    let torn = message(NEWLINK, INTERRUPTED, &[0; 16]);
    assert_eq!(messages(&torn).err(), Some(InvalidAnswer::Interrupted));
    assert_eq!(messages(&[1, 0, 0]).err(), Some(InvalidAnswer::Malformed));
    assert_eq!(
        messages(&message(NEWLINK, 0, &[])[..12]).err(),
        Some(InvalidAnswer::Malformed)
    );
}

#[test]
fn a_link_to_a_bridge_is_a_port() {
    let port = Port::new("veth0a1b2c3").unwrap();
    assert_eq!(attachment(3, &own(), &host()), Attachment::Ports([port].into()));
    assert_eq!(attachment(3, &own()[..1], &host()), Attachment::Ports([].into()));
}

#[test]
fn tunnels_that_the_kernel_makes_count_once_somebody_sets_them_up() {
    let tunnel = |flags| {
        let tunnel = Link {
            flags,
            ..named(6, "tunl0", "ipip")
        };
        [own(), vec![tunnel]].concat()
    };
    assert!(matches!(attachment(3, &tunnel(0), &host()), Attachment::Ports(_)));
    assert!(beyond(&tunnel(UP), &host()).contains("tunl0 (ipip)"));
}

#[test]
fn what_can_be_closed_is_told_besides_another_way_out() {
    let before = [named(4, "eth1", "macvlan")].into_iter().chain(own()).collect();
    let after = own().into_iter().chain([named(6, "eth1", "macvlan")]).collect();
    let links: [Vec<Link>; 2] = [before, after];
    for links in links {
        match attachment(3, &links, &host()) {
            Attachment::Beyond { why, ports } => {
                assert!(why.contains("eth1"), "{why}");
                assert_eq!(ports, [Port::new("veth0a1b2c3").unwrap()].into());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn any_other_way_out_is_said() {
    for kind in ["macvlan", "ipvlan", "wireguard", "vlan", "dummy", ""] {
        let links = [own(), vec![named(6, "eth1", kind)]].concat();
        assert!(beyond(&links, &host()).contains("eth1"), "{kind}");
    }
    // A link like it, of another namespace, of another interface, and of no bridge.
    assert!(beyond(&own(), &host()[..1]).contains("not on this host's own network"));
    let changed = |change: fn(&mut Link)| {
        let mut host = host();
        change(&mut host[1]);
        beyond(&own(), &host)
    };
    assert!(changed(|port| port.peer_namespace = Some(4)).contains("not on this host's own"));
    assert!(changed(|port| port.peer_namespace = None).contains("not on this host's own"));
    assert!(changed(|port| port.peer = Some(6)).contains("not on this host's own"));
    assert!(changed(|port| port.master = None).contains("no bridge"));
    assert!(changed(|port| port.master = Some(9)).contains("no bridge"));
    assert!(changed(|port| port.name = "veth*".to_owned()).contains("cannot hold"));
}
