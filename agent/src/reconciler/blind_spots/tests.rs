#![allow(clippy::unwrap_used)]

use super::*;
use verger_agent_runtimes::fake::instance as blind_instance;
use verger_policy::draft;
use verger_policy::facts::{Evidence, ImageDefaults};
use verger_policy::ideal::ideal;
use verger_policy::model::Spec;

/// The looks of one run, a second apart or as told.
struct World {
    spots: BlindSpots,
    now: Instant,
    instances: BTreeMap<InstanceId, Instance>,
    judgements: Vec<Judgement>,
    resting: BTreeSet<InstanceId>,
    readable: bool,
    open: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        Self {
            spots: BlindSpots::default(),
            now: Instant::now(),
            instances: BTreeMap::new(),
            judgements: Vec::new(),
            resting: BTreeSet::new(),
            readable: true,
            open: BTreeSet::new(),
        }
    }

    /// Has this instance of a workload (or of none) there, and nothing that was there under this id.
    fn put(&mut self, id: &str, name: Option<&str>, instance: Instance, results: &[Outcome]) {
        self.take(id);
        let instance = Instance {
            id: self.id(id),
            ..instance
        };
        self.judgements.push(judgement(&instance.id, name, results));
        self.instances.insert(instance.id.clone(), instance);
    }

    fn take(&mut self, id: &str) {
        let id = self.id(id);
        self.instances.remove(&id);
        self.judgements.retain(|judgement| judgement.instance != id);
    }

    fn id(&self, id: &str) -> InstanceId {
        InstanceId {
            id: id.to_owned(),
            ..blind_instance("a", "a").id
        }
    }

    fn look_after(&mut self, passed: u64) -> Vec<Check> {
        self.now += Duration::from_secs(passed);
        let looked = Looked {
            judgements: &self.judgements,
            instances: &self.instances,
            resting: &self.resting,
            readable: self.readable,
            open: self.open.clone(),
        };
        self.spots.checks(&looked, self.now)
    }

    /// Looks every second for so long; the last look's checks.
    fn look_for(&mut self, seconds: u64) -> Vec<Check> {
        (0..seconds).map(|_| self.look_after(1)).last().unwrap()
    }
}

fn judgement(id: &InstanceId, name: Option<&str>, results: &[Outcome]) -> Judgement {
    let check = |result: &Outcome| Check {
        reason: "the policy says `any`".into(),
        ..check("user".to_owned(), *result)
    };
    Judgement {
        instance: id.clone(),
        name: String::new(),
        image: None,
        claim: name.map_or(Claim::Unknown, |name| Claim::Workload {
            name: name.parse().unwrap(),
            entitled: true,
        }),
        wanted: Vec::new(),
        checks: results.iter().map(check).collect(),
        unneeded_exceptions: Default::default(),
    }
}

/// An instance that was observed in whole.
fn seen() -> Instance {
    let image = format!("sha256:{}", "a".repeat(64));
    let text = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: web }}\nspec: {{ match: {{ container: {{ image: web }} }}, config: {{ images: [ '{image}' ] }} }}\n"
    );
    let object = draft::read("web.yaml", text.as_bytes()).unwrap().remove(0);
    let Spec::Workload(spec) = &object.spec else {
        panic!("it is a workload")
    };
    let defaults = ImageDefaults {
        command: vec!["/app".to_owned()],
        ..ImageDefaults::default()
    };
    ideal(spec, &defaults)
}

fn without_live() -> Instance {
    Instance {
        live: Evidence::missing("/proc cannot be read"),
        ..seen()
    }
}

fn fields(checks: &[Check], result: Outcome) -> Vec<&str> {
    let of = checks.iter().filter(|check| check.result == result);
    of.map(|check| check.field.as_ref()).collect()
}

#[test]
fn what_cannot_be_observed_for_a_while_is_raised_with_its_reason_and_what_can_is_not() {
    let mut world = World::new();
    world.put("a", Some("web"), without_live(), &[]);
    world.put("b", Some("web"), seen(), &[Outcome::Pass]);
    let none: Vec<&str> = Vec::new();
    assert_eq!(fields(&world.look_after(0), Outcome::Fail), none);
    assert_eq!(fields(&world.look_for(29), Outcome::Fail), none);
    let raised = world.look_after(1);
    assert_eq!(fields(&raised, Outcome::Fail), ["web[live]"]);
    let actual = raised[0].actual.as_deref().unwrap();
    assert_eq!(actual, "live is not observed of docker/a");
    assert!(
        raised[0].reason.ends_with("anything: /proc cannot be read"),
        "{raised:?}"
    );
}

#[test]
fn what_is_not_evaluated_for_another_reason_is_not_blindness() {
    let mut world = World::new();
    let opted_out = [Outcome::NotEvaluated, Outcome::NotApplicable, Outcome::Pass];
    world.put("a", Some("web"), seen(), &opted_out);
    world.put("b", None, seen(), &opted_out);
    for _ in 0..100 {
        assert_eq!(world.look_after(1), []);
    }
}

#[test]
fn what_failed_to_be_judged_is_blindness() {
    let mut world = World::new();
    world.put("a", None, seen(), &[Outcome::Error]);
    world.look_after(0);
    let raised = world.look_for(30);
    assert_eq!(fields(&raised, Outcome::Fail), ["(unknown)[judging]"]);
}

