#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use verger_policy::compile::{Compiled, compile};
use verger_policy::digest::Digest;
use verger_policy::draft;
use verger_policy::facts::{Evidence, ImageDefaults, Instance, NamespaceOwner};
use verger_policy::ideal::ideal;
use verger_policy::model::{Labels, RuntimeKind, Spec};

use super::conformance::{Bench, conformance};
use super::fake::{FakeEnforcer, FakeHost};
use super::*;

fn id(name: &str) -> InstanceId {
    InstanceId {
        runtime: RuntimeKind::Docker,
        id: name.to_owned(),
    }
}

fn port(name: &str) -> Port {
    Port::new(name).unwrap()
}

struct FakeBench(FakeHost, u32);

impl FakeBench {
    fn put(&mut self, name: &str, attachment: Attachment) -> Subject {
        self.1 += 1;
        self.0.attach(self.1, attachment);
        Subject {
            instance: id(name),
            pid: self.1,
        }
    }
}

impl Bench for FakeBench {
    fn attached(&mut self, name: &str) -> Subject {
        self.put(name, Attachment::Ports([port(&format!("veth{name}"))].into()))
    }
    fn isolated(&mut self, name: &str) -> Subject {
        self.put(name, Attachment::Ports(BTreeSet::new()))
    }
    fn beyond(&mut self, name: &str) -> Subject {
        let beyond = Attachment::Beyond {
            why: "it has the host's".to_owned(),
            ports: BTreeSet::new(),
        };
        self.put(name, beyond)
    }
    fn end(&mut self, subject: &Subject) {
        self.0.end(subject.pid);
    }
    fn passes(&mut self, from: &Subject, to: &Subject) -> bool {
        self.0.is_open(from.pid) && self.0.is_open(to.pid)
    }
    fn wipe(&mut self) {
        self.0.wipe();
    }
}

#[test]
fn the_fake_conforms() {
    let host = FakeHost::default();
    conformance(&mut FakeEnforcer::new(host.clone()), &mut FakeBench(host, 0));
}

#[test]
#[should_panic(expected = "closing one")]
fn one_that_never_confirms_does_not_conform() {
    let host = FakeHost::default();
    conformance(
        &mut FakeEnforcer::that_never_confirms(host.clone()),
        &mut FakeBench(host, 0),
    );
}

#[test]
fn a_port_has_a_name_that_means_only_itself() {
    for bad in [
        "",
        "a b",
        "veth*",
        "a/b",
        "\u{e9}",
        "\"",
        "0123456789abcdef",
        "a\nb",
        "@set",
    ] {
        assert_eq!(Port::new(bad), None, "{bad:?}");
    }
    assert_eq!(port("br-1234.5_x").name(), "br-1234.5_x");
}

fn seen(standing: Standing, closed: &[&str], links: &[&str], attached: &[(&str, &[&str])]) -> Observed {
    let ports = |names: &[&str]| names.iter().map(|name| port(name)).collect::<BTreeSet<Port>>();
    Observed {
        standing,
        closed: ports(closed),
        links: ports(links),
        attachments: attached
            .iter()
            .map(|(name, names)| (id(name), Attachment::Ports(ports(names))))
            .collect(),
    }
}

#[test]
fn what_is_closed_and_of_nobody_known_stays_closed_while_its_interface_is_there() {
    let observed = seen(
        Standing::Whole,
        &["starting", "gone", "freed"],
        &["starting", "freed"],
        &[("f", &["freed"])],
    );
    let steps = plan(&[].into(), &[id("f")].into(), &[].into(), &observed, true);
    assert_eq!(steps, [Step::Release([port("gone"), port("freed")].into())]);
    // Also where the rules are altered, and where no policy asks for them any more.
    for stand in [true, false] {
        let altered = Observed {
            standing: Standing::Altered,
            ..observed.clone()
        };
        let steps = plan(&[].into(), &[id("f")].into(), &[].into(), &altered, stand);
        assert_eq!(steps, [Step::Install([port("starting")].into())]);
    }
}

#[test]
fn what_was_closed_before_is_closed_again_whatever_became_of_the_rules() {
    let kept = [port("starting"), port("gone"), port("freed")].into();
    for standing in [Standing::Absent, Standing::Altered, Standing::Whole] {
        let observed = seen(
            standing,
            &[],
            &["starting", "freed", "new"],
            &[("f", &["freed"]), ("n", &["new"])],
        );
        let after = |ports: &[&str]| {
            let ports = ports.iter().map(|name| port(name)).collect();
            match standing {
                Standing::Whole => Step::Close(ports),
                Standing::Absent | Standing::Altered => Step::Install(ports),
            }
        };
        let steps = plan(&[id("n")].into(), &[id("f")].into(), &kept, &observed, true);
        assert_eq!(steps, [after(&["new", "starting"])]);
        let steps = plan(&[].into(), &[id("f")].into(), &kept, &observed, false);
        assert_eq!(steps, [after(&["starting"])]);
    }
}

