//! Documents from runtimes and from `/proc` are hostile: they never panic a parser.

use proptest::prelude::*;
use verger_policy::facts::{SeccompFacts, image, inspect, oci, proc};

fn feed(bytes: &[u8]) {
    let _ = oci::parse(bytes);
    let _ = inspect::parse(bytes);
    let _ = image::parse(bytes);
    let _ = proc::status(bytes);
    let _ = proc::mountinfo(bytes);
    let _ = proc::cgroup(bytes);
    let _ = proc::start_ticks(bytes);
    let _ = proc::limits(bytes);
}

const SEEDS: &[&[u8]] = &[
    include_bytes!("../fixtures/hardened.config.json"),
    include_bytes!("../fixtures/odd.config.json"),
    include_bytes!("../fixtures/odd.inspect.json"),
    include_bytes!("../fixtures/image.inspect.json"),
    include_bytes!("../fixtures/odd.mountinfo"),
    include_bytes!("../fixtures/odd.status"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        feed(&bytes);
    }

    #[test]
    fn damaged_documents_never_panic(
        seed in 0..SEEDS.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = SEEDS[seed].to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        feed(&bytes);
    }

    #[test]
    fn extreme_numbers_never_panic(n in prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(i64::MAX), any::<i64>()]) {
        let inspect = String::from_utf8(SEEDS[2].to_vec()).unwrap();
        for field in ["Memory", "NanoCpus", "CpuQuota", "CpuPeriod"] {
            let start = inspect.find(&format!("\"{field}\": ")).unwrap();
            let end = start + inspect[start..].find(',').unwrap();
            let changed = format!("{}\"{field}\": {n}{}", &inspect[..start], &inspect[end..]);
            prop_assert!(inspect::parse(changed.as_bytes()).is_ok());
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let deep = [b"{\"linux\":{\"seccomp\":".as_slice(), &b"[".repeat(100_000)].concat();
    assert!(oci::parse(&deep).is_err());
    assert!(inspect::parse(&b"[".repeat(100_000)).is_err());
}

#[test]
fn many_devices_and_many_rules_are_read_in_time() {
    let many = |item: &str| {
        (0..40_000)
            .map(|n| item.replace('#', &n.to_string()))
            .collect::<Vec<_>>()
            .join(",")
    };
    let text = format!(
        r#"{{"process":{{"cwd":"/","user":{{"uid":0,"gid":0}}}},"linux":{{"devices":[{}],"resources":{{"devices":[{}]}}}}}}"#,
        many(r##"{"path":"/dev/#","type":"c","major":1,"minor":#}"##),
        many(r##"{"allow":true,"type":"c","major":2,"minor":#,"access":"rwm"}"##),
    );
    let begun = std::time::Instant::now();
    let devices = oci::parse(text.as_bytes()).unwrap().config.devices;
    assert_eq!(devices.seen().unwrap().len(), 80_000);
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn errors_name_the_document_the_place_and_no_raw_bytes() {
    let error = oci::parse(b"{\"process\": \"\x1b[2J\"}").unwrap_err().to_string();
    assert!(
        error.starts_with("not an OCI runtime config.json") && error.contains("line 1"),
        "{error}"
    );
    assert!(!error.contains('\u{1b}'));
    let error = inspect::parse(b"[]").unwrap_err().to_string();
    assert!(error.contains("the list is empty"), "{error}");
    let error = inspect::parse(b"[{}, {}]").unwrap_err().to_string();
    assert!(error.contains("docker inspect"), "{error}");
}

#[test]
fn ten_thousand_variables_and_a_megabyte_label_are_read() {
    let env: Vec<String> = (0..10_000).map(|n| format!("\"N{n}=v\"")).collect();
    let text = String::from_utf8(SEEDS[2].to_vec()).unwrap();
    let text = text.replace("\"Env\": null", &format!("\"Env\": [{}]", env.join(",")));
    let text = text.replace(
        "\"Labels\": {}",
        &format!("\"Labels\": {{\"l\": \"{}\"}}", "x".repeat(1 << 20)),
    );
    let inspected = inspect::parse(text.as_bytes()).unwrap();
    assert_eq!(inspected.labels.0["l"].len(), 1 << 20);
    assert_eq!(inspected.config.env.seen().unwrap().0.len(), 10_000);
}

#[test]
fn two_seccomp_filters_never_have_one_digest() {
    let seccomp = |filter: &str| {
        let text = format!(
            r#"{{"process":{{"cwd":"/","user":{{"uid":0,"gid":0}}}},"linux":{{"seccomp":{filter}}}}}"#
        );
        match oci::parse(text.as_bytes()).unwrap().config.seccomp.seen() {
            Some(SeccompFacts::Profile { digest, .. }) => digest.clone(),
            other => panic!("{other:?}"),
        }
    };
    let blessed = r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#;
    assert!(seccomp(blessed).seen().is_some());
    // An object that serde_json reads as the text in it.
    let dressed = r#"{"$serde_json::private::RawValue":"{\"defaultAction\":\"SCMP_ACT_ERRNO\"}"}"#;
    assert_ne!(seccomp(dressed), seccomp(blessed));
    // Masks that RFC 8785 rounds to one number.
    for value in ["18446744073709551615", "18446744073709551614"] {
        assert_eq!(
            seccomp(&format!(r#"{{"args":[{{"value":{value}}}]}}"#)).seen(),
            None
        );
    }
}

#[test]
fn a_variable_given_twice_equals_nothing_that_was_blessed() {
    let oci = |env: &str| {
        let text = format!(
            r#"{{"process":{{"args":["/x"],"cwd":"/","env":[{env}],"user":{{"uid":1,"gid":1}}}},"root":{{}},"linux":{{}}}}"#
        );
        let config = verger_policy::facts::oci::parse(text.as_bytes()).unwrap().config;
        config.env.seen().unwrap().clone()
    };
    let once = oci(r#""MODE=prod""#);
    assert_eq!(
        (oci(r#""MODE=prod","MODE=prod""#), once.ambiguous()),
        (once.clone(), None)
    );
    for twice in [r#""MODE=prod","MODE=debug""#, r#""MODE=debug","MODE=prod""#] {
        let env = oci(twice);
        assert_eq!(env.ambiguous(), Some("MODE"));
        assert!(env.0["MODE"] != "prod" && env.0["MODE"] != "debug");
    }
}