#[test]
fn one_gap_hides_no_other_and_one_reason_is_told_once() {
    let mut world = World::new();
    let mut odd = seen();
    odd.image_defaults = Evidence::missing("the image is gone");
    odd.config.user = Evidence::missing("no bundle");
    odd.config.seccomp = Evidence::missing("no bundle");
    if let Evidence::Seen(live) = &mut odd.live {
        live.mounts = Evidence::missing("mountinfo is too big");
    }
    world.put("a", Some("web"), odd, &[]);
    world.look_after(0);
    let raised = world.look_for(30);
    let wanted = ["web[config.user]", "web[image.defaults]", "web[live.mounts]"];
    assert_eq!(fields(&raised, Outcome::Fail), wanted);
}

#[test]
fn while_it_cannot_be_told_what_is_open_is_neither_raised_nor_resolved() {
    let mut world = World::new();
    world.put("a", Some("web"), without_live(), &[]);
    let young = world.look_after(0);
    assert_eq!(fields(&young, Outcome::NotEvaluated), ["web"]);
    // Nothing of it is told by what another workload's instance shows.
    world.put("b", Some("other"), seen(), &[]);
    assert_eq!(
        fields(&world.look_for(10), Outcome::NotEvaluated),
        ["web"],
        "only that one"
    );
}

#[test]
fn a_clean_look_in_between_does_not_begin_it_anew() {
    let mut world = World::new();
    world.put("a", Some("web"), without_live(), &[]);
    world.look_for(25);
    world.put("a", Some("web"), seen(), &[]);
    let clean = world.look_after(1);
    assert_eq!(fields(&clean, Outcome::NotEvaluated), ["web"]);
    world.put("a", Some("web"), without_live(), &[]);
    assert_eq!(fields(&world.look_for(10), Outcome::Fail), ["web[live]"]);
    // After as long a time of clean looks it is over.
    world.put("a", Some("web"), seen(), &[]);
    assert_eq!(fields(&world.look_for(30), Outcome::NotEvaluated), ["web"]);
    assert_eq!(world.look_after(1), []);
    world.put("a", Some("web"), without_live(), &[]);
    assert_eq!(fields(&world.look_for(30), Outcome::NotEvaluated), ["web"]);
}

#[test]
fn short_blindness_now_and_then_raises_nothing() {
    let mut world = World::new();
    for _ in 0..50 {
        world.put("a", Some("web"), without_live(), &[]);
        let blind = world.look_for(2);
        assert!(fields(&blind, Outcome::Fail).is_empty(), "{blind:?}");
        world.put("a", Some("web"), seen(), &[]);
        world.look_for(40);
    }
}

#[test]
fn another_deployment_of_what_is_blind_keeps_it_open() {
    let mut world = World::new();
    world.put("a", Some("web"), without_live(), &[]);
    world.look_after(0);
    assert_eq!(fields(&world.look_for(30), Outcome::Fail), ["web[live]"]);
    world.take("a");
    let between = world.look_after(5);
    assert_eq!(fields(&between, Outcome::NotEvaluated), ["web"]);
    world.put("b", Some("web"), without_live(), &[]);
    let young = world.look_for(29);
    assert_eq!(fields(&young, Outcome::NotEvaluated), ["web"]);
    assert_eq!(fields(&world.look_for(10), Outcome::Fail), ["web[live]"]);
}

#[test]
fn one_that_rests_is_not_clean() {
    let mut world = World::new();
    world.put("a", Some("web"), without_live(), &[]);
    world.look_after(0);
    world.look_for(30);
    world.take("a");
    world.resting = [world.id("a")].into();
    assert_eq!(fields(&world.look_for(100), Outcome::NotEvaluated), ["web"]);
    world.resting.clear();
    world.look_for(30);
    assert_eq!(world.look_after(1), [], "it is gone");
}

#[test]
fn after_a_restart_nothing_resolves_until_as_much_was_seen_as_before() {
    let mut world = World::new();
    world.open = ["web[live]".to_owned()].into();
    world.readable = false;
    assert_eq!(fields(&world.look_for(100), Outcome::NotEvaluated), ["web[live]"]);
    world.readable = true;
    world.put("a", Some("web"), seen(), &[]);
    assert_eq!(fields(&world.look_for(30), Outcome::NotEvaluated), ["web[live]"]);
    assert_eq!(world.look_after(1), []);
}

#[test]
fn many_are_counted_and_few_are_named() {
    let mut world = World::new();
    for number in 0..50 {
        let live = Evidence::Missing(format!("reason {number:02}"));
        let instance = Instance { live, ..seen() };
        world.put(&format!("i{number:02}"), Some("web"), instance, &[]);
    }
    world.look_after(0);
    let raised = world.look_for(30);
    assert_eq!(raised.len(), 1, "{raised:?}");
    let actual = raised[0].actual.as_deref().unwrap();
    assert_eq!(
        actual,
        "live is not observed of docker/i00, docker/i01, docker/i02 and 47 more"
    );
    assert!(
        raised[0]
            .reason
            .ends_with("reason 00; reason 01; reason 02 and 47 more"),
        "{raised:?}"
    );
}
