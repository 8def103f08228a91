#![allow(clippy::unwrap_used)]

use super::*;
use crate::Call;

/// What a call at Podman asks for besides one thing, in words.
fn besides(text: &str) -> Vec<String> {
    let (method, target) = text.split_once(' ').unwrap();
    let call =
        Call::read(Engine::Podman, method, target).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    let words = call.wishes().iter().filter_map(|wish| match wish.on {
        On::All(resource) => Some(format!("{} {resource}", wish.verb)),
        _ => None,
    });
    words.collect()
}

#[test]
fn a_build_of_podmans_is_for_whoever_administers_and_one_of_dockers_for_whoever_builds() {
    let build = "/v4.3.1/libpod/build?dockerfile=%5B%22Dockerfile%22%5D&isolation=1&t=a";
    assert_eq!(
        besides(&format!("POST {build}")),
        ["administer runtime", "build images"]
    );
    let dockers = "/v1.41/build?dockerfile=Dockerfile&networkmode=default&cachefrom=%5B%5D";
    assert_eq!(
        besides(&format!("POST {dockers}")),
        ["administer runtime", "build images"]
    );
    let at_docker = Call::read(Engine::Docker, "POST", dockers).unwrap();
    assert_eq!(at_docker.wishes().len(), 1);
}

#[test]
fn who_says_what_ps_is_to_show_may_run_it_in_the_container() {
    let asked = |target: &str| {
        let call = Call::read(Engine::Podman, "GET", target).unwrap();
        call.wishes().iter().any(|wish| wish.verb == Verb::Exec)
    };
    assert!(!asked("/v4.3.1/libpod/containers/w/top?ps_args="));
    assert!(asked("/v4.3.1/libpod/containers/w/top?ps_args=-o%20pid"));
    assert!(asked("/v1.41/containers/w/top?ps_args=x"));
}

#[test]
fn names_that_mean_files_of_the_host_are_for_whoever_administers() {
    for name in ["a", "localhost/t/web", "r.io:5000/a:1", "docker://r.io/a"] {
        assert!(is_registrys(name), "{name}");
    }
    for name in [
        "dir:/etc",
        "oci:/x",
        "docker-archive:/x.tar",
        "containers-storage:x",
        "/etc/x",
        "docker-daemon:x",
        "a b",
        "docker://dir:/x",
    ] {
        assert!(!is_registrys(name), "{name}");
    }
    for (call, plain) in [
        (
            "POST /v4.3.1/libpod/images/pull?reference=dir%3A%2Fx",
            "pull images",
        ),
        (
            "POST /v4.3.1/libpod/images/pull?reference=a&authfile=%2Fx",
            "pull images",
        ),
        (
            "POST /v4.3.1/libpod/images/pull?reference=a&tlsVerify=false",
            "pull images",
        ),
        (
            "POST /v4.3.1/libpod/images/a/push?destination=dir%3A%2Fx",
            "push images",
        ),
        (
            "POST /v4.3.1/libpod/images/import?url=%2Fetc%2Fx.tar",
            "load images",
        ),
        (
            "POST /v4.3.1/libpod/images/pull?reference=a&tlsVerify=F",
            "pull images",
        ),
        ("POST /v1.41/images/create?fromImage=dir%3A%2Fx", "pull images"),
        (
            "POST /v1.41/images/create?fromImage=oci-archive&tag=%2Fx",
            "pull images",
        ),
    ] {
        assert_eq!(besides(call), ["administer runtime", plain], "{call}");
    }
}

#[test]
fn what_force_removes_besides_has_to_be_allowed_too() {
    for (call, plain) in [
        ("DELETE /v4.3.1/libpod/images/a?force=true", "delete images"),
        (
            "DELETE /v4.3.1/libpod/images/remove?images=a&images=b&force=1",
            "delete images",
        ),
        ("DELETE /v1.41/images/a?force=yes", "delete images"),
        ("DELETE /v4.3.1/libpod/volumes/v?force=true", "delete volumes"),
        ("DELETE /v1.41/volumes/v?force=1", "delete volumes"),
        ("DELETE /v4.3.1/libpod/networks/n?force=T", "delete networks"),
    ] {
        assert_eq!(besides(call), ["delete containers", plain], "{call}");
    }
    assert_eq!(
        besides("DELETE /v4.3.1/libpod/images/remove?images=a&force=false"),
        ["delete images"]
    );
    assert_eq!(
        besides("POST /v1.41/images/create?fromSrc=-&fromImage=dir%3A%2Fx"),
        ["administer runtime", "load images", "pull images"]
    );
    assert_eq!(
        besides("DELETE /v4.3.1/libpod/containers/w?depend=true"),
        ["delete containers"]
    );
}

#[test]
fn who_runs_what_is_there_fetches_nothing() {
    let read = |target: &str| Call::read(Engine::Podman, "POST", target).unwrap();
    let mut call = read(
        "/v4.3.1/libpod/images/pull?alltags=false&policy=missing&reference=localhost%2Ft%2Fweb&quiet=false",
    );
    assert_eq!(
        call.fetched_if_missing().as_deref(),
        Some("/images/localhost/t/web/exists")
    );
    call.is_there();
    let asked: Vec<String> = call
        .wishes()
        .iter()
        .map(|wish| format!("{} {:?}", wish.verb, wish.on))
        .collect();
    assert_eq!(asked, ["get All(Images)"]);
    let sent = call.target(&Default::default());
    assert!(
        sent.contains("policy=never") && !sent.contains("missing"),
        "{sent}"
    );
    for other in [
        "/v4.3.1/libpod/images/pull?reference=a",
        "/v4.3.1/libpod/images/pull?policy=always&reference=a",
        "/v4.3.1/libpod/images/pull?policy=missing&reference=a&allTags=true",
        "/v4.3.1/libpod/images/pull?policy=missing&reference=a&alltags=1",
        "/v4.3.1/libpod/images/pull?policy=missing&reference=dir%3A%2Fx",
        "/v4.3.1/libpod/images/pull?policy=missing&reference=a%2F..%2Fb",
        "/v1.41/images/create?fromImage=a",
    ] {
        assert_eq!(read(other).fetched_if_missing(), None, "{other}");
    }
}
