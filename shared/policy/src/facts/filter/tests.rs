#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::oci;
use super::*;

fn filter(value: &Value) -> Filter {
    Filter::read(value.to_string().as_bytes()).unwrap()
}

fn allowing(names: &[&str]) -> Value {
    json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]})
}

#[test]
fn what_lets_fewer_calls_through_is_no_laxer_and_what_lets_more_through_is() {
    let (few, many) = (
        filter(&allowing(&["read"])),
        filter(&allowing(&["read", "mount"])),
    );
    assert!(few.lets_no_more_through_than(&many) && !many.lets_no_more_through_than(&few));
    let open = filter(&json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}));
    assert!(many.lets_no_more_through_than(&open) && !open.lets_no_more_through_than(&many));
    // What takes something away from everything lets less through than everything, and is not told apart from what lists.
    let but = filter(
        &json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_KILL"}]}),
    );
    assert!(but.lets_no_more_through_than(&open) && !open.lets_no_more_through_than(&but));
    assert!(few.lets_no_more_through_than(&but) && !many.lets_no_more_through_than(&but));
}

#[test]
fn what_is_loaded_otherwise_is_not_said_to_be_stricter() {
    let base = allowing(&["read"]);
    for (name, value) in [
        ("architectures", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])),
        ("flags", json!([])),
        ("flags", json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])),
    ] {
        let mut other = base.clone();
        other[name] = value;
        assert!(
            !filter(&other).lets_no_more_through_than(&filter(&base)),
            "{other}"
        );
    }
    for unknown in [
        json!({"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/s"}),
        json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
        json!({"syscalls": []}),
        json!([]),
    ] {
        assert!(Filter::read(unknown.to_string().as_bytes()).is_err(), "{unknown}");
    }
}

#[test]
fn what_docker_gives_for_fewer_capabilities_is_no_laxer_than_what_it_gives_for_more() {
    let of = |config: &[u8]| Filter::read(&oci::filter(config).unwrap().unwrap()).unwrap();
    let plain = of(include_bytes!("../../../tests/fixtures/plain.config.json"));
    // Without CAP_SYS_CHROOT.
    let hardened = of(include_bytes!("../../../tests/fixtures/hardened.config.json"));
    assert!(hardened.lets_no_more_through_than(&plain) && !plain.lets_no_more_through_than(&hardened));
    let podman = of(include_bytes!("../../../tests/fixtures/podman.config.json"));
    assert!(podman.lets_no_more_through_than(&podman) && !podman.lets_no_more_through_than(&plain));
}

const ACTIONS: [&str; 5] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
];

fn any_filter() -> impl Strategy<Value = Filter> {
    let argument = (0..2_u64, 0..2_u64)
        .prop_map(|(index, value)| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"}));
    let entry = (
        prop::collection::vec(prop::sample::select(&["a", "b"][..]), 0..3),
        prop::sample::select(&ACTIONS[..]),
        prop::collection::vec(argument, 0..2),
    )
        .prop_map(|(names, action, args)| json!({"names": names, "action": action, "args": args}));
    (
        prop::sample::select(&ACTIONS[..]),
        prop::collection::vec(entry, 0..4),
    )
        .prop_map(|(default, syscalls)| filter(&json!({"defaultAction": default, "syscalls": syscalls})))
}

/// How much an action lets through; who decides elsewhere (`Trace`) is between.
fn laxity(action: Action) -> u8 {
    match action {
        Action::Allow => 3,
        Action::Log => 2,
        Action::Trace => 1,
        Action::Errno | Action::Trap | Action::KillThread | Action::KillProcess => 0,
    }
}

/// What becomes of a call where of several rules that fit it the one that is `chosen` counts.
fn becomes(
    filter: &Filter,
    name: &str,
    arguments: [u64; 2],
    chosen: fn(Vec<Action>) -> Option<Action>,
) -> Action {
    let fits = |rule: &&Rule| {
        rule.arguments
            .iter()
            .all(|argument| arguments[argument.index as usize] == argument.value)
    };
    let rules = filter.rules.get(name).into_iter().flatten().filter(fits);
    chosen(rules.map(|rule| rule.action).collect()).unwrap_or(filter.default)
}

/// What libseccomp might make of rules that contradict each other.
const CHOICES: [fn(Vec<Action>) -> Option<Action>; 4] = [
    |fitting| fitting.first().copied(),
    |fitting| fitting.last().copied(),
    |fitting| fitting.into_iter().max_by_key(|action| laxity(*action)),
    |fitting| fitting.into_iter().min_by_key(|action| laxity(*action)),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// Whatever is made of contradictions, nothing gets through one that is said to be no laxer that would not get through the other.
    #[test]
    fn what_is_said_to_be_no_laxer_lets_nothing_more_through(one in any_filter(), other in any_filter()) {
        prop_assert!(one.lets_no_more_through_than(&one));
        if !one.lets_no_more_through_than(&other) {
            return Ok(());
        }
        for name in ["a", "b", "c"] {
            for arguments in [[0, 0], [0, 1], [1, 0], [1, 1]] {
                for chosen in CHOICES {
                    let (own, others) = (becomes(&one, name, arguments, chosen), becomes(&other, name, arguments, chosen));
                    let is_same = own == others;
                    prop_assert!(own.denies() || others == Action::Allow || is_same, "{name} {arguments:?}: {own:?} where the other says {others:?}");
                }
            }
        }
    }
}
