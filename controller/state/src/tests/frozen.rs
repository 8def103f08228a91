//! What is on disk: bytes that never change, and those of before, which are still read.

mod actions;

use super::*;

#[test]
fn stored_bytes_of_a_command_never_change() {
    let delete: ObjectKey = "Host/h1".parse().unwrap();
    let action = Action::ApplySet {
        expected_epoch: 7,
        upserts: vec![Bytes::from_static(b"u")],
        deletes: vec![delete],
        seal: Bytes::from_static(b"s"),
    };
    let command = command(1, Some("r"), action);
    let hex: String = command
        .encode()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "080110e8071a0a706572736f6e2f6164612201725a1408071201751a0a0a04486f737412026831220173"
    );
    assert_eq!(Command::decode(command.encode()).unwrap(), command);
}

#[test]
fn stored_bytes_of_a_tick_never_change() {
    let tick = command(2, None, Action::Tick { until: at(1) });
    let hex: String = tick.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "080110d00f1a0a706572736f6e2f6164618201030 8e807".replace(' ', "")
    );
    assert_eq!(Command::decode(tick.encode()).unwrap(), tick);
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap())
        .collect()
}

/// Rows as the first version wrote them: an object, its tombstone's, a host, a finding with its head, a request, an audit row.
fn rows_of_before(member: &Member) -> Vec<(Tree, Vec<u8>, Vec<u8>)> {
    let told = crate::fuzz::transition(1, verger_policy::finding::Lifecycle::Resolved);
    let uid = told.uid.0.as_bytes().to_vec();
    let finding = stored::FindingRow {
        format: 1,
        revision: 5,
        last: Some(crate::convert::stored_transition(&told)),
        resolved_ms: None,
    };
    let mut rows: Vec<_> = member
        .rows
        .iter()
        .filter(|((tree, key), _)| *tree == Tree::Cluster && (key == b"cluster" || key == b"clock"))
        .map(|((tree, key), value)| (*tree, key.clone(), value.clone()))
        .collect();
    rows.extend([
        (Tree::Objects, b"Host/gone".to_vec(), bytes("08012007")),
        (
            Tree::Hosts,
            b"h1".to_vec(),
            bytes(&format!("080110e8071a20{}2003", "ab".repeat(32))),
        ),
        (
            Tree::Findings,
            [uid.as_slice(), b"h1"].concat(),
            finding.encode_to_vec(),
        ),
        (Tree::FindingHeads, uid, bytes("08011005")),
        (Tree::Requests, b"r".to_vec(), bytes("080110904e220174")),
        (
            Tree::Audit,
            bytes("000000000000000100000000"),
            bytes("080110904e1a01632205666f756e6432026f6b"),
        ),
    ]);
    rows
}

#[test]
fn rows_of_before_are_read_and_gone_on_with() {
    let founded = Member::founded();
    let rows = rows_of_before(&founded);
    let mut member = Member {
        state: State::from_rows(9, rows.clone()).unwrap(),
        index: 9,
        rows: rows
            .into_iter()
            .map(|(tree, key, value)| ((tree, key), value))
            .collect(),
    };
    let host = member.state.host(&"h1".parse().unwrap()).unwrap();
    assert_eq!((host.last_sequence, host.not_kept), (3, 0));
    assert_eq!(member.state.findings_after_uid(None).count(), 1);
    assert_eq!(member.state.audit_head().written, 1);
    // Who asked is not known: the repeat is answered as it was then.
    let token = Action::CreateToken {
        id: "t".to_owned(),
        secret_hash: Digest::of(b"s"),
        agent: "h1".parse().unwrap(),
        expires: at(20),
        approval: false,
    };
    let answer = member.checked(&command(11, Some("r"), token));
    assert_eq!(answer, Response::TokenCreated("t".to_owned()));
    let told = crate::fuzz::transition(2, verger_policy::finding::Lifecycle::Open);
    assert_eq!(member.tell("h1", vec![told]), Response::Ingested(4));
    let ack = Action::AckFinding {
        uid: crate::fuzz::transition(2, verger_policy::finding::Lifecycle::Open).uid,
        note: "n".to_owned(),
    };
    member.checked(&command(12, Some("r2"), ack));
    assert_eq!(member.state.audit_head().written, 2);
}