#[test]
fn what_can_be_closed_is_although_not_all_of_it_can() {
    let mut observed = seen(Standing::Whole, &[], &["v"], &[]);
    let beyond = Attachment::Beyond {
        why: "eth1 is a macvlan".to_owned(),
        ports: [port("v")].into(),
    };
    observed.attachments.insert(id("b"), beyond);
    let steps = plan(&[id("b")].into(), &[].into(), &[].into(), &observed, true);
    assert_eq!(steps, [Step::Close([port("v")].into())]);
    observed.closed.insert(port("v"));
    assert!(matches!(confirm(&id("b"), &observed), Err(Open::Beyond(_))));
    let steps = plan(&[].into(), &[id("b")].into(), &[].into(), &observed, true);
    assert_eq!(steps, [Step::Release([port("v")].into())]);
}

#[test]
fn a_port_that_two_share_is_closed_if_either_is_to_be() {
    let observed = seen(
        Standing::Whole,
        &["v"],
        &["v"],
        &[("closed", &["v"]), ("free", &["v"])],
    );
    assert_eq!(
        plan(
            &[id("closed")].into(),
            &[id("free")].into(),
            &[].into(),
            &observed,
            true
        ),
        []
    );
}

proptest! {
    #[test]
    fn a_plan_that_is_carried_out_needs_no_other_and_closes_what_was_asked(
        standing in prop_oneof![Just(None), Just(Some(false)), Just(Some(true))],
        closed in prop::collection::btree_set(0_u8..6, 0..5),
        wanted in prop::collection::btree_set(0_u8..6, 0..5),
        attached in prop::collection::btree_set(0_u8..6, 0..6),
        kept in prop::collection::btree_set(0_u8..6, 0..5),
        stand: bool,
    ) {
        let name = |number: &u8| format!("v{number}");
        let observed = Observed {
            standing: match standing {
                None => Standing::Absent,
                Some(false) => Standing::Altered,
                Some(true) => Standing::Whole,
            },
            closed: match standing {
                None => BTreeSet::new(),
                Some(_) => closed.iter().map(|number| port(&name(number))).collect(),
            },
            links: attached.iter().map(|number| port(&name(number))).collect(),
            attachments: attached
                .iter()
                .map(|number| (id(&name(number)), Attachment::Ports([port(&name(number))].into())))
                .collect(),
        };
        let wanted: BTreeSet<InstanceId> = wanted.iter().map(|number| id(&name(number))).collect();
        let free: BTreeSet<InstanceId> = observed
            .attachments
            .keys()
            .filter(|id| !wanted.contains(id))
            .cloned()
            .collect();
        let kept: BTreeSet<Port> = kept.iter().map(|number| port(&name(number))).collect();
        let mut after = observed;
        for step in plan(&wanted, &free, &kept, &after, stand) {
            match step {
                Step::Install(ports) => {
                    after.standing = Standing::Whole;
                    after.closed = ports;
                }
                Step::Close(ports) => after.closed.extend(ports),
                Step::Release(ports) => after.closed.retain(|port| !ports.contains(port)),
                Step::Remove => {
                    after.standing = Standing::Absent;
                    after.closed.clear();
                }
            }
        }
        prop_assert_eq!(plan(&wanted, &free, &kept, &after, stand), Vec::new());
        for id in after.attachments.keys() {
            prop_assert_eq!(confirm(id, &after).is_ok(), wanted.contains(id));
        }
    }
}

const IMAGE: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Two workloads, of which the first has the mode given for `channels`; and an instance of each.
fn two(mode: &str) -> (Compiled, [Instance; 2]) {
    let workload = |name: &str, mode: &str, image: &str| {
        format!(
            "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n  match: {{ container: {{ image: {name} }} }}\n  mode: {{ default: monitor, channels: {mode} }}\n  config:\n    images: [ {image} ]\n    command: [ /app ]\n"
        )
    };
    let text = format!(
        "{}---\n{}",
        workload("shop/web", mode, IMAGE),
        workload("shop/db", "monitor", &IMAGE.replace("0123", "3210"))
    );
    let objects = draft::read_at("p.yaml", text.as_bytes(), "2026-01-02T03:04:05Z".parse().unwrap()).unwrap();
    let instances: Vec<Instance> = objects
        .iter()
        .filter_map(|object| match &object.spec {
            Spec::Workload(workload) => Some(ideal(workload, &ImageDefaults::default())),
            _ => None,
        })
        .collect();
    (
        compile(&objects, &Labels::default(), 7),
        instances.try_into().unwrap(),
    )
}

fn with_network(instance: &Instance, owner: NamespaceOwner) -> Instance {
    let mut instance = instance.clone();
    instance.config.namespaces.network = Evidence::Seen(owner);
    instance
}

fn nobody(_: &str) -> Result<Instance, String> {
    Err("no such container".to_owned())
}

