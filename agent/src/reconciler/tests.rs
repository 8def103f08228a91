#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use verger_agent_core::enforcer::fake::{FakeEnforcer, FakeHost};
use verger_agent_core::ledger::{Beside, offer};
use verger_agent_core::runtime::Phase;
use verger_agent_core::session::{Event, Incoming, Now, Session, Timing};
use verger_agent_core::store::memory::MemoryDisk;
use verger_agent_runtimes::fake::{FakeRuntime, instance};
use verger_policy::draft;
use verger_policy::rules::NOT_KEPT;
use verger_policy::set::PolicySet;
use verger_seal::{SealingKey, TrustRoot};

use super::*;
use crate::report::Contradiction;
use crate::sealed::offered;

const NOW: Now = Now {
    millis: 0,
    wall: Timestamp::UNIX_EPOCH,
};

struct World {
    contradicted: watch::Sender<Numbers>,
    offers: watch::Sender<Offers>,
    session: Session,
    runtime: Arc<FakeRuntime>,
    host: FakeHost,
    reconciler: Reconciler,
    in_force: watch::Sender<Arc<LedgerState>>,
    seen: watch::Receiver<Arc<pb::Status>>,
    set: Arc<PolicySet>,
    root: TrustRoot,
    key: SealingKey,
}

impl World {
    fn new() -> Self {
        let key = SealingKey::from_seed([1; 32]);
        let (root, envelope) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).unwrap();
        let agent = "h1".parse().unwrap();
        let (ledger, _) = LedgerState::found(agent, &root.cluster_id(), &envelope.to_json()).unwrap();
        let mut session = Session::new(
            ledger.clone(),
            Beside::default(),
            Freshness::default(),
            Timing::default(),
            1,
        );
        session.on(NOW, Event::Connected);
        let (offers, offered) = watch::channel(Offers::default());
        let (in_force, ledger) = watch::channel(Arc::new(ledger));
        let (status, seen) = watch::channel(Arc::new(pb::Status::default()));
        let (spooled, _) = watch::channel(0);
        let (contradicted, contradiction) = watch::channel(Numbers::default());
        let (mounts, mounts_changed) = MountWatch::start().unwrap();
        let host = FakeHost::default();
        let runtime = Arc::new(FakeRuntime::new());
        let disk = MemoryDisk::new(u64::MAX);
        let ports = ReconcilerPorts {
            launches: Arc::default(),
            filters: Arc::default(),
            runtimes: vec![Arc::clone(&runtime) as _],
            spool: Arc::new(disk),
            mounts,
            mounts_changed,
            ledger,
            status,
            spooled,
            contradiction,
            clock: Clock::start(),
            freshness: watch::channel(Freshness::default()).1,
            offers: offered,
            doors: watch::channel(Watched::Not).1,
            gate_folder: None,
            strays: None,
            enforcement: Enforcement::start({
                let host = host.clone();
                move || Ok(FakeEnforcer::new(host))
            })
            .unwrap(),
        };
        Self {
            contradicted,
            offers,
            session,
            runtime,
            host,
            reconciler: Reconciler::new(ports, Duration::from_secs(3_600)).unwrap(),
            in_force,
            seen,
            set: Arc::new(PolicySet::empty()),
            root,
            key,
        }
    }

    /// Another run of the agent on the same disk.
    fn restart(self) -> Self {
        let Self {
            contradicted,
            offers,
            session,
            reconciler,
            ..
        } = self;
        contradicted.send_replace(Numbers::default());
        offers.send_replace(Offers::default());
        let mut session = Session::new(
            (**session.ledger()).clone(),
            Beside::default(),
            Freshness::default(),
            Timing::default(),
            1,
        );
        session.on(NOW, Event::Connected);
        Self {
            contradicted,
            offers,
            session,
            reconciler: Reconciler::new(reconciler.ports, Duration::from_secs(3_600)).unwrap(),
            ..self
        }
    }

    /// Seals the next set, as the session would find it verified in the ledger. The reconciler has not looked at it.
    fn adopt(&mut self, yaml: &str) -> Arc<LedgerState> {
        let now = Timestamp::now();
        let objects = draft::read_at("test.yaml", yaml.as_bytes(), now).unwrap();
        self.set = Arc::new(self.set.change(objects, []).unwrap());
        let set = &self.set;
        let update = offered(&self.root, &self.key, set, now);
        let held = Arc::clone(&self.in_force.borrow());
        let next = Arc::new(offer(&held, &update, now).unwrap().next);
        self.in_force.send_replace(Arc::clone(&next));
        next
    }

    /// A controller offers what cannot be read.
    fn refuse(&mut self, reason: &'static str) {
        let unread = Incoming::Unread {
            nonce: 1,
            reason,
            detail: "it has no meaning".to_owned(),
        };
        self.tell(Event::Message(unread));
    }

    fn tell(&mut self, event: Event) {
        self.session.on(NOW, event);
        self.offers.send_replace(self.session.offers().clone());
    }

    /// A controller offers what people sealed, and it is written to the ledger.
    fn accept(&mut self) {
        let set = self.set.change([], []).unwrap();
        let update = offered(&self.root, &self.key, &set, Timestamp::now());
        self.session
            .on(NOW, Event::Message(Incoming::Set { nonce: 2, update }));
        self.session.on(NOW, Event::LedgerCommitted);
        self.offers.send_replace(self.session.offers().clone());
    }

    /// The reasons of refusals that are open.
    fn refusals(&self) -> Vec<String> {
        open_fields(&self.reconciler.table, &REFUSED_SET)
            .into_iter()
            .collect()
    }

    fn status(&self) -> Arc<pb::Status> {
        Arc::clone(&self.seen.borrow())
    }

    fn open(&self) -> Vec<String> {
        let table = self.reconciler.table.values();
        table
            .filter(|finding| finding.lifecycle == Lifecycle::Open)
            .map(|finding| finding.check.rule.to_string())
            .collect()
    }
}