/// Of every kind of row there is but those of proposals, logins and members, which have tests of their own.
#[test]
fn stored_bytes_of_rows_never_change() {
    let mut member = Member::founded();
    let change = member.change(0, &key());
    member.run(&command(11, Some("r"), change));
    member.enrol("h1", b"key");
    let most = crate::limits::FINDINGS_PER_AGENT as u8;
    let told =
        (0..=most).map(|number| crate::fuzz::transition(number, verger_policy::finding::Lifecycle::Open));
    member.tell("h1", told.collect());
    let over = crate::fuzz::transition(1, verger_policy::finding::Lifecycle::Resolved);
    member.tell("h1", vec![over.clone()]);
    let note = "n".to_owned();
    let ack = Action::AckFinding { uid: over.uid, note };
    member.run(&command(10_000_000, Some("a"), ack));
    let tell = crate::fuzz::transition(most + 1, verger_policy::finding::Lifecycle::Open);
    member.tell("h1", vec![tell]);
    let frozen = "b55333efe9906f1c76f73ab191ec64f33f55a87d90ccddf2dac130c5551b5966";
    assert_eq!(digest_of(&member).hex(), frozen);
    assert!(
        Tree::ALL
            .iter()
            .filter(|tree| !matches!(tree, Tree::Proposals | Tree::Logins | Tree::Members))
            .all(|tree| member.rows.keys().any(|(of, _)| of == tree))
    );
    // Since addresses, roots and keys are kept, rows of the audit hold more, and so do those of hosts since there are chains; but
    // for that they are as they were.
    without_what_was_added(&mut member);
    assert_eq!(
        digest_of(&member).hex(),
        "145f0c146d221940067616abf66834e31df5ca55f99689aa2d215ed350f1372c"
    );
}

fn digest_of(member: &Member) -> Digest {
    let mut all = Vec::new();
    for ((tree, key), value) in &member.rows {
        for part in [tree.name().as_bytes(), key, value] {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part);
        }
    }
    Digest::of(&all)
}

/// Rows as versions wrote them that kept no addresses, roots, policies, attempts and keys in the audit, and no chains of hosts.
fn without_what_was_added(member: &mut Member) {
    let hosts = member
        .rows
        .iter_mut()
        .filter(|((tree, _), _)| *tree == Tree::Hosts);
    for (_, value) in hosts {
        let row = stored::HostRow {
            chain: Bytes::new(),
            head: None,
            ..stored::HostRow::decode(value.as_slice()).unwrap()
        };
        *value = row.encode_to_vec();
    }
    let mut head = verger_seal::ChainHead::START;
    for ((_, key), value) in member
        .rows
        .iter_mut()
        .filter(|((tree, _), _)| *tree == Tree::Audit)
    {
        let row = stored::AuditRow::decode(value.as_slice()).unwrap();
        let (detail, _) = row.detail.split_once(", key").unwrap_or((&row.detail, ""));
        let row = stored::AuditRow {
            detail: detail.to_owned(),
            previous: head.digest.as_bytes().to_vec().into(),
            from: String::new(),
            before: Bytes::new(),
            after: Bytes::new(),
            policies: Vec::new(),
            attempts: 0,
            ..row
        };
        *value = row.encode_to_vec();
        head = head.then(key, value);
    }
    let place = (Tree::Cluster, b"audit".to_vec());
    let row = stored::AuditHeadRow {
        head: head.digest.as_bytes().to_vec().into(),
        ..stored::AuditHeadRow::decode(member.rows[&place].as_slice()).unwrap()
    };
    member.rows.insert(place, row.encode_to_vec());
}

#[test]
fn stored_bytes_of_an_address_and_of_denied_calls_never_change() {
    let denied = Command {
        actor: "a".to_owned(),
        from: Some("f".to_owned()),
        policies: vec!["p".to_owned(), "q".to_owned()],
        ..command(
            2,
            None,
            Action::NoteDenied {
                rpc: "r".to_owned(),
                reason: "N".to_owned(),
                attempts: 3,
                since: at(1),
                about: crate::About::default(),
            },
        )
    };
    let hex: String = denied.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    // Format, stamp, actor, from, policies; then the action: rpc, reason, attempts, since.
    let frozen = "0801 10d00f 1a0161 2a0166 320170 320171 b2010b 0a0172 12014e 1803 20e807";
    assert_eq!(hex, frozen.replace(' ', ""));
    assert_eq!(Command::decode(denied.encode()).unwrap(), denied);
}

