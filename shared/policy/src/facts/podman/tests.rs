#![allow(clippy::unwrap_used)]
use super::super::{
    ConfigFacts, ImageDefaults, Instance, MountOrigin, NamespaceOwner, SeccompFacts, image, oci,
};
use super::*;
use crate::digest::Digest;
use crate::facts::Evidence;
use crate::model::RuntimeKind;

// As Podman 4.3 wrote them, with its storage in the usual place.
const CONFIG: &str = include_str!("../../../tests/fixtures/podman.config.json");
const CONTAINERS: &str = include_str!("../../../tests/fixtures/podman.containers.json");
const IMAGES: &str = include_str!("../../../tests/fixtures/podman.images.json");
const LAYERS: &str = include_str!("../../../tests/fixtures/podman.layers.json");
const IMAGE: &str = include_str!("../../../tests/fixtures/podman.image.json");
const ID: &str = "9c4cfe14bf0d1385d984719d94c16919384e16989678747d4c1b4e26078f9052";
const LAYER: &str = "a33de01d2622fa52eb8eb0964196bf580a36b2c7b50efc6eb1f474abbf59a69c";
const TOP: &str = "6468176e85cbfe711a613ce7bcd862253d75b3b53929d3b969a57fd5e85b601e";
const NETWORK: &str = "/run/netns/netns-22255e7b-ece9-7be2-63a4-31c4c84bd884";

fn digest() -> Digest {
    Digest::of(IMAGE.as_bytes())
}

fn kept() -> Kept {
    container(&[CONTAINERS], ID).unwrap()
}

fn places() -> Places {
    Places {
        graph: ["/var/lib/containers/storage".to_owned()].into(),
        run: ["/run/containers/storage".to_owned()].into(),
    }
}

fn made(config: &str) -> Instance {
    let defaults = image::parse(IMAGE.as_bytes()).unwrap().defaults;
    instance(
        kept(),
        oci::parse(config.as_bytes()).unwrap(),
        &places(),
        Evidence::Seen(defaults),
        Evidence::Seen(NamespaceOwner::Own),
    )
}

/// With one thing of the config written otherwise.
fn with(from: &str, to: &str) -> Instance {
    let text = CONFIG.replace(from, to);
    assert_ne!(text, CONFIG, "{from} is not in it");
    made(&text)
}

fn mounts(config: &ConfigFacts) -> Vec<(String, MountOrigin)> {
    let mounts = config.mounts.seen().unwrap().iter();
    mounts
        .map(|(target, facts)| (target.clone(), facts.origin.clone()))
        .collect()
}

#[test]
fn a_container_is_of_the_image_that_the_storage_says() {
    let kept = kept();
    assert_eq!(kept.image, Evidence::Seen(digest()));
    assert_eq!((kept.name.as_str(), kept.layer.as_str()), ("web", LAYER));
    assert_eq!(kept.image_name.as_deref(), Some("localhost/test/app"));
    assert_eq!(top_layers(IMAGES.as_bytes(), &digest()).unwrap(), [TOP]);
    let (top, diffs) = diffs_below(&[LAYERS], LAYER).unwrap();
    assert_eq!(top.as_deref(), Some(TOP));
    assert!(is_image(IMAGE.as_bytes(), &diffs));
    assert_eq!(
        big_data_file(&digest().to_string()),
        "=c2hhMjU2OjdkOTQ2YzAyZWIzNDM0NzhmZmMzODdiZjVkN2ZlNjFkMjk3NDc2ODdjMjJhNTA5NDJkOTI0MmY3ZjJhNGNjMjM="
    );
    assert_eq!(big_data_file("manifest"), "manifest");
    // Later versions keep it in a second list.
    let volatile = container(&["[]", CONTAINERS], ID).unwrap();
    assert_eq!(volatile, kept);
}

#[test]
fn what_is_of_no_image_or_of_two_is_of_none() {
    let list = |from: &str, to: &str| {
        let text = CONTAINERS.replacen(from, to, 1);
        assert_ne!(text, CONTAINERS);
        container(&[text], ID)
    };
    let image = format!("\"image\":\"{}\"", digest().hex());
    for to in [
        "\"image\":\"\"",
        "\"image\":null",
        "\"image\":\"latest\"",
        "\"x\":1",
    ] {
        assert!(
            matches!(list(&image, to).unwrap().image, Evidence::Missing(_)),
            "{to}"
        );
    }
    let other = format!("\"image\":\"{}\"", "1".repeat(64));
    assert!(matches!(
        list(&image, &other).unwrap().image,
        Evidence::Missing(_)
    ));
    for (from, to) in [
        (ID, "1".repeat(64).as_str()),
        ("\"layer\":", "\"other\":"),
        ("{\\\"image-name", "{\\\"image-name\\\":1,\\\"image-name"),
        ("[{", "[{\"id\":\"\",\"id\":\"\"},{"),
        ("[{", "{"),
    ] {
        assert!(list(from, to).is_err(), "{from} -> {to}");
    }
    let twice = container(&[CONTAINERS, CONTAINERS], ID).unwrap_err().to_string();
    assert!(twice.contains("holds 2 of this id"), "{twice}");
}

