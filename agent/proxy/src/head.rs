//! The target of a request, read so that no other reader could take it for another.

use std::borrow::Cow;

use crate::table::{Engine, NEWEST, NEWEST_LIBPOD, OLDEST};
use crate::{Refusal, shown};

/// The longest target, bytes: a build says a good deal in it.
pub(crate) const TARGET_BYTES: usize = 32 << 10;

/// Below it Podman has an API of its own.
pub(crate) const LIBPOD: &str = "libpod";
/// What names of images are made of besides what a segment holds, as Podman's CLI writes it in a path.
const ESCAPES: [(&str, &str); 5] = [
    ("%2F", "/"),
    ("%2f", "/"),
    ("%3A", ":"),
    ("%3a", ":"),
    ("%40", "@"),
];

/// A target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// Of the API. None: whichever the daemon speaks of itself.
    pub(crate) version: Option<&'a str>,
    /// Whether it is of Podman's own API.
    pub(crate) is_libpod: bool,
    /// The path after both. Never empty, and neither is any of it.
    pub(crate) path: Vec<String>,
    /// What follows the question mark.
    pub(crate) query: &'a str,
}

/// Takes a target apart. No escapes, no empty or dotted segments, nothing but what names of Docker's are made of: the daemon decodes
/// and cleans paths before it looks what they mean. Names of images in Podman's own paths are written with escapes by its CLI: those few are
/// decoded before anything is read, and what is sent on has none.
pub(crate) fn read(engine: Engine, target: &str) -> Result<Head<'_>, Refusal> {
    if target.len() > TARGET_BYTES {
        return Err(Refusal::unclear("verger: the path and query are too long"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let unclear = || {
        Refusal::unclear(format!(
            "verger: the path `{}` could be read otherwise: write it without escapes, empty segments and dots",
            shown(path)
        ))
    };
    let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let (version, rest) = versioned(path).ok_or_else(unclear)?;
    let own = match engine {
        Engine::Docker => None,
        Engine::Podman => rest.strip_prefix(LIBPOD).and_then(|rest| rest.strip_prefix('/')),
    };
    let is_libpod = own.is_some();
    let path = plain(own.unwrap_or(rest), is_libpod)
        .filter(|_| is_text(query))
        .ok_or_else(unclear)?;
    match (is_libpod, version) {
        (false, Some(version)) => docker_version(version)?,
        (true, Some(version)) => libpod_version(version)?,
        (_, None) => {}
    }
    Ok(Head {
        version,
        is_libpod,
        path,
        query,
    })
}

/// The version that a path begins with, without its `v`, and the rest. None where it is no path.
fn versioned(path: &str) -> Option<(Option<&str>, &str)> {
    let path = path.strip_prefix('/')?;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match first.strip_prefix('v') {
        Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => Some((Some(version), rest)),
        _ => Some((None, path)),
    }
}

/// The segments of a path that can be read in one way.
fn plain(path: &str, is_libpod: bool) -> Option<Vec<String>> {
    let path = match is_libpod && path.starts_with("images/") {
        true => unescaped(path),
        false => Cow::Borrowed(path),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte);
    let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    let is_clear = segments
        .iter()
        .all(|segment| !matches!(segment.as_str(), "" | "." | "..") && segment.bytes().all(is_plain));
    is_clear.then_some(segments)
}

/// Once, and no other escapes than those.
fn unescaped(path: &str) -> Cow<'_, str> {
    let mut path = Cow::Borrowed(path);
    for (escape, character) in ESCAPES {
        if path.contains(escape) {
            path = Cow::Owned(path.replace(escape, character));
        }
    }
    path
}

fn docker_version(text: &str) -> Result<(), Refusal> {
    let minor = text
        .strip_prefix("1.")
        .and_then(|minor| minor.parse::<u32>().ok());
    match minor {
        Some(minor) if (OLDEST..=NEWEST).contains(&minor) && text == format!("1.{minor}") => Ok(()),
        _ => Err(Refusal::unclear(format!(
            "verger: API version {} is not served here: use 1.{OLDEST} to 1.{NEWEST} (for Docker's CLI: DOCKER_API_VERSION=1.{NEWEST})",
            shown(text)
        ))),
    }
}

fn libpod_version(text: &str) -> Result<(), Refusal> {
    let numbers: Option<Vec<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([4, minor, patch]) if *minor <= NEWEST_LIBPOD && text == format!("4.{minor}.{patch}") => Ok(()),
        _ => Err(Refusal::unclear(format!(
            "verger: version {} of Podman's API is not served here: use a Podman of 4.0 to 4.{NEWEST_LIBPOD}",
            shown(text)
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_that_the_daemon_could_read_otherwise_are_refused() {
        for target in [
            "/v1.41/%63ontainers/create",
            "/containers/%2e%2e/create",
            "//containers/create",
            "/v1.41//containers/json",
            "/v1.41/containers/../containers/json",
            "/v1.41/./containers/json",
            "/v1.41/containers/json/",
            "containers/json",
            "http://x/containers/json",
            "*",
            "/",
            "/v1.41",
            "/v1.41/",
            "/v1.23/containers/x/start",
            "/v1.42/containers/json",
            "/v2.41/containers/json",
            "/v01.41/containers/json",
            "/v1.041/containers/json",
            "/v1.+41/containers/json",
            "/v1/containers/json",
            "/v1.41.0/containers/json",
            "/containers/json#x",
            "/containers/json?a=\u{e9}",
            "/containers/a b/json",
            "/containers\\json",
        ] {
            assert!(read(Engine::Docker, target).is_err(), "{target}");
            assert!(read(Engine::Podman, target).is_err(), "{target}");
        }
    }

    #[test]
    fn what_is_left_is_taken_apart() {
        let head = read(Engine::Docker, "/v1.24/images/r.io:5000/a/b@sha256:0/json?x=%20").unwrap();
        assert_eq!(
            (head.version, head.query, head.path.join("|")),
            (
                Some("1.24"),
                "x=%20",
                "images|r.io:5000|a|b@sha256:0|json".to_owned()
            )
        );
        let head = read(Engine::Docker, "/volumes").unwrap();
        assert_eq!((head.version, head.path.join("|")), (None, "volumes".to_owned()));
    }

    #[test]
    fn podmans_own_paths_are_podmans_alone() {
        let target = "/v4.3.1/libpod/containers/web/json";
        let head = read(Engine::Podman, target).unwrap();
        assert!(head.is_libpod);
        assert_eq!(
            (head.version, head.path.join("|")),
            (Some("4.3.1"), "containers|web|json".to_owned())
        );
        assert!(read(Engine::Docker, target).is_err());
        let other = read(Engine::Podman, "/v1.41/containers/json").unwrap();
        assert!(!other.is_libpod);
        for target in [
            "/v4.4.0/libpod/info",
            "/v5.0.0/libpod/info",
            "/v04.3.1/libpod/info",
            "/v4.3/libpod/info",
            "/v4.3.1.1/libpod/info",
            "/v1.41/libpod/info",
            "/v4.3.1/containers/json",
            "/v4.3.1/libpod",
            "/v4.3.1/libpod/",
            "/libpod/",
        ] {
            assert!(read(Engine::Podman, target).is_err(), "{target}");
        }
    }

    #[test]
    fn names_of_images_are_decoded_and_nothing_else_is() {
        let head = read(
            Engine::Podman,
            "/v4.3.1/libpod/images/r.io%3A5000%2Fa%2Fb%40sha256:0/json",
        )
        .unwrap();
        assert_eq!(head.path.join("|"), "images|r.io:5000|a|b@sha256:0|json");
        for target in [
            "/v4.3.1/libpod/containers/a%2Fb/json",
            "/v4.3.1/libpod/images/a%2F..%2Fb/json",
            "/v4.3.1/libpod/images/a%2F%2Fb/json",
            "/v4.3.1/libpod/images/a%252Fb/json",
            "/v4.3.1/libpod/images/a%00/json",
            "/v4.3.1/libpod/images%2Fa/json",
            "/v1.41/images/a%2Fb/json",
        ] {
            assert!(read(Engine::Podman, target).is_err(), "{target}");
        }
    }
}
