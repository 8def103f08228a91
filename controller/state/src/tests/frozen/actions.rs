//! Every action, with a value in every field: there is none whose bytes are not frozen.

use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::finding::{FindingUid, Lifecycle, Sample, SubjectClass};
use verger_policy::model::{Control, Mode, Name, RuntimeKind, Severity};
use verger_policy::rules;
use verger_seal::SignedHead;

use super::*;
use crate::{ClusterVersion, MemberTurn, SnapshotPlace, Vouched};

/// What is frozen of each kind of action, by its name. A kind that has no line here does not compile, and neither does a line of none.
macro_rules! frozen {
    ($($kind:ident: $cases:expr),+ $(,)?) => {
        fn kind(action: &Action) -> &'static str {
            match action {
                $(Action::$kind { .. } => stringify!($kind),)+
            }
        }

        fn frozen() -> Vec<(&'static str, Vec<(Action, String)>)> {
            vec![$((stringify!($kind), $cases.into()),)+]
        }
    };
}

frozen! {
    Found: [(Action::Found { trust_root: bytes_of("t") }, "52 03 0a0174".to_owned())],
    ApplySet: [(
        Action::ApplySet {
            expected_epoch: 7,
            upserts: vec![bytes_of("u")],
            deletes: vec![object()],
            seal: bytes_of("s"),
        },
        "5a 14 0807 120175 1a0a 0a04486f7374 12026831 220173".to_owned(),
    )],
    RotateTrustRoot: [(
        Action::RotateTrustRoot { trust_root: bytes_of("t"), seal: bytes_of("s") },
        "aa01 06 0a0174 120173".to_owned(),
    )],
    CreateToken: [(
        Action::CreateToken {
            id: text("t"),
            secret_hash: digest(0xab),
            agent: agent(),
            expires: at(1),
            approval: true,
        },
        format!("62 2e 0a0174 {} 1a0168 20e807 a00101", of("12", 0xab)),
    )],
    Enrol: [(
        Action::Enrol {
            token_id: text("t"),
            secret_hash: digest(0xab),
            agent: agent(),
            key: digest(0xcd),
            machine: Some(digest(0xef)),
        },
        format!(
            "6a 6d 0a0174 {} 1a0168 {} {}",
            of("12", 0xab),
            of("22", 0xcd),
            of("a201", 0xef)
        ),
    )],
    Ingest: [(
        Action::Ingest {
            agent: agent(),
            first_sequence: 7,
            transitions: vec![transition()],
            anew: true,
            chain_before: Some(digest(0xab)),
            head: Some(SignedHead {
                statement: b"s".to_vec(),
                key: b"k".to_vec(),
                signature: b"n".to_vec(),
            }),
        },
        format!(
            "72 fa01 0a0168 1007 1a c301 {} 2001 52 09 0a0173 12016b 1a016e {}",
            frozen_transition(),
            of("5a", 0xab)
        ),
    )],
    AckFinding: [(
        Action::AckFinding { uid: FindingUid(digest(0xab)), note: text("n") },
        format!("7a 25 {} 12016e", of("0a", 0xab)),
    )],
    Propose: [(
        Action::Propose {
            expected_epoch: 7,
            upserts: vec![bytes_of("u")],
            deletes: vec![object()],
            seal: bytes_of("s"),
        },
        "8a01 14 0807 120175 1a0a 0a04486f7374 12026831 220173".to_owned(),
    )],
    SignProposal: [(
        Action::SignProposal { number: 7, seal: bytes_of("s") },
        "9201 05 0807 120173".to_owned(),
    )],
    WithdrawProposal: [(Action::WithdrawProposal { number: 7 }, "9a01 02 0807".to_owned())],
    RecoverLogin: [(
        Action::RecoverLogin { person: text("p"), reason: text("r"), key: digest(0xab) },
        format!("a201 28 0a0170 120172 {}", of("1a", 0xab)),
    )],
    CreateLogin: [(
        Action::CreateLogin { person: text("p"), key: digest(0xab) },
        format!("ba01 25 0a0170 {}", of("12", 0xab)),
    )],
    LogIn: [(
        Action::LogIn {
            person: text("p"),
            key: digest(0xab),
            word: Vouched {
                issuer: text("i"),
                subject: text("s"),
                issued: at(1),
                groups: ["g".parse().unwrap(), "h".parse().unwrap()].into(),
            },
            ends: at(2),
            replaces: true,
        },
        format!(
            "9203 39 0a0170 {} 1a0169 220173 28e807 30d00f 3a0167 3a0168 4001",
            of("12", 0xab)
        ),
    )],
    BreakGlass: [(
        Action::BreakGlass { person: text("p"), reason: text("r"), key: digest(0xab), ends: at(1) },
        format!("9a03 2b 0a0170 120172 {} 20e807", of("1a", 0xab)),
    )],
    EndBreakGlass: [(Action::EndBreakGlass { person: text("p") }, "a203 03 0a0170".to_owned())],
    RecordCertificate: [(
        Action::RecordCertificate { person: text("p"), digest: digest(0xab), ends: at(1) },
        format!("aa03 28 0a0170 {} 18e807", of("12", 0xab)),
    )],
    InviteMember: [(
        Action::InviteMember {
            member: member(),
            id: text("i"),
            secret_hash: digest(0xab),
            expires: at(1),
        },
        format!("e203 2b 0a016d 120169 {} 20e807", of("1a", 0xab)),
    )],
    AdmitMember: [(
        Action::AdmitMember {
            member: member(),
            secret_hash: digest(0xab),
            key: digest(0xcd),
            newest: ClusterVersion::of(3),
        },
        format!("ea03 49 0a016d {} {} 2003", of("12", 0xab), of("1a", 0xcd)),
    )],
    RemoveMember: [(Action::RemoveMember { member: member() }, "f203 03 0a016d".to_owned())],
    NoteMember: [
        (MemberTurn::Promoted, "fa03 07 0a016d 1001 1801"),
        (MemberTurn::Demoted, "fa03 07 0a016d 1002 1801"),
        (MemberTurn::Leads, "fa03 07 0a016d 1003 1801"),
    ]
    .map(|(turn, frozen)| {
        let note = Action::NoteMember { member: member(), turn, forced: true };
        (note, frozen.to_owned())
    }),
    RaiseVersion: [(
        Action::RaiseVersion { to: ClusterVersion::of(3) },
        "8204 02 0803".to_owned(),
    )],
    SaveSnapshot: [(Action::SaveSnapshot, "8205 00".to_owned())],
    Restore: [(
        Action::Restore {
            from: SnapshotPlace { digest: digest(0xab), index: 7, term: 3 },
            members: vec![(member(), 1)],
        },
        format!("8a05 2f 0a26 {} 1007 1803 1205 0a016d 1001", of("0a", 0xab)),
    )],
    RemoveHost: [(Action::RemoveHost { agent: agent() }, "c201 03 0a0168".to_owned())],
    DecideHost: [(
        Action::DecideHost { agent: agent(), key: digest(0xab), approved: true },
        format!("c202 27 0a0168 {} 1801", of("12", 0xab)),
    )],
    EvictHost: [(
        Action::EvictHost { agent: agent(), reason: text("r") },
        "ca02 06 0a0168 120172".to_owned(),
    )],
    BanHost: [(
        Action::BanHost { agent: agent(), reason: text("r") },
        "d202 06 0a0168 120172".to_owned(),
    )],
    UnbanHost: [(Action::UnbanHost { agent: agent() }, "d202 05 0a0168 1801".to_owned())],
    RevokeLogin: [(
        Action::RevokeLogin { person: text("p"), reason: text("r") },
        "da02 06 0a0170 120172".to_owned(),
    )],
    RestoreLogin: [(Action::RestoreLogin { person: text("p") }, "da02 05 0a0170 1801".to_owned())],
    TellCopy: [(
        Action::TellCopy { agent: agent(), machine: Some(digest(0xab)) },
        format!("e202 25 0a0168 {}", of("12", 0xab)),
    )],
    TellAhead: [(
        Action::TellAhead { agent: agent(), epoch: 9 },
        "9205 05 0a0168 1009".to_owned(),
    )],
    TellSilence: [(
        Action::TellSilence { agent: agent(), silent: true, since: Some(at(1)), unrecorded: true },
        "ca01 0a 0a0168 1001 18e807 2001".to_owned(),
    )],
    NoteDenied: [(
        Action::NoteDenied {
            rpc: text("r"),
            reason: text("N"),
            attempts: 3,
            since: at(1),
            about: crate::About { verb: text("v"), resource: text("R"), request_id: text("i") },
        },
        "b201 14 0a0172 12014e 1803 20e807 2a0176 320152 3a0169".to_owned(),
    )],
    Stamp: [(Action::Stamp { envelope: bytes_of("e") }, "d201 03 0a0165".to_owned())],
    Tick: [(Action::Tick { until: at(1) }, "8201 03 08e807".to_owned())],
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn bytes_of(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn agent() -> AgentId {
    "h".parse().unwrap()
}

fn member() -> Name {
    "m".parse().unwrap()
}

fn object() -> ObjectKey {
    "Host/h1".parse().unwrap()
}

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

/// A digest of this byte in the field of this tag.
fn of(tag: &str, byte: u8) -> String {
    format!("{tag}20{}", hex_of(&[byte; 32]))
}

fn transition() -> Transition {
    Transition {
        at: at(1),
        uid: FindingUid(digest(0xab)),
        subject: SubjectClass::Workload("w".parse().unwrap()),
        image: Some(digest(0xcd)),
        check: Check {
            control: Control::Privilege,
            rule: rules::IS_ROOT.rule_id(),
            field: "f".into(),
            result: Outcome::Fail,
            expected: Some(text("e")),
            actual: Some(text("a")),
            reason: "r".into(),
            severity: Severity::High,
            decided_by: Some(object()),
        },
        lifecycle: Lifecycle::Open,
        wanted: Mode::Enforce,
        effective: Mode::Monitor,
        epoch: 3,
        affected: 4,
        samples: vec![Sample {
            instance: InstanceId {
                runtime: RuntimeKind::Docker,
                id: text("i"),
            },
            name: text("n"),
        }],
        evaluated: 5,
        occurrences: 6,
        first_seen: at(2),
        reopened: 7,
    }
}

fn frozen_transition() -> String {
    let check = "2a 42 0a0970726976696c656765 121170726976696c6567652f69732d726f6f74 1a0166 22046661696c 2a0165 320161 \
                 3a0172 420468696768 4a0a 0a04486f7374 12026831";
    let samples = "5a 0e 0a06646f636b6572 120169 1a016e";
    format!(
        "08e807 {} 1a05 0801 120177 {} {check} 3001 3a07656e666f726365 42076d6f6e69746f72 4803 5004 {samples} \
         6005 6806 70d00f 7807",
        of("12", 0xab),
        of("22", 0xcd)
    )
}

#[test]
fn stored_bytes_of_every_action_never_change() {
    for (kind_of, cases) in frozen() {
        assert!(!cases.is_empty(), "{kind_of} has no frozen bytes");
        for (action, frozen) in cases {
            assert_eq!(kind(&action), kind_of);
            let command = command(2, None, action);
            // Format, stamp, actor; then the action.
            let frozen = format!("0801 10d00f 1a0a706572736f6e2f616461 {frozen}").replace(' ', "");
            assert_eq!(hex_of(&command.encode()), frozen, "{kind_of}");
            assert_eq!(Command::decode(bytes(&frozen).into()), Ok(command));
        }
    }
}
