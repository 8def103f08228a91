//! Fuzz targets: commands as a log may hold them, and rows as a disk may.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bolero::check;
use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use verger_fuzz::Damaged;
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::finding::{Lifecycle, Sample, SubjectClass, Transition, fingerprint};
use verger_policy::model::{AgentId, Control, Mode, Name, RuntimeKind, Severity, printable};
use verger_policy::set::PolicySet;
use verger_policy::{draft, rules};
use verger_proto::stored::v1::SnapshotRow;
use verger_seal::{SealingKey, SetStatement, TrustRoot};

use crate::{Action, ClusterVersion, Command, Place, Response, RowChange, State, Tree, limits};

type Rows = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn agent() -> AgentId {
    "h1".parse().unwrap()
}

fn key() -> SealingKey {
    SealingKey::from_seed([1; 32])
}

/// A transition of one of this cluster's faults.
pub(crate) fn transition(number: u8, lifecycle: Lifecycle) -> Transition {
    let cluster = TrustRoot::found(&[("ada".to_owned(), &key())], 1)
        .unwrap()
        .0
        .cluster_id();
    let (rule, field) = (rules::IS_ROOT.rule_id(), format!("user.uid{number}"));
    let subject = SubjectClass::Workload("payments/web".parse().unwrap());
    let image = Some(Digest::of(b"image"));
    Transition {
        at: at(13),
        uid: fingerprint(&cluster, &rule, &subject, image.as_ref(), &field),
        subject,
        image,
        check: Check {
            control: Control::Privilege,
            rule,
            field: field.into(),
            result: Outcome::Fail,
            expected: Some("1000".to_owned()),
            actual: Some("0".to_owned()),
            reason: "it is root".into(),
            severity: Severity::High,
            decided_by: Some("Workload/payments/web".parse().unwrap()),
        },
        lifecycle,
        wanted: Mode::Enforce,
        effective: Mode::Monitor,
        epoch: 1,
        affected: 1,
        samples: vec![Sample {
            instance: InstanceId {
                runtime: RuntimeKind::Docker,
                id: "ab".repeat(32),
            },
            name: "web-1".to_owned(),
        }],
        evaluated: 2,
        occurrences: 3,
        first_seen: at(12),
        reopened: 0,
    }
}

