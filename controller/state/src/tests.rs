//! The state machine, driven by commands as members apply them.

#![allow(clippy::unwrap_used)]

mod anew;
mod audit;
mod frozen;
mod heads;
mod logins;
mod members;
mod objects;
mod proposals;
mod random;
mod requests;
mod restoring;
mod retention;
mod rotation;
mod stamps;
mod standing;
mod time;
mod version;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use prost::Message as _;
use verger_policy::digest::Digest;
use verger_policy::finding::Transition;
use verger_policy::model::{AgentId, ObjectKey, PolicyObject};
use verger_policy::set::PolicySet;
use verger_proto::stored::v1 as stored;
use verger_seal::{SealingKey, SetStatement, TrustRoot};

use crate::{Action, Command, Refused, Response, RowChange, State, Tree};

const HOST: &str = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: h1 }\nspec: { agent: h1 }\n";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn key() -> SealingKey {
    SealingKey::from_seed([1; 32])
}

fn command(seconds: i64, request_id: Option<&str>, action: Action) -> Command {
    Command {
        stamp: at(seconds),
        actor: "person/ada".to_owned(),
        request_id: request_id.map(str::to_owned),
        from: None,
        policies: Vec::new(),
        counted: false,
        action,
    }
}

/// A state, and the rows that a store would hold of it.
#[derive(Default)]
struct Member {
    state: State,
    index: u64,
    rows: std::collections::BTreeMap<(Tree, Vec<u8>), Vec<u8>>,
}

impl Member {
    fn founded() -> Self {
        let mut member = Self::default();
        let (_, envelope) = TrustRoot::found(&[("ada".to_owned(), &key())], 1).unwrap();
        let founded = member.run(&command(
            10,
            None,
            Action::Found {
                trust_root: envelope.to_json().into(),
            },
        ));
        assert!(matches!(founded, Response::Founded(_)), "{founded:?}");
        member
    }

    fn run(&mut self, command: &Command) -> Response {
        self.index += 1;
        self.run_at(0, command)
    }

    /// Runs a command of the entry that was last begun.
    fn run_at(&mut self, ordinal: u32, command: &Command) -> Response {
        let (response, changes) = self.state.apply(self.index, ordinal, command.encode());
        for RowChange { tree, key, value } in changes {
            match value {
                Some(value) => self.rows.insert((tree, key), value),
                None => self.rows.remove(&(tree, key)),
            };
        }
        response
    }

    /// Runs a command, and checks that a restarted member is where this one is.
    fn checked(&mut self, command: &Command) -> Response {
        let response = self.run(command);
        assert_eq!(self.rebuilt(), self.state);
        response
    }

    fn now(&self) -> i64 {
        self.state.clock().as_second()
    }

    /// Enrols an agent under a key; whoever is there under another one is evicted first.
    fn enrol(&mut self, agent: &str, key: &[u8]) {
        let now = self.now();
        let known = self.state.host(&agent.parse().unwrap());
        if known.is_some_and(|host| host.serves() && host.key != Digest::of(key)) {
            let evict = Action::EvictHost {
                agent: agent.parse().unwrap(),
                reason: String::new(),
            };
            assert_eq!(self.run(&command(now, None, evict)), Response::Decided);
        }
        let id = format!("token-{}", self.index);
        let agent: AgentId = agent.parse().unwrap();
        self.run(&command(
            now,
            None,
            Action::CreateToken {
                id: id.clone(),
                secret_hash: Digest::of(b"s"),
                agent: agent.clone(),
                expires: at(now + 500),
                approval: false,
            },
        ));
        let enrolled = self.run(&command(
            now,
            None,
            Action::Enrol {
                token_id: id,
                secret_hash: Digest::of(b"s"),
                agent,
                key: Digest::of(key),
                machine: None,
            },
        ));
        assert_eq!(enrolled, Response::Enrolled);
    }