#[test]
fn layers_of_another_image_are_told_from_its_own() {
    let (_, diffs) = diffs_below(&[LAYERS], LAYER).unwrap();
    let config = |text: &str| is_image(text.as_bytes(), &diffs);
    assert!(config(IMAGE));
    assert!(!config(&IMAGE.replace(TOP, &"1".repeat(64))));
    assert!(!config(
        &IMAGE.replace("[\"sha256", &format!("[\"sha256:{TOP}\",\"sha256"))
    ));
    assert!(!config("{}") && !config("{\"rootfs\":{}}") && !config(""));
    assert!(is_image(b"{\"rootfs\":{\"diff_ids\":null}}", &[]));
    assert!(diffs_below(&[LAYERS], &"1".repeat(64)).is_err(), "not in it");
    assert!(diffs_below(&[LAYERS, LAYERS], LAYER).is_err(), "twice");
    let undigested = LAYERS.replace("\"diff-digest\"", "\"other\"");
    assert!(diffs_below(&[undigested], LAYER).is_err());
    let circle = format!(
        r#"[{{"id":"a","parent":"b","diff-digest":"sha256:{TOP}"}},{{"id":"b","parent":"a","diff-digest":"sha256:{TOP}"}}]"#
    );
    assert!(diffs_below(&[circle], "a").is_err(), "a circle ends");
    let bottom = r#"[{"id":"a","parent":""}]"#;
    assert_eq!(diffs_below(&[bottom], "a").unwrap(), (None, Vec::new()));
}

#[test]
fn of_a_container_that_podman_made_what_it_added_itself_is_left_out_and_the_rest_is_told() {
    let instance = made(CONFIG);
    assert_eq!(instance.id.runtime, RuntimeKind::Podman);
    assert_eq!(instance.id.id, ID);
    let config = &instance.config;
    let bind = MountOrigin::Bind("/srv".to_owned());
    assert_eq!(
        mounts(config),
        [
            ("/data".to_owned(), MountOrigin::Volume("data".to_owned())),
            ("/srv".to_owned(), bind),
            ("/tmp".to_owned(), MountOrigin::Tmpfs)
        ]
    );
    let env: Vec<&str> = config.env.seen().unwrap().0.keys().map(String::as_str).collect();
    assert_eq!(env, ["A", "PATH"]);
    let beyond = config.beyond.seen().unwrap();
    assert_eq!(beyond.root.kept, Evidence::Seen(beyond.root.given.clone()));
    assert!(
        beyond.annotations.is_empty() && beyond.unread.is_empty(),
        "{beyond:?}"
    );
    let user = config.user.seen().unwrap();
    assert_eq!(
        (&user.uid, &user.groups),
        (&Evidence::Seen(7), &Evidence::Seen([].into()))
    );
    assert_eq!(config.namespaces.network, Evidence::Seen(NamespaceOwner::Own));
    // What is in its database alone is not taken for anything.
    assert!(matches!(config.ports, Evidence::Missing(_)));
    let Some(SeccompFacts::Profile { runtime_default, .. }) = config.seccomp.seen() else {
        panic!("it has a profile")
    };
    assert!(matches!(runtime_default, Evidence::Missing(_)));
    assert!(instance.labels.0.is_empty());
}

#[test]
fn a_network_that_the_runtime_makes_publishes_nothing() {
    let isolated = with(&format!(",\"path\":\"{NETWORK}\""), "").config;
    assert_eq!(
        isolated.namespaces.network,
        Evidence::Seen(NamespaceOwner::Isolated)
    );
    assert_eq!(isolated.ports, Evidence::Seen(Vec::new()));
    let host = with(&format!(",{{\"type\":\"network\",\"path\":\"{NETWORK}\"}}"), "").config;
    assert_eq!(host.namespaces.network, Evidence::Seen(NamespaceOwner::Host));
    let oci = oci::parse(CONFIG.as_bytes()).unwrap();
    let other = Evidence::Seen(NamespaceOwner::Instance(NETWORK.to_owned()));
    let shared = instance(kept(), oci, &places(), Evidence::missing("x"), other.clone());
    assert_eq!(shared.config.namespaces.network, other);
    assert!(matches!(shared.config.ports, Evidence::Missing(_)));
}