/// A life of a cluster: each command is carried out after the ones before it.
fn history() -> Vec<Bytes> {
    let key = key();
    let (root, envelope) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).unwrap();
    let text = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: h1 }\nspec: { agent: h1 }\n";
    let host = draft::read("h", text.as_bytes()).unwrap().remove(0);
    let seal = |set: &PolicySet| {
        let statement = SetStatement::new(&root, set.epoch(), set.root(), set.len() as u64, at(1_000_000));
        Bytes::from(statement.seal(&[&key]).to_json())
    };
    let name = |name: &str| name.parse::<Name>().unwrap();
    let invite = |member: &str| Action::InviteMember {
        member: name(member),
        id: format!("of-{member}"),
        secret_hash: Digest::of(member.as_bytes()),
        expires: at(100),
    };
    let first = PolicySet::empty().change([host.clone()], []).unwrap();
    let second = first.change([], [host.key()]).unwrap();
    let actions = [
        Action::Found {
            trust_root: envelope.to_json().into(),
        },
        Action::ApplySet {
            expected_epoch: 0,
            upserts: vec![host.canonical_bytes().into()],
            deletes: vec![],
            seal: seal(&first),
        },
        Action::CreateToken {
            id: "t".to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent(),
            expires: at(100),
            approval: false,
        },
        Action::Enrol {
            token_id: "t".to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent(),
            key: Digest::of(b"key"),
            machine: None,
        },
        Action::Ingest {
            agent: agent(),
            chain_before: None,
            head: None,
            first_sequence: 1,
            anew: false,
            transitions: vec![
                transition(1, Lifecycle::Open),
                transition(2, Lifecycle::Suppressed),
            ],
        },
        Action::AckFinding {
            uid: transition(1, Lifecycle::Open).uid,
            note: "known".to_owned(),
        },
        Action::Ingest {
            agent: agent(),
            chain_before: None,
            head: None,
            first_sequence: 2,
            anew: false,
            transitions: vec![transition(2, Lifecycle::Open), transition(1, Lifecycle::Resolved)],
        },
        Action::ApplySet {
            expected_epoch: 1,
            upserts: vec![],
            deletes: vec![host.key()],
            seal: seal(&second),
        },
        Action::Tick { until: at(18) },
        Action::NoteDenied {
            rpc: "verger.policy.v1.PolicyService/Apply".to_owned(),
            reason: "NOT_A_PERSON".to_owned(),
            attempts: 3,
            since: at(17),
            about: crate::About {
                verb: "apply".to_owned(),
                resource: "Workload/web".to_owned(),
                request_id: "denied".to_owned(),
            },
        },
        Action::RecordCertificate {
            person: "bob".to_owned(),
            digest: Digest::of(b"certificate"),
            ends: at(100),
        },
        // Another key, once the first one is shut out: what that told is forgotten.
        Action::EvictHost {
            agent: agent(),
            reason: "its disk was stolen".to_owned(),
        },
        Action::CreateToken {
            id: "t2".to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent(),
            expires: at(100),
            approval: true,
        },
        Action::Enrol {
            token_id: "t2".to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent(),
            key: Digest::of(b"another key"),
            machine: Some(Digest::of(b"machine")),
        },
        Action::DecideHost {
            agent: agent(),
            key: Digest::of(b"another key"),
            approved: true,
        },
        Action::TellCopy {
            agent: agent(),
            machine: Some(Digest::of(b"another machine")),
        },
        Action::TellSilence {
            agent: agent(),
            silent: true,
            since: Some(at(5)),
            unrecorded: true,
        },
        Action::TellAhead {
            agent: agent(),
            epoch: 9,
        },
        Action::BanHost {
            agent: agent(),
            reason: "copied".to_owned(),
        },
        Action::UnbanHost { agent: agent() },
        Action::RevokeLogin {
            person: "bob".to_owned(),
            reason: "left".to_owned(),
        },
        Action::LogIn {
            person: "bea".to_owned(),
            key: Digest::of(b"key"),
            word: crate::Vouched {
                issuer: "https://id.example".to_owned(),
                subject: "b".to_owned(),
                issued: at(20),
                groups: ["sre".parse().unwrap()].into(),
            },
            ends: at(60),
            replaces: false,
        },
        Action::BreakGlass {
            person: "ada".to_owned(),
            reason: "why".to_owned(),
            key: Digest::of(b"key"),
            ends: at(60),
        },
        Action::EndBreakGlass {
            person: "ada".to_owned(),
        },
        Action::RaiseVersion {
            to: ClusterVersion::FIRST,
        },
        invite("m2"),
        Action::AdmitMember {
            member: name("m2"),
            secret_hash: Digest::of(b"m2"),
            key: Digest::of(b"key"),
            newest: ClusterVersion::NEWEST,
        },
        invite("m3"),
        Action::AdmitMember {
            member: name("m3"),
            secret_hash: Digest::of(b"m3"),
            key: Digest::of(b"another key"),
            newest: ClusterVersion::NEWEST,
        },
        Action::NoteMember {
            member: name("m2"),
            turn: crate::MemberTurn::Promoted,
            forced: true,
        },
        Action::RemoveMember { member: name("m2") },
        invite("m4"),
        Action::RemoveMember { member: name("m1") },
        invite("m5"),
        Action::SaveSnapshot,
        Action::Restore {
            from: crate::SnapshotPlace {
                digest: Digest::of(b"snapshot"),
                index: 9,
                term: 2,
            },
            members: vec![(name("m6"), 60)],
        },
    ];
    let command = |(second, action)| Command {
        stamp: at(second),
        actor: "person/ada".to_owned(),
        request_id: Some(format!("request-{second}")),
        from: Some("192.0.2.1:40000".to_owned()),
        policies: vec!["a rule".to_owned()],
        counted: second % 2 == 0,
        action,
    };
    (10..)
        .zip(actions)
        .map(command)
        .map(|command| command.encode())
        .collect()
}