    /// Takes in transitions of an agent, next in sequence.
    fn tell(&mut self, agent: &str, transitions: Vec<Transition>) -> Response {
        let agent: AgentId = agent.parse().unwrap();
        let first_sequence = self.state.host(&agent).unwrap().last_sequence + 1;
        let action = Action::Ingest {
            agent,
            chain_before: None,
            head: None,
            first_sequence,
            anew: false,
            transitions,
        };
        self.run(&command(self.now(), None, action))
    }

    /// Time goes by, as the leading member stamps it.
    fn pass(&mut self, seconds: i64) {
        let until = at(self.now() + seconds);
        for tick in crate::ticks(self.state.clock(), until, usize::MAX, "controller/c1") {
            assert_eq!(self.run(&tick), Response::Ticked);
        }
        assert_eq!(self.state.clock(), until);
    }

    fn rebuilt(&self) -> State {
        let rows = self
            .rows
            .iter()
            .map(|((tree, key), value)| (*tree, key.clone(), value.clone()));
        State::from_rows(self.index, rows).unwrap()
    }

    fn change(&self, expected_epoch: u64, key: &SealingKey) -> Action {
        let object = verger_policy::draft::read("h", HOST.as_bytes())
            .unwrap()
            .remove(0);
        let next = self.state.set().change([object.clone()], []).unwrap();
        Action::ApplySet {
            expected_epoch,
            upserts: vec![canonical(&object)],
            deletes: vec![],
            seal: self.seal(&next, key),
        }
    }

    fn seal(&self, set: &PolicySet, key: &SealingKey) -> Bytes {
        let root = &self.state.cluster().unwrap().trust_root;
        let count = u64::try_from(set.len()).unwrap();
        SetStatement::new(root, set.epoch(), set.root(), count, at(1_000_000))
            .seal(&[key])
            .to_json()
            .into()
    }
}

fn canonical(object: &PolicyObject) -> Bytes {
    object.canonical_bytes().into()
}

fn word(response: &Response) -> &'static str {
    match response {
        Response::Refused(refused) => refused.word(),
        _ => "done",
    }
}

#[test]
fn a_cluster_is_founded_once_and_nothing_works_before() {
    let mut member = Member::default();
    let token = Action::CreateToken {
        id: "t".to_owned(),
        secret_hash: Digest::of(b"s"),
        agent: "h1".parse().unwrap(),
        expires: at(100),
        approval: false,
    };
    assert_eq!(word(&member.run(&command(1, Some("r"), token))), "NOT_FOUNDED");
    let mut member = Member::founded();
    let (_, envelope) = TrustRoot::found(&[("eve".to_owned(), &SealingKey::from_seed([2; 32]))], 1).unwrap();
    let again = member.run(&command(
        11,
        None,
        Action::Found {
            trust_root: envelope.to_json().into(),
        },
    ));
    assert_eq!(word(&again), "ALREADY_FOUNDED");
}

#[test]
fn only_a_sealed_set_on_the_current_epoch_is_applied_and_a_repeat_answers_the_same() {
    let mut member = Member::founded();
    let forged = member.change(0, &SealingKey::from_seed([9; 32]));
    assert_eq!(word(&member.run(&command(11, Some("a"), forged))), "SEAL_REFUSED");
    assert_eq!(member.state.set().epoch(), 0, "nothing changed");
    let good = command(12, Some("b"), member.change(0, &key()));
    let first = member.run(&good);
    assert!(
        matches!(first, Response::SetApplied { epoch: 1, .. }),
        "{first:?}"
    );
    assert_eq!(member.run(&good), first, "the retry after a lost reply");
    let stale = command(13, Some("c"), member.change(0, &key()));
    assert_eq!(word(&member.run(&stale)), "EPOCH_CONFLICT");
    assert_eq!(member.rebuilt(), member.state);
}