#[test]
fn what_looks_like_podmans_own_is_told_as_what_was_asked_for() {
    let other = "1".repeat(64);
    let kept = format!("/var/lib/containers/storage/overlay-containers/{ID}/userdata");
    let run = format!("/run/containers/storage/overlay-containers/{ID}/userdata");
    for (from, to, target) in [
        // Another folder of the same shape, another container's, another file.
        (
            format!("{run}/hosts"),
            format!("/tmp/overlay-containers/{ID}/userdata/hosts"),
            "/etc/hosts",
        ),
        (
            format!("{run}/hosts"),
            run.replace(ID, &other) + "/hosts",
            "/etc/hosts",
        ),
        (format!("{run}/hosts"), format!("{run}/../hosts"), "/etc/hosts"),
        (format!("{run}/hosts"), format!("{run}/hostname"), "/etc/hosts"),
        (
            format!("{run}/hosts"),
            format!("/var/lib/docker/containers/{ID}/hosts"),
            "/etc/hosts",
        ),
        (
            format!("{kept}/shm"),
            kept.replace(ID, &other) + "/shm",
            "/dev/shm",
        ),
        (format!("{kept}/shm"), "/dev/shm".to_owned(), "/dev/shm"),
        (
            format!("{run}/hostname"),
            format!("{kept}/passwd"),
            "/etc/hostname",
        ),
    ] {
        let config = with(&format!("\"{from}\""), &format!("\"{to}\"")).config;
        let told = mounts(&config)
            .into_iter()
            .any(|(at, origin)| at == target && origin == MountOrigin::Bind(to.clone()));
        assert!(told, "{to}: {:?}", mounts(&config));
    }
    let volume = "/var/lib/containers/storage/volumes/data/_data";
    for to in [
        "/tmp/volumes/data/_data",
        "/var/lib/containers/storage/volumes/data/_data/x",
        "/var/lib/containers/storage/volumes/a/data/_data",
        "/var/lib/containers/storage/volumes//_data",
        "/var/lib/containers/storage2/volumes/data/_data",
    ] {
        let config = with(volume, to).config;
        assert_eq!(mounts(&config)[0].1, MountOrigin::Bind(to.to_owned()));
    }
    // What is put over one of Podman's own is what is there.
    let over = r#"{"destination":"/etc/hosts","type":"bind","source":"/x","options":["rbind"]},{"destination":"/sys""#;
    let config = with("{\"destination\":\"/sys\"", over).config;
    assert!(mounts(&config).contains(&("/etc/hosts".to_owned(), MountOrigin::Bind("/x".to_owned()))));
}

#[test]
fn a_root_a_group_or_an_annotation_of_somebodys_own_is_told() {
    let root = with(&format!("{LAYER}/merged"), &format!("{TOP}/merged"));
    let beyond = root.config.beyond.seen().unwrap();
    assert_ne!(beyond.root.kept, Evidence::Seen(beyond.root.given.clone()));
    for cgroup in [
        format!("/libpod_parent/x/libpod-{ID}"),
        format!("/other/libpod-{ID}"),
        format!("/libpod_parent/libpod-{}", "1".repeat(64)),
        format!("other.slice:libpod:{ID}"),
    ] {
        let text = with(&format!("/libpod_parent/libpod-{ID}"), &cgroup);
        assert!(
            text.config
                .beyond
                .seen()
                .unwrap()
                .unread
                .contains("linux.cgroupsPath"),
            "{cgroup}"
        );
    }
    let systemd = with(
        &format!("/libpod_parent/libpod-{ID}"),
        &format!("machine.slice:libpod:{ID}"),
    );
    assert!(systemd.config.beyond.seen().unwrap().unread.is_empty());
    for (from, to, name) in [
        (
            "\"io.container.manager\"",
            "\"run.oci.handler\":\"krun\",\"io.container.manager\"",
            "run.oci.handler",
        ),
        (
            "privileged\":\"FALSE\"",
            "privileged\":\"TRUE\"",
            "io.podman.annotations.privileged",
        ),
    ] {
        let told = with(from, to);
        assert!(told.config.beyond.seen().unwrap().annotations.contains_key(name));
    }
}

#[test]
fn a_variable_of_podmans_is_left_out_where_it_is_what_podman_sets_and_the_image_does_not() {
    let other = with("container=podman", "container=docker").config;
    assert!(other.env.seen().unwrap().0.contains_key("container"));
    let mut defaults = ImageDefaults::default();
    defaults.env.insert("TERM".to_owned(), "xterm".to_owned());
    let oci = oci::parse(CONFIG.as_bytes()).unwrap();
    let own = Evidence::Seen(NamespaceOwner::Own);
    let made = instance(kept(), oci, &places(), Evidence::Seen(defaults), own);
    assert!(made.config.env.seen().unwrap().0.contains_key("TERM"));
}

#[test]
fn a_home_that_podman_would_find_is_left_out_and_another_is_told() {
    for (home, uid, told) in [
        ("/", 7, false),
        ("/root", 0, false),
        ("/root", 7, true),
        ("/out", 7, true),
        ("", 7, true),
    ] {
        let text = CONFIG
            .replace("\"A=b\"", &format!("\"A=b\",\"HOME={home}\""))
            .replace("\"uid\":7", &format!("\"uid\":{uid}"));
        assert!(text.contains("HOME=") && text.contains(&format!("\"uid\":{uid}")));
        let env = made(&text).config.env;
        assert_eq!(
            env.seen().unwrap().0.contains_key("HOME"),
            told,
            "{home} of {uid}"
        );
    }
    let start = CONFIG
        .replace("\"cwd\":\"/\"", "\"cwd\":\"/srv\"")
        .replace("\"A=b\"", "\"HOME=/srv\"");
    assert!(!made(&start).config.env.seen().unwrap().0.contains_key("HOME"));
}
