//! Documents of runtimes. Whoever may create a container has a hand in all of them.

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::bless::bless;
use verger_policy::compile::Compiled;
use verger_policy::digest::Digest;
use verger_policy::drift::judge_recorded;
use verger_policy::facts::inspect::{self, Inspected};
use verger_policy::facts::oci::{self, OciConfig};
use verger_policy::facts::{
    ConfigFacts, Evidence, Filter, ImageDefaults, Instance, SeccompFacts, capabilities, image, merge,
};
use verger_policy::model::{Labels, PolicyObject};
use verger_policy::{draft, explain, json};

use super::{assert_short, assert_shown};
use crate::judging::{at, compiled, guardrail, image as defaults, workload};

const CONFIGS: &[&[u8]] = &[
    include_bytes!("../../fixtures/hardened.config.json"),
    include_bytes!("../../fixtures/joined.config.json"),
    include_bytes!("../../fixtures/odd.config.json"),
];
const INSPECTIONS: &[&[u8]] = &[
    include_bytes!("../../fixtures/hardened.inspect.json"),
    include_bytes!("../../fixtures/joined.inspect.json"),
    include_bytes!("../../fixtures/odd.inspect.json"),
    include_bytes!("../../fixtures/privileged.inspect.json"),
];
const IMAGES: &[&[u8]] = &[
    include_bytes!("../../fixtures/image.inspect.json"),
    br#"{"config":{"Entrypoint":["/app"],"Cmd":["-v"],"Env":["A=1","A=2","B"],"User":"nobody","Volumes":{"/v":{}}}}"#,
];

pub(super) fn policy() -> Compiled {
    let workload = workload(
        "web",
        "{ labels: { app: web } }",
        &format!(
            "{{ images: [ \"{}\" ], user: {{ uid: 1, gid: 1 }} }}",
            crate::judging::A
        ),
    );
    compiled(&format!(
        "{workload}{}",
        guardrail("all", "{ profile: restricted, unknown: report }")
    ))
}

/// What holds of every configuration, whoever said it.
fn assert_sound(config: &ConfigFacts) {
    let ordered = |access: &str| "rwm".chars().filter(|c| access.contains(*c)).collect::<String>() == access;
    let devices = config.devices.seen().into_iter().flatten();
    assert!(devices.into_iter().all(|(_, device)| ordered(&device.access)));
    let mounts = config.mounts.seen().into_iter().flatten();
    let known = |option: &String| matches!(option.as_str(), "nodev" | "noexec" | "nosuid");
    assert!(
        mounts
            .into_iter()
            .all(|(_, mount)| mount.options.iter().all(known))
    );
    let given = config.capabilities.seen().unwrap();
    assert_eq!(given.given & !capabilities::ALL, 0);
    assert_eq!(given.ambient & !given.given, 0);
    let limits = &config.limits;
    assert!(
        [&limits.memory, &limits.pids, &limits.cpu]
            .iter()
            .all(|limit| limit.seen().is_some())
    );
    // Values of variables are often secrets.
    let env = config.env.seen().unwrap();
    let shown = format!("{env:?}");
    let long = env
        .0
        .values()
        .find(|value| value.len() > 24 && !value.contains(['"', '\\']));
    assert!(long.is_none_or(|value| !shown.contains(value) || env.0.keys().any(|key| key.contains(value))));
}

/// Judging and blessing take what the parsers give, whatever it is.
pub(super) fn assert_usable(policy: &Compiled, instance: &Instance) {
    let judgement = judge_recorded(policy, instance, at());
    for check in &judgement.checks {
        let _ = explain::check(check);
    }
    match bless(instance, "web".parse().unwrap()) {
        Ok(object) => assert_drafted(&object),
        Err(error) => assert_shown(&error.to_string()),
    }
}

/// What a person is given to sign is read as it was meant.
fn assert_drafted(object: &PolicyObject) {
    let text = draft::write(object);
    let read = draft::read("blessed", text.as_bytes());
    assert_eq!(read.as_deref(), Ok(std::slice::from_ref(object)), "{text}");
}