#[test]
fn a_token_is_spent_once_by_its_own_agent_in_time() {
    let mut member = Member::founded();
    let agent = |name: &str| name.parse::<AgentId>().unwrap();
    let create = |id: &str| Action::CreateToken {
        id: id.to_owned(),
        secret_hash: Digest::of(b"secret"),
        agent: agent("h1"),
        expires: at(100),
        approval: false,
    };
    let spend = |id: &str, secret: &[u8], name: &str| Action::Enrol {
        token_id: id.to_owned(),
        secret_hash: Digest::of(secret),
        agent: agent(name),
        key: Digest::of(b"key"),
        machine: None,
    };
    member.run(&command(20, Some("1"), create("t1")));
    assert_eq!(
        word(&member.run(&command(21, None, spend("t1", b"wrong", "h1")))),
        "TOKEN_REFUSED"
    );
    assert_eq!(
        word(&member.run(&command(21, None, spend("t1", b"secret", "h2")))),
        "TOKEN_REFUSED"
    );
    assert_eq!(
        member.run(&command(22, None, spend("t1", b"secret", "h1"))),
        Response::Enrolled
    );
    assert_eq!(
        member.run(&command(23, None, spend("t1", b"secret", "h1"))),
        Response::Enrolled,
        "the same key, whose answer was lost"
    );
    let mut thief = spend("t1", b"secret", "h1");
    if let Action::Enrol { key, .. } = &mut thief {
        *key = Digest::of(b"another key");
    }
    assert_eq!(word(&member.run(&command(23, None, thief))), "TOKEN_REFUSED");
    member.run(&command(24, Some("2"), create("t2")));
    assert_eq!(
        word(&member.run(&command(101, None, spend("t2", b"secret", "h1")))),
        "TOKEN_REFUSED",
        "too late"
    );
    assert_eq!(member.rebuilt(), member.state);
}

#[test]
fn time_never_runs_back_whoever_proposes() {
    let mut member = Member::founded();
    member.run(&command(
        500,
        None,
        Action::AckFinding {
            uid: uid(),
            note: "n".to_owned(),
        },
    ));
    member.run(&command(
        5,
        None,
        Action::AckFinding {
            uid: uid(),
            note: "n".to_owned(),
        },
    ));
    assert_eq!(member.state.clock(), at(500));
}

fn uid() -> verger_policy::finding::FindingUid {
    verger_policy::finding::FindingUid(Digest::of(b"uid"))
}

#[test]
fn transitions_are_taken_in_once_and_a_gap_is_refused() {
    let mut member = Member::founded();
    let agent: AgentId = "h1".parse().unwrap();
    let empty = |first| Action::Ingest {
        agent: agent.clone(),
        chain_before: None,
        head: None,
        first_sequence: first,
        anew: false,
        transitions: vec![],
    };
    assert_eq!(word(&member.run(&command(11, None, empty(1)))), "UNKNOWN_AGENT");
    member.run(&command(
        12,
        Some("1"),
        Action::CreateToken {
            id: "t".to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent.clone(),
            expires: at(100),
            approval: false,
        },
    ));
    member.run(&command(
        13,
        None,
        Action::Enrol {
            token_id: "t".to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent.clone(),
            key: Digest::of(b"key"),
            machine: None,
        },
    ));
    assert_eq!(member.run(&command(14, None, empty(1))), Response::Ingested(0));
    assert_eq!(
        member.run(&command(14, None, empty(5))),
        Response::Refused(Refused::SequenceGap { expected: 1 })
    );
}

#[test]
fn the_end_of_time_is_no_end_of_a_member() {
    let mut member = Member::founded();
    let end = at(Timestamp::MAX.as_second());
    let token = Action::CreateToken {
        id: "t".to_owned(),
        secret_hash: Digest::of(b"s"),
        agent: "h1".parse().unwrap(),
        expires: end,
        approval: false,
    };
    let last = Command {
        stamp: end,
        ..command(0, None, token)
    };
    assert_eq!(member.run(&last), Response::TokenCreated("t".to_owned()));
    assert_eq!(member.rebuilt(), member.state);
}