/// A member: its state and the rows its disk holds of it.
#[derive(Clone, Default)]
struct Member {
    state: State,
    revision: u64,
    rows: Rows,
}

impl Member {
    fn run(&mut self, command: Bytes) -> (Response, Vec<RowChange>) {
        self.revision += 1;
        let (response, changes) = self.state.apply(self.revision, 0, command);
        for RowChange { tree, key, value } in changes.clone() {
            match value {
                Some(value) => self.rows.insert((tree, key), value),
                None => self.rows.remove(&(tree, key)),
            };
        }
        (response, changes)
    }

    /// The members after none, one, two … commands of the history.
    fn lives() -> Vec<Self> {
        let mut lives = vec![Self::default()];
        for command in history() {
            let mut next = lives[lives.len() - 1].clone();
            let (response, _) = next.run(command);
            assert!(!matches!(response, Response::Refused(_)), "{response:?}");
            lives.push(next);
        }
        lives
    }

    fn rebuilt(&self) -> State {
        let rows = self
            .rows
            .iter()
            .map(|((tree, key), value)| (*tree, key.clone(), value.clone()));
        State::from_rows(self.revision, rows).unwrap()
    }
}

/// Member by member: a state in one piece is too long to compare by eye.
#[track_caller]
fn assert_same(one: &State, other: &State) {
    assert_eq!(
        (one.revision, &one.clock, &one.cluster, &one.restored),
        (other.revision, &other.clock, &other.cluster, &other.restored)
    );
    assert_eq!((&one.set, &one.seal), (&other.set, &other.seal));
    assert_eq!(&one.objects, &other.objects);
    assert_eq!((&one.tokens, &one.hosts), (&other.tokens, &other.hosts));
    assert_eq!((&one.logins, &one.members), (&other.logins, &other.members));
    assert_eq!(
        (&one.requests, &one.requests_by_time),
        (&other.requests, &other.requests_by_time)
    );
    assert_eq!(one.findings, other.findings);
    assert_eq!(one.audit, other.audit);
    assert_eq!(one, other);
}

fn told(state: &State) -> usize {
    state.findings_after_uid(None).count()
}

/// What agents and people have told; not what controllers say of clocks and broken glass whatever becomes of the command.
fn told_by_others(state: &State) -> usize {
    state
        .findings_after_uid(None)
        .filter(|finding| {
            let own = [rules::CONTROLLER_CLOCK.rule_id(), rules::BREAK_GLASS.rule_id()];
            !own.contains(&finding.rule)
        })
        .count()
}

/// Whatever was applied, everything can be asked.
fn ask(state: &State) {
    let all: Vec<_> = state.findings_after_uid(None).collect();
    let beginning = state
        .findings_changed(&Place::beginning(state.revision()))
        .unwrap();
    assert_eq!(beginning.filter(|change| change.now.is_some()).count(), all.len());
    for finding in all {
        assert_eq!(state.finding(&finding.uid), Some(finding));
    }
    let _ = state.objects_changed(&Place::after(0)).map(Iterator::count);
    assert_eq!(state.findings_with_prefix("", usize::MAX).len(), told(state));
    let objects = state
        .set()
        .entries()
        .all(|entry| state.set().body(&entry.key).is_some());
    assert!(objects, "a controller has every body");
}

#[track_caller]
fn assert_shown(text: &str) {
    assert!(text.lines().all(|line| printable(line) == line), "{text:?}");
}