#[tokio::test]
async fn a_refused_set_is_a_finding_by_its_reason_until_a_set_is_accepted() {
    let mut world = World::new();
    world.reconciler.activate().await;
    assert_eq!(world.open(), Vec::<String>::new());
    world.refuse("unreadable");
    world.refuse("too-much");
    for _ in 0..2 {
        world.reconciler.activate().await;
        assert_eq!(world.refusals(), ["too-much", "unreadable"]);
    }
    let finding = world.reconciler.table.values().next().unwrap();
    assert_eq!(finding.check.actual.as_deref(), Some("it has no meaning"));
    world.accept();
    world.reconciler.activate().await;
    assert_eq!(world.refusals(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_that_was_over_before_the_look_is_raised_all_the_same() {
    let mut world = World::new();
    world.refuse("unreadable");
    world.accept();
    world.reconciler.activate().await;
    assert_eq!(world.refusals(), ["unreadable"]);
    world.reconciler.activate().await;
    assert_eq!(world.refusals(), Vec::<String>::new());
    assert_eq!(world.reconciler.table.len(), 1, "it is known that it was");
}

#[tokio::test]
async fn a_refusal_stays_after_a_restart_until_a_set_is_accepted() {
    let mut world = World::new();
    world.refuse("unreadable");
    world.reconciler.activate().await;
    let mut world = world.restart();
    world.reconciler.activate().await;
    assert_eq!(world.refusals(), ["unreadable"]);
    // Another one does not speak for the first.
    world.refuse("too-much");
    world.reconciler.activate().await;
    assert_eq!(world.refusals(), ["too-much", "unreadable"]);
    world.accept();
    world.reconciler.activate().await;
    assert_eq!(world.refusals(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_kept_is_a_finding_until_it_is() {
    let not_kept = |world: &World| open_fields(&world.reconciler.table, &NOT_KEPT.rule_id());
    let mut world = World::new();
    world.accept();
    world.reconciler.activate().await;
    assert_eq!(not_kept(&world).len(), 0);
    let why = "the disk is full".to_owned();
    world.tell(Event::NotKept { why });
    for _ in 0..2 {
        world.reconciler.activate().await;
        assert_eq!(not_kept(&world), BTreeSet::from(["floor".to_owned()]));
    }
    let later = Now {
        millis: Timing::default().keep_again,
        ..NOW
    };
    world.session.on(later, Event::Tick);
    world.tell(Event::Kept);
    world.reconciler.activate().await;
    assert_eq!(not_kept(&world).len(), 0);
}

#[tokio::test]
async fn a_refused_stamp_is_a_finding_at_once_and_stays_over_a_restart_until_members_are_heard() {
    let refused = |world: &World| open_fields(&world.reconciler.table, &REFUSED_STAMP.rule_id());
    let mut world = World::new();
    world.reconciler.activate().await;
    assert_eq!(refused(&world).len(), 0);
    let forged = Incoming::Heartbeat {
        epoch: 0,
        stamp: Some(b"{}".to_vec()),
    };
    world.tell(Event::Message(forged));
    world.reconciler.activate().await;
    assert_eq!(refused(&world), BTreeSet::from(["envelope".to_owned()]));
    let mut world = world.restart();
    world.reconciler.activate().await;
    assert_eq!(refused(&world), BTreeSet::from(["envelope".to_owned()]));
}

#[tokio::test]
async fn what_was_kept_beside_the_ledger_and_is_gone_is_a_finding() {
    let mut world = World::new();
    let gone = Beside {
        doubted: true,
        ..Beside::default()
    };
    let ledger = (**world.session.ledger()).clone();
    world.session = Session::new(ledger, gone, Freshness::default(), Timing::default(), 1);
    world.tell(Event::Connected);
    world.reconciler.activate().await;
    assert_eq!(world.open(), ["host/ledger-set-back"]);
    // No members are named here, so a set that is accepted is all there is to end it.
    world.tell(Event::Kept);
    world.accept();
    world.reconciler.activate().await;
    assert_eq!(world.open(), Vec::<String>::new());
}

const MONITORED: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { profile: baseline, mode: monitor }\n";
const ENFORCED: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { profile: baseline, mode: enforce }\n";

#[tokio::test]
async fn what_is_reported_is_of_one_epoch_when_the_ledger_moves_on_between_two_looks() {
    let mut world = World::new();
    world.runtime.put(instance("a", "web"), Phase::Running, None);
    world.adopt(ENFORCED);
    world.reconciler.activate().await;
    assert_eq!(world.status().applied_epoch, 1);
    let failing = world.status().instances[0].clone();
    // Processes settle: what was seen is concluded again, under what is in force by then.
    let next = world.adopt(&ENFORCED.replace("baseline", "restricted"));
    world.reconciler.conclude(&next).await;
    let status = world.status();
    assert_eq!((status.applied_epoch, status.instances[0].epoch), (2, 2));
    let checks = |one: &verger_proto::cluster::v1::Instance| one.failed + one.passed + one.not_evaluated;
    assert!(
        checks(&status.instances[0]) > checks(&failing),
        "judged by the newer, longer profile"
    );
}

#[tokio::test]
async fn a_wish_that_cannot_be_fulfilled_is_raised_although_nothing_runs() {
    let mut world = World::new();
    world.adopt(ENFORCED);
    world.reconciler.activate().await;
    assert!(
        world.open().contains(&"host/unsupported-mode".to_owned()),
        "{:?}",
        world.open()
    );
    world.adopt(MONITORED);
    world.reconciler.activate().await;
    assert_eq!(world.open(), Vec::<String>::new());
}

#[tokio::test]
async fn one_of_podmans_is_told_to_have_a_network_whatever_is_closed_of_it() {
    use verger_agent_core::enforcer::{Attachment, Port};
    use verger_policy::facts::NamespaceOwner;
    use verger_policy::model::RuntimeKind;
    let mut world = World::new();
    let image = verger_policy::digest::Digest::of(b"image");
    let mut web = instance("a", "web");
    web.id.runtime = RuntimeKind::Podman;
    web.image = verger_policy::facts::Evidence::Seen(image);
    web.config.namespaces.network = verger_policy::facts::Evidence::Seen(NamespaceOwner::Own);
    world.runtime.put(web, Phase::Running, Some(7));
    let port = Port::new("veth7").unwrap();
    world.host.attach(7, Attachment::Ports([port].into()));
    world.adopt(&closed(&image, "enforce"));
    for _ in 0..2 {
        world.reconciler.activate().await;
        assert!(!world.host.is_open(7), "what can be closed is");
        assert!(world.open().contains(&"host/open-network".to_owned()));
    }
    assert!(world.open().contains(&"host/unsupported-mode".to_owned()));
    world.adopt(&closed(&image, "monitor"));
    world.reconciler.activate().await;
    assert!(world.host.is_open(7));
    assert!(!world.open().contains(&"host/open-network".to_owned()));
}

fn closed(image: &verger_policy::digest::Digest, mode: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: shop/web }}\nspec:\n  match: {{ container: {{ image: shop/web }} }}\n  mode: {{ default: monitor, channels: {mode} }}\n  config:\n    images: [ {image} ]\n    command: [ /app ]\n"
    )
}

#[tokio::test]
async fn what_runs_and_is_to_have_no_network_is_closed_and_what_cannot_be_is_raised() {
    use verger_agent_core::enforcer::{Attachment, Port};
    use verger_policy::facts::NamespaceOwner;
    let mut world = World::new();
    let image = verger_policy::digest::Digest::of(b"image");
    let mut web = instance("a", "web");
    web.image = verger_policy::facts::Evidence::Seen(image);
    web.config.namespaces.network = verger_policy::facts::Evidence::Seen(NamespaceOwner::Own);
    let mut other = web.clone();
    other.id = instance("b", "other").id;
    other.image = verger_policy::facts::Evidence::Seen(verger_policy::digest::Digest::of(b"other"));
    world.runtime.put(web, Phase::Running, Some(7));
    world.runtime.put(other, Phase::Running, Some(8));
    world
        .runtime
        .put(instance("c", "unknown"), Phase::Running, Some(9));
    for pid in [7, 8, 9] {
        let port = Port::new(&format!("veth{pid}")).unwrap();
        world.host.attach(pid, Attachment::Ports([port].into()));
    }
    let of_closing = |world: &World| {
        let mut open = world.open();
        open.retain(|rule| rule == "host/open-network" || rule == "host/rules-removed");
        open.sort();
        open
    };
    world.adopt(&closed(&image, "monitor"));
    world.reconciler.activate().await;
    assert!(world.host.is_open(7) && world.host.is_open(8));
    assert_eq!(
        world.host.applied(),
        [],
        "where nothing is enforced the kernel is left alone"
    );

    world.adopt(&closed(&image, "enforce"));
    world.reconciler.activate().await;
    assert!(!world.host.is_open(7) && world.host.is_open(8) && world.host.is_open(9));
    assert_eq!(of_closing(&world), Vec::<String>::new());
    assert!(
        world.open().contains(&"host/unsupported-mode".to_owned()),
        "only the network is closed, and that is said"
    );

    // Another run of the agent takes it as it is.
    let mut world = world.restart();
    world.reconciler.activate().await;
    assert!(!world.host.is_open(7));
    world.host.wipe();
    world.reconciler.activate().await;
    assert!(!world.host.is_open(7));
    assert_eq!(of_closing(&world), ["host/rules-removed"]);

    let beyond = Attachment::Beyond {
        why: "eth1 is a macvlan".to_owned(),
        ports: [Port::new("veth7").unwrap()].into(),
    };
    world.host.attach(7, beyond);
    world.reconciler.activate().await;
    assert_eq!(of_closing(&world), ["host/open-network", "host/rules-removed"]);
    world
        .host
        .attach(7, Attachment::Ports([Port::new("veth7").unwrap()].into()));
    world.adopt(&closed(&image, "monitor"));
    world.reconciler.activate().await;
    assert!(world.host.is_open(7));
    assert_eq!(of_closing(&world), ["host/rules-removed"]);
}

#[tokio::test]
async fn what_an_earlier_policy_closed_is_opened_when_it_is_known_again() {
    use verger_agent_core::enforcer::{Attachment, Port};
    use verger_policy::facts::NamespaceOwner;
    let mut world = World::new();
    let image = verger_policy::digest::Digest::of(b"image");
    let mut web = instance("a", "web");
    web.image = verger_policy::facts::Evidence::Seen(image);
    web.config.namespaces.network = verger_policy::facts::Evidence::Seen(NamespaceOwner::Own);
    world.runtime.put(web.clone(), Phase::Running, Some(7));
    let port = Port::new("veth7").unwrap();
    world.host.attach(7, Attachment::Ports([port].into()));
    world.adopt(&closed(&image, "enforce"));
    world.reconciler.activate().await;
    assert!(!world.host.is_open(7));

    // While nobody says whose its interface is, it stays closed, whatever the policy.
    world.runtime.remove(&web.id);
    world.adopt(&closed(&image, "monitor"));
    world.reconciler.activate().await;
    world.reconciler.activate().await;
    assert!(!world.host.is_open(7));

    world.runtime.put(web, Phase::Running, Some(7));
    world.reconciler.activate().await;
    assert!(world.host.is_open(7));
    let applied = world.host.applied();
    assert_eq!(applied.last(), Some(&verger_agent_core::enforcer::Step::Remove));
}

#[tokio::test]
async fn a_controller_that_acknowledges_what_was_never_written_is_raised() {
    let mut world = World::new();
    world.adopt(MONITORED);
    world.reconciler.activate().await;
    assert_eq!(world.open(), Vec::<String>::new());
    world
        .contradicted
        .send_replace(Numbers::Contradict(Contradiction {
            acknowledged: 9,
            last: 1,
            other_chain: false,
        }));
    world.reconciler.activate().await;
    assert_eq!(world.open(), ["host/findings-contradicted"]);
}

#[tokio::test]
async fn a_contradiction_stays_after_a_restart_until_a_controller_says_otherwise() {
    let mut world = World::new();
    world.adopt(MONITORED);
    world
        .contradicted
        .send_replace(Numbers::Contradict(Contradiction {
            acknowledged: 9,
            last: 1,
            other_chain: false,
        }));
    world.reconciler.activate().await;
    let mut world = world.restart();
    world.reconciler.activate().await;
    assert_eq!(world.open(), ["host/findings-contradicted"]);
    world.contradicted.send_replace(Numbers::Fit);
    world.reconciler.activate().await;
    assert_eq!(world.open(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn blindness_stays_open_over_a_restart_and_a_redeployment_and_ends_when_it_is_gone() {
    let blind = |world: &World| {
        let mut open = world.open();
        open.retain(|rule| rule == "host/not-evaluated");
        open
    };
    let mut world = World::new();
    let (first, next) = (instance("a", "web"), instance("b", "web"));
    world.runtime.put(first.clone(), Phase::Running, None);
    world.adopt(MONITORED);
    world.reconciler.activate().await;
    assert_eq!(blind(&world), Vec::<String>::new(), "it may be starting");
    tokio::time::advance(Duration::from_secs(31)).await;
    world.reconciler.activate().await;
    let raised = blind(&world);
    assert!(!raised.is_empty(), "{:?}", world.open());
    let mut world = world.restart();
    world.reconciler.activate().await;
    assert_eq!(blind(&world), raised);
    world.runtime.remove(&first.id);
    world.runtime.put(next.clone(), Phase::Running, None);
    tokio::time::advance(Duration::from_secs(20)).await;
    world.reconciler.activate().await;
    assert_eq!(blind(&world), raised);
    let reopened: u32 = world
        .reconciler
        .table
        .values()
        .map(|finding| finding.reopened)
        .sum();
    assert_eq!(reopened, 0, "it never resolved");
    world.runtime.remove(&next.id);
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(31)).await;
        world.reconciler.activate().await;
    }
    assert_eq!(blind(&world), Vec::<String>::new());
}
