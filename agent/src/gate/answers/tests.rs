#![allow(clippy::unwrap_used)]
use jiff::Timestamp;
use verger_agent_core::enforcer::fake::{FakeEnforcer, FakeHost};
use verger_agent_core::ledger::{Floor, offer};
use verger_gate_protocol::VERSION;
use verger_policy::digest::Digest;
use verger_policy::draft;
use verger_policy::facts::Instance;
use verger_policy::set::PolicySet;
use verger_seal::{SealingKey, TrustRoot};

use super::*;
use crate::sealed::offered;

const ENFORCED: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { mode: enforce, profile: baseline }\n";

/// What nobody can identify.
struct Dark;

impl Bundles for Dark {
    fn launch(&self, _: &Launch<'_>) -> Result<Instance, String> {
        Err("its files are gone".to_owned())
    }

    fn init_pid(&self, _: &str) -> Result<u32, String> {
        Err("its files are gone".to_owned())
    }
}

fn ledger(yaml: Option<&str>) -> LedgerState {
    let key = SealingKey::from_seed([1; 32]);
    let (root, envelope) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).unwrap();
    let agent = "h1".parse().unwrap();
    let (ledger, _) = LedgerState::found(agent, &root.cluster_id(), &envelope.to_json()).unwrap();
    let Some(yaml) = yaml else { return ledger };
    let now = Timestamp::now();
    let objects = draft::read_at("test.yaml", yaml.as_bytes(), now).unwrap();
    let set = PolicySet::empty().change(objects, []).unwrap();
    let update = offered(&root, &key, &set, now);
    offer(&ledger, &update, now).unwrap().next
}

fn answers(ledger: LedgerState, operation: Operation) -> Answer {
    let answers = Answers {
        bundles: Arc::new(Dark),
        ledger: watch::channel(Arc::new(ledger)).1,
        freshness: watch::channel(Freshness::default()).1,
        clock: Clock::start(),
        in_force: Mutex::default(),
        enforcement: Enforcement::start(|| Ok(FakeEnforcer::new(FakeHost::default()))).unwrap(),
        launches: Arc::default(),
    };
    let question = Question {
        version: VERSION,
        operation,
        id: "ab12".to_owned(),
        bundle: String::new(),
        pid_file: String::new(),
    };
    answers.answer(&question, b"{}").0
}

const ALL: [Operation; 5] = [
    Operation::Create,
    Operation::Start,
    Operation::Run,
    Operation::Restore,
    Operation::Exec,
];

#[test]
fn what_cannot_be_judged_is_let_through_where_nothing_is_enforced_and_refused_where_anything_is() {
    for operation in ALL {
        assert_eq!(answers(ledger(None), operation), Answer::Allow, "{operation:?}");
        let monitored = ENFORCED.replace("enforce", "monitor");
        assert_eq!(answers(ledger(Some(&monitored)), operation), Answer::Allow);
        let Answer::Refuse(why) = answers(ledger(Some(ENFORCED)), operation) else {
            panic!("{operation:?} is allowed")
        };
        let says = match operation {
            Operation::Restore => "checkpoint",
            _ => "its files are gone",
        };
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn a_ledger_that_was_lost_or_set_back_has_nothing_launched() {
    let floor = Some(Floor {
        trust_root: 1,
        epoch: 9,
        root: Digest::of(b"set"),
    });
    for held in [None, Some(ENFORCED)] {
        for operation in ALL {
            let Answer::Refuse(why) = answers(ledger(held).above(floor), operation) else {
                panic!("{operation:?} is allowed")
            };
            assert!(why.contains("epoch 9"), "{why}");
        }
    }
}
