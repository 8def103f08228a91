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

const BUILD: &str = "POST /v4.3.1/libpod/build?dockerfile=%5B%22Dockerfile%22%5D&isolation=1&networkmode=0&nsoptions=%5B%7B%22Name%22%3A%22user%22%2C%22Host%22%3Atrue%2C%22Path%22%3A%22%22%7D%5D&seccomp=%2Fusr%2Fshare%2Fcontainers%2Fseccomp.json&t=localhost%2Ft%2Fb&platform=%2F&jobs=1";

#[test]
fn a_build_reaches_no_further_than_a_build() {
    assert_eq!(besides(BUILD), ["build images"]);
    let by_a_user = BUILD.replace("isolation=1", "isolation=3");
    assert_eq!(besides(&by_a_user), ["build images"]);
    for more in [
        "isolation=2",
        "isolation=chroot",
        "isolation=4",
        "networkmode=host",
        "seccomp=unconfined",
        "dockerfile=%5B%22%2Fetc%2Fshadow%22%5D",
        "dockerfile=..%2Fx",
        "dockerfile=%5B%22a%22%2C%22..%2Fx%22%5D",
        "dockerfile=http%3A%2F%2Fx%2Fy",
        "devices=%5B%22%2Fdev%2Fsda%22%5D",
        "addcaps=%5B%22SYS_ADMIN%22%5D",
        "rusagelogfile=%2Fetc%2Fx",
        "remote=https%3A%2F%2Fx",
        "secrets=%5B%22id%3Dx%2Csrc%3D%2Fetc%2Fshadow%22%5D",
        "additionalbuildcontexts=%7B%7D%20",
        "cgroupparent=%2Fx",
        "nsoptions=%5B%7B%22Name%22%3A%22network%22%2C%22Host%22%3Atrue%7D%5D",
        "idmappingoptions=%7B%22AutoUserNs%22%3Atrue%7D",
        "tlsVerify=0",
    ] {
        let target = format!("POST /v4.3.1/libpod/build?{more}");
        assert_eq!(
            besides(&target),
            ["administer runtime", "build images"],
            "{target}"
        );
    }
    // Docker's words, as Podman reads them.
    for more in [
        "isolation=chroot",
        "dockerfile=..%2F..%2Fx",
        "remote=https%3A%2F%2Fx",
    ] {
        let target = format!("POST /v1.41/build?{more}");
        assert_eq!(
            besides(&target),
            ["administer runtime", "build images"],
            "{target}"
        );
    }
    assert_eq!(
        besides("POST /v1.41/build?dockerfile=Dockerfile&networkmode=default&cachefrom=%5B%5D"),
        ["build images"]
    );
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
        ("POST /v1.41/images/create?fromImage=dir%3A%2Fx", "pull images"),
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
        "/v4.3.1/libpod/images/pull?policy=missing&reference=dir%3A%2Fx",
        "/v4.3.1/libpod/images/pull?policy=missing&reference=a%2F..%2Fb",
        "/v1.41/images/create?fromImage=a",
    ] {
        assert_eq!(read(other).fetched_if_missing(), None, "{other}");
    }
}