#[test]
fn an_instance_is_held_where_its_workload_enforces_channels_and_only_there() {
    let (compiled, [web, db]) = two("enforce");
    assert_eq!(hold(&compiled, Ok(&web), nobody), Hold::Closed);
    assert_eq!(hold(&compiled, Ok(&db), nobody), Hold::Free);
    let isolated = with_network(&web, NamespaceOwner::Isolated);
    assert_eq!(hold(&compiled, Ok(&isolated), nobody), Hold::Closed);

    let (compiled, [web, _]) = two("monitor");
    assert!(!is_held_here(&compiled));
    assert_eq!(hold(&compiled, Ok(&web), nobody), Hold::Free);
    assert_eq!(hold(&compiled, Err("its files are gone"), nobody), Hold::Free);
}

#[test]
fn one_of_podmans_is_not_held_but_refused_where_it_would_be_held() {
    let podmans = |instance: &Instance| {
        let mut instance = instance.clone();
        instance.id.runtime = RuntimeKind::Podman;
        instance
    };
    let (compiled, [web, db]) = two("enforce");
    for network in [
        NamespaceOwner::Own,
        NamespaceOwner::Isolated,
        NamespaceOwner::Host,
    ] {
        let why = refusal(hold(
            &compiled,
            Ok(&podmans(&with_network(&web, network))),
            nobody,
        ));
        assert!(why.contains("not supported") && why.contains("epoch 7"), "{why}");
    }
    assert_eq!(hold(&compiled, Ok(&podmans(&db)), nobody), Hold::Free);
    // Nobody could be of it by a label: it names none.
    let mut stranger = podmans(&db);
    stranger.image = Evidence::Seen(IMAGE.replace("0123", "7777").parse().unwrap());
    stranger.image_name = None;
    assert_eq!(hold(&compiled, Ok(&stranger), nobody), Hold::Free);
    let (compiled, [web, _]) = two("monitor");
    assert_eq!(hold(&compiled, Ok(&podmans(&web)), nobody), Hold::Free);
}

#[test]
fn of_two_workloads_that_list_one_image_no_label_opens_the_network() {
    let workload = |name: &str, mode: &str| {
        format!(
            "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: shop/{name} }}\nspec:\n  match: {{ container: {{ labels: {{ of: {name} }} }} }}\n  mode: {{ default: monitor, channels: {mode} }}\n  config:\n    images: [ {IMAGE} ]\n    command: [ /app ]\n"
        )
    };
    let held = |mode: &str, label: &str| {
        let text = format!("{}---\n{}", workload("web", mode), workload("db", "monitor"));
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let objects = draft::read_at("p.yaml", text.as_bytes(), now).unwrap();
        let Spec::Workload(web) = &objects[0].spec else {
            panic!("{objects:?}")
        };
        let mut instance = ideal(web, &ImageDefaults::default());
        instance.labels = Labels([("of".to_owned(), label.to_owned())].into());
        let compiled = compile(&objects, &Labels::default(), 7);
        hold(&compiled, Ok(&instance), nobody)
    };
    for label in ["web", "db", "neither"] {
        assert_eq!(held("enforce", label), Hold::Closed, "{label}");
        assert_eq!(held("monitor", label), Hold::Free, "{label}");
    }
}

fn refusal(hold: Hold) -> String {
    match hold {
        Hold::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_closed_or_told_is_refused_with_the_reason() {
    let (compiled, [web, db]) = two("enforce");
    let why = refusal(hold(&compiled, Err("its files are\ngone"), nobody));
    assert!(
        why.contains("its files are\\u{a}gone") && why.contains("epoch 7"),
        "{why}"
    );
    let host = with_network(&web, NamespaceOwner::Host);
    assert!(refusal(hold(&compiled, Ok(&host), nobody)).contains("the host's network"));
    assert_eq!(
        hold(&compiled, Ok(&with_network(&db, NamespaceOwner::Host)), nobody),
        Hold::Free
    );
}

#[test]
fn the_network_of_a_closed_instance_is_shared_by_its_own_workload_alone() {
    let (compiled, [web, db]) = two("enforce");
    let joins = |one: &Instance| with_network(one, NamespaceOwner::Instance("other".to_owned()));
    let peer = |other: &Instance| {
        let other = other.clone();
        move |id: &str| {
            assert_eq!(id, "other");
            Ok(other)
        }
    };
    assert_eq!(hold(&compiled, Ok(&joins(&web)), peer(&web)), Hold::Closed);
    assert_eq!(hold(&compiled, Ok(&joins(&db)), peer(&db)), Hold::Free);
    for (one, other) in [(&web, &db), (&db, &web)] {
        let why = refusal(hold(&compiled, Ok(&joins(one)), peer(other)));
        assert!(why.contains("not of the same workload"), "{why}");
        assert!(refusal(hold(&compiled, Ok(&joins(one)), nobody)).contains("no such container"));
    }
    // Another image that bears its name is of the workload by a hint alone.
    let mut foreign = web.clone();
    foreign.image = Evidence::Seen(Digest::of(b"another"));
    assert_eq!(hold(&compiled, Ok(&foreign), nobody), Hold::Closed);
    for (one, other) in [(&foreign, &web), (&web, &foreign), (&foreign, &foreign)] {
        let why = refusal(hold(&compiled, Ok(&joins(one)), peer(other)));
        assert!(why.contains("not of the same workload"), "{why}");
    }
}