#[test]
fn a_command_of_nobody_is_refused() {
    let action = Action::AckFinding {
        uid: uid(),
        note: "n".to_owned(),
    };
    let nobody = Command {
        actor: String::new(),
        ..command(1, None, action)
    };
    assert_eq!(word(&Member::founded().run(&nobody)), "INVALID_COMMAND");
}

#[test]
fn rows_that_do_not_fit_together_are_damage() {
    let member = Member::founded();
    let finding = stored::FindingHead {
        format: 1,
        revision: 7,
        ..Default::default()
    };
    let (_, envelope) = TrustRoot::found(&[("grace".to_owned(), &key())], 1).unwrap();
    let cluster = stored::ClusterRow {
        format: 1,
        cluster_id: member.state.cluster().unwrap().id.as_bytes().to_vec().into(),
        trust_root_envelope: envelope.to_json().into(),
        ..Default::default()
    };
    for (tree, key, value, told) in [
        (
            Tree::FindingHeads,
            vec![1; 32],
            finding.encode_to_vec(),
            "without hosts",
        ),
        (
            Tree::Cluster,
            b"cluster".to_vec(),
            cluster.encode_to_vec(),
            "another cluster's",
        ),
    ] {
        let error = State::from_rows(9, [(tree, key, value)]).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_unreadable_ones_change_nothing(bytes: Vec<u8>) {
        let mut member = Member::founded();
        let before = member.state.set().clone();
        let (response, _) = member.state.apply(99, 0, bytes.into());
        prop_assert!(matches!(response, Response::Refused(_)));
        prop_assert_eq!(member.state.set(), &before);
    }
}

#[test]
fn another_key_is_another_agents_life_and_the_same_key_goes_on() {
    let mut member = Member::founded();
    let agent: AgentId = "h1".parse().unwrap();
    let mut time = 20;
    let mut enrol = |member: &mut Member, key: &[u8]| {
        let id = format!("t{time}");
        member.run(&command(
            time,
            Some(&id),
            Action::CreateToken {
                id: id.clone(),
                secret_hash: Digest::of(b"s"),
                agent: agent.clone(),
                expires: at(time + 50),
                approval: false,
            },
        ));
        let enrolled = member.run(&command(
            time + 1,
            None,
            Action::Enrol {
                token_id: id,
                secret_hash: Digest::of(b"s"),
                agent: agent.clone(),
                key: Digest::of(key),
                machine: None,
            },
        ));
        assert_eq!(enrolled, Response::Enrolled);
        time += 2;
    };
    enrol(&mut member, b"one");
    let told = crate::fuzz::transition(1, verger_policy::finding::Lifecycle::Open);
    let ingest = |first_sequence| {
        command(
            19,
            None,
            Action::Ingest {
                agent: agent.clone(),
                chain_before: None,
                head: None,
                first_sequence,
                anew: false,
                transitions: vec![told.clone()],
            },
        )
    };
    assert_eq!(member.run(&ingest(1)), Response::Ingested(1));
    enrol(&mut member, b"one");
    assert_eq!(
        member.run(&ingest(2)),
        Response::Ingested(2),
        "the same agent goes on"
    );
    assert!(member.state.finding(&told.uid).is_some());

    let evict = Action::EvictHost {
        agent: agent.clone(),
        reason: String::new(),
    };
    assert_eq!(member.run(&command(19, None, evict)), Response::Decided);
    enrol(&mut member, b"other");
    assert!(
        member.state.finding(&told.uid).is_none(),
        "what the agent before it told is no longer known to hold"
    );
    assert_eq!(member.rebuilt(), member.state);
    assert_eq!(
        member.run(&ingest(1)),
        Response::Ingested(1),
        "it numbers from one"
    );
    assert!(member.state.finding(&told.uid).is_some());
    assert_eq!(member.rebuilt(), member.state);
}