#[test]
fn hostile_commands_are_refused_or_encoded_back_to_the_same() {
    check!()
        .with_generator(Damaged::proto(history()))
        .with_iterations(5_000)
        .for_each(|bytes| match Command::decode(Bytes::copy_from_slice(bytes)) {
            Ok(command) => {
                assert_eq!(Command::decode(command.encode()), Ok(command.clone()));
                if let Action::Ingest { transitions, .. } = &command.action {
                    assert!(transitions.len() <= limits::TRANSITIONS);
                }
            }
            Err(error) => assert_shown(&error.to_string()),
        });
}

#[test]
fn every_member_makes_the_same_of_hostile_commands_and_their_rows() {
    let lives = Member::lives();
    let commands = || Damaged::proto(history());
    check!()
        .with_generator((0..lives.len(), [commands(), commands(), commands(), commands()]))
        .with_iterations(700)
        .for_each(|(life, commands)| {
            let (mut one, mut other) = (lives[*life].clone(), lives[*life].clone());
            for bytes in commands {
                let (set, findings) = (one.state.set().clone(), told_by_others(&one.state));
                let command = Bytes::copy_from_slice(bytes);
                let answer = one.run(command.clone());
                assert_eq!(other.run(command), answer);
                match &answer.0 {
                    Response::Refused(refused) => {
                        assert_shown(&refused.to_string());
                        assert_eq!(one.state.set(), &set);
                        assert_eq!(told_by_others(&one.state), findings);
                    }
                    Response::SetApplied { epoch, root, .. } if one.state.set() != &set => {
                        // A seal may leave out epochs.
                        assert!(*epoch > set.epoch());
                        assert_eq!((*epoch, *root), (one.state.set().epoch(), one.state.set().root()));
                    }
                    _ => {}
                }
                assert_same(&one.state, &other.state);
                // A member that was restarted is where the others are.
                other.state = other.rebuilt();
                assert_same(&one.state, &other.state);
                ask(&one.state);
            }
        });
}

/// Rows of an old member, as snapshots hold them.
fn rows() -> Vec<Vec<u8>> {
    let old = Member::lives().pop().unwrap();
    let row = |((tree, key), value): (&(Tree, Vec<u8>), &Vec<u8>)| {
        let (tree, key, value) = (tree.name().to_owned(), key.clone().into(), value.clone().into());
        SnapshotRow { tree, key, value }.encode_to_vec()
    };
    old.rows.iter().map(row).collect()
}

fn row(bytes: &[u8]) -> Option<(Tree, Vec<u8>, Vec<u8>)> {
    let SnapshotRow { tree, key, value } = SnapshotRow::decode(bytes).ok()?;
    Some((Tree::of_name(&tree)?, key.to_vec(), value.to_vec()))
}

#[test]
fn hostile_rows_are_damage_or_a_state_that_can_be_asked_and_goes_on() {
    let honest = rows();
    check!()
        .with_generator((
            bolero::produce::<u64>(),
            0..honest.len(),
            [
                Damaged::proto(&honest),
                Damaged::proto(&honest),
                Damaged::proto(&honest),
            ],
            Damaged::proto(history()),
        ))
        .with_iterations(1_500)
        .for_each(|(revision, some, damaged, command)| {
            let some = honest[*some..].iter().filter_map(|bytes| row(bytes));
            match State::from_rows(
                *revision,
                some.chain(damaged.iter().filter_map(|bytes| row(bytes))),
            ) {
                Ok(mut state) => {
                    ask(&state);
                    let (response, _) =
                        state.apply(revision.saturating_add(1), 0, Bytes::copy_from_slice(command));
                    if let Response::Refused(refused) = response {
                        assert_shown(&refused.to_string());
                    }
                    for command in history() {
                        state.apply(revision.saturating_add(2), 0, command);
                    }
                    ask(&state);
                }
                Err(error) => assert_shown(&error.to_string()),
            }
        });
}