pub(super) fn oci(bytes: &[u8]) -> Option<OciConfig> {
    let doubled = oci::with_process(bytes, bytes).map_err(|error| assert_short(&error.to_string()));
    let read = oci::parse(bytes)
        .map_err(|error| assert_short(&error.to_string()))
        .ok()?;
    // What is read at all is read in one way.
    assert!(doubled.is_ok() || bytes.trim_ascii_start().starts_with(b"["));
    assert_sound(&read.config);
    assert!(read.config.mounts.seen().unwrap().len() <= read.mounts.len());
    assert!(
        read.id
            .as_ref()
            .is_none_or(|id| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    );
    Some(read)
}

fn inspected(bytes: &[u8]) -> Option<Inspected> {
    let read = inspect::parse(bytes)
        .map_err(|error| assert_short(&error.to_string()))
        .ok()?;
    assert_sound(&read.config);
    assert_ne!(read.pid, Some(0));
    assert_eq!(read.config.ports.seen(), Some(&read.ports));
    Some(read)
}

fn image_defaults(bytes: &[u8]) -> Evidence<ImageDefaults> {
    match image::parse(bytes) {
        Ok(image) => Evidence::Seen(image.defaults),
        Err(error) => {
            assert_short(&error.to_string());
            Evidence::missing("it could not be read")
        }
    }
}

#[test]
fn hostile_oci_configs_are_refused_or_give_sound_facts_that_can_be_judged() {
    let policy = policy();
    check!()
        .with_generator(Damaged::json(CONFIGS))
        .with_iterations(1_000)
        .for_each(|bytes| {
            let Some(config) = oci(bytes) else { return };
            let image = Evidence::Seen(crate::judging::A.parse().unwrap());
            let defaults = Evidence::Seen(defaults());
            assert_usable(
                &policy,
                &merge::from_oci(config, image, None, defaults, Labels::default()),
            );
        });
}

/// The filters of the recorded configs.
fn filters() -> impl Iterator<Item = Vec<u8>> {
    CONFIGS.iter().filter_map(|config| {
        json::parse(config)
            .unwrap()
            .pointer("/linux/seccomp")
            .map(|it| it.to_string().into_bytes())
    })
}

#[test]
fn hostile_seccomp_filters_are_no_laxer_than_themselves_or_not_read() {
    let seeds: Vec<Vec<u8>> = filters().collect();
    check!()
        .with_generator(Damaged::json(&seeds))
        .with_iterations(1_000)
        .for_each(|bytes| {
            let Ok(filter) = Filter::read(bytes) else { return };
            assert!(filter.lets_no_more_through_than(&filter));
        });
}

#[test]
fn the_filter_of_a_hostile_config_is_the_one_that_its_digest_is_of() {
    check!()
        .with_generator(Damaged::json(CONFIGS))
        .with_iterations(1_000)
        .for_each(|bytes| {
            let Ok(read) = oci::parse(bytes) else { return };
            let told = match read.config.seccomp.seen().unwrap() {
                SeccompFacts::Profile { digest, .. } => digest.seen().copied(),
                SeccompFacts::Unconfined => None,
            };
            let filter = oci::filter(bytes).ok().flatten();
            assert_eq!(filter.map(|filter| Digest::of(&filter)), told);
        });
}

#[test]
fn hostile_seccomp_filters_of_one_digest_are_one_filter() {
    let seeds: Vec<Vec<u8>> = filters()
        .chain([br#"{"defaultAction":"SCMP_ACT_ERRNO","args":[{"value":4294967295}]}"#.to_vec()])
        .collect();
    let digest = |filter: &[u8]| {
        let shell = br#"{"process":{"cwd":"/","user":{"uid":0,"gid":0}},"linux":{"seccomp":"#;
        let read = oci::parse(&[shell.as_slice(), filter, b"}}"].concat()).ok()?;
        match read.config.seccomp.seen()? {
            SeccompFacts::Profile { digest, .. } => digest.seen().copied(),
            SeccompFacts::Unconfined => None,
        }
    };
    check!()
        .with_generator((Damaged::json([&seeds[seeds.len() - 1]]), Damaged::json(&seeds)))
        .with_iterations(1_000)
        .for_each(|(one, other)| {
            if let (Some(first), Some(second)) = (digest(one), digest(other)) {
                let same = json::parse(one).ok() == json::parse(other).ok();
                assert_eq!(first == second, same);
            }
        });
}

#[test]
fn hostile_inspections_are_refused_or_give_sound_facts_that_can_be_judged() {
    let policy = policy();
    check!()
        .with_generator(Damaged::json(INSPECTIONS))
        .with_iterations(1_000)
        .for_each(|bytes| {
            let Some(inspected) = inspected(bytes) else { return };
            let live = Evidence::missing("nothing was looked at");
            assert_usable(
                &policy,
                &merge::instance(inspected, None, Evidence::Seen(defaults()), live),
            );
        });
}

#[test]
fn hostile_documents_that_contradict_each_other_merge_to_facts_that_can_be_judged() {
    let policy = policy();
    check!()
        .with_generator((
            Damaged::json(INSPECTIONS),
            Damaged::json(CONFIGS),
            Damaged::json(IMAGES),
        ))
        .with_iterations(500)
        .for_each(|(inspection, config, image)| {
            let image = image_defaults(image);
            let (Some(inspected), oci) = (inspected(inspection), oci(config)) else {
                return;
            };
            let asked = inspected.config.limits.clone();
            let instance = merge::instance(inspected, oci, image, Evidence::missing("nothing was looked at"));
            assert_sound(&instance.config);
            // What `docker update` changed is in the inspection alone.
            assert_eq!(instance.config.limits.memory, asked.memory);
            assert_usable(&policy, &instance);
        });
}

#[test]
fn hostile_image_inspections_are_refused_or_read_to_variables_with_names() {
    check!()
        .with_generator(Damaged::json(IMAGES))
        .with_iterations(2_000)
        .for_each(|bytes| {
            if let Evidence::Seen(defaults) = image_defaults(bytes) {
                assert!(defaults.env.keys().all(|name| !name.contains('=')));
            }
        });
}