#[test]
fn stored_bytes_of_counted_commands_and_of_certificates_never_change() {
    let denied = Action::NoteDenied {
        rpc: "r".to_owned(),
        reason: "N".to_owned(),
        attempts: 3,
        since: at(1),
        about: crate::About {
            verb: "v".to_owned(),
            resource: "R".to_owned(),
            request_id: "i".to_owned(),
        },
    };
    let certificate = Action::RecordCertificate {
        person: "b".to_owned(),
        digest: Digest::from_bytes([0xab; 32]),
        ends: at(200),
    };
    let digest = "ab".repeat(32);
    for (action, frozen) in [
        (
            denied,
            "b201 14 0a0172 12014e 1803 20e807 2a0176 320152 3a0169".to_owned(),
        ),
        (certificate, format!("aa03 29 0a0162 1220{digest} 18c09a0c")),
    ] {
        let command = Command {
            counted: true,
            ..command(2, None, action)
        };
        // Format, stamp, actor, that it is counted; then the action.
        let head = "0801 10d00f 1a0a706572736f6e2f616461 3801";
        assert_eq!(
            hex_of(&command.encode()),
            format!("{head}{frozen}").replace(' ', "")
        );
        assert_eq!(Command::decode(command.encode()).unwrap(), command);
    }
}

#[test]
fn stored_bytes_of_silence_never_change() {
    let tell = |unrecorded| {
        let action = Action::TellSilence {
            agent: "h".parse().unwrap(),
            silent: true,
            since: Some(at(1)),
            unrecorded,
        };
        command(2, None, action)
    };
    // As they were when each left a row in the audit; and those that leave none.
    for (unrecorded, frozen) in [
        (false, "ca01 08 0a0168 1001 18e807"),
        (true, "ca01 0a 0a0168 1001 18e807 2001"),
    ] {
        let told = tell(unrecorded);
        let head = "0801 10d00f 1a0a706572736f6e2f616461";
        assert_eq!(hex_of(&told.encode()), format!("{head}{frozen}").replace(' ', ""));
        assert_eq!(Command::decode(told.encode()).unwrap(), told);
    }
}

pub(super) fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of an identity provider's, and of broken glass, with the rows they leave; and a row of before there were either.
#[test]
fn stored_bytes_of_logins_never_change() {
    use crate::{LoginKind, Vouched};
    let vouched = Action::LogIn {
        person: "b".to_owned(),
        key: Digest::from_bytes([0xab; 32]),
        word: Vouched {
            issuer: "i".to_owned(),
            subject: "s".to_owned(),
            issued: at(100),
            groups: ["g".parse().unwrap(), "h".parse().unwrap()].into(),
        },
        ends: at(200),
        replaces: true,
    };
    let broken = Action::BreakGlass {
        person: "a".to_owned(),
        reason: "r".to_owned(),
        key: Digest::from_bytes([0xab; 32]),
        ends: at(200),
    };
    let end = Action::EndBreakGlass {
        person: "a".to_owned(),
    };
    let key = "ab".repeat(32);
    let mut member = Member::founded();
    for (action, frozen) in [
        (
            vouched,
            format!("9203 3b 0a0162 1220{key} 1a0169 220173 28a08d06 30c09a0c 3a0167 3a0168 4001"),
        ),
        (broken, format!("9a03 2c 0a0161 120172 1a20{key} 20c09a0c")),
        (end, "a203 03 0a0161".to_owned()),
    ] {
        let command = command(100, None, action);
        let hex = hex_of(&command.encode());
        let head = "0801 10a08d06 1a0a706572736f6e2f616461".replace(' ', "");
        assert_eq!(hex, format!("{head}{}", frozen.replace(' ', "")));
        assert_eq!(Command::decode(command.encode()).unwrap(), command);
        if !matches!(command.action, Action::EndBreakGlass { .. }) {
            member.run(&command);
        }
    }
    let row = |name: &str| hex_of(&member.rows[&(Tree::Logins, name.as_bytes().to_vec())]);
    let begin = format!("0801 1220{key} 18a08d06");
    let vouched =
        format!("{begin} f20101 69 fa0101 73 8002a08d06 8a020167 8a020168 9002c09a0c").replace(' ', "");
    assert_eq!(row("b"), vouched);
    let broken = format!("{begin} 9002c09a0c 9a020172").replace(' ', "");
    assert_eq!(row("break-glass.a"), broken);
    let before = bytes(&begin.replace(' ', ""));
    member.rows.insert((Tree::Logins, b"old".to_vec()), before);
    let rebuilt = member.rebuilt();
    assert_eq!(rebuilt.login("old").unwrap().kind, LoginKind::Local);
    assert_eq!(rebuilt.login("b"), member.state.login("b"));
}
