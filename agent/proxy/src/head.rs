//! The target of a request, read so that no other reader could take it for another.

use crate::table::{NEWEST, OLDEST};
use crate::{Refusal, shown};

/// The longest target, bytes: a build says a good deal in it.
const TARGET_BYTES: usize = 32 << 10;

/// A target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// Of the API: 1.N. None: whichever the daemon speaks of itself.
    pub(crate) version: Option<u32>,
    /// The path after it. Never empty, and neither is any of it.
    pub(crate) path: Vec<&'a str>,
    /// What follows the question mark.
    pub(crate) query: &'a str,
}

/// Takes a target apart. No escapes, no empty or dotted segments, nothing but what names of Docker's are made of: the daemon decodes
/// and cleans paths before it looks what they mean.
pub(crate) fn read(target: &str) -> Result<Head<'_>, Refusal> {
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
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte);
    let mut segments = path.strip_prefix('/').ok_or_else(unclear)?.split('/');
    let is_clear = segments
        .clone()
        .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain));
    let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !is_clear || !is_text(query) {
        return Err(unclear());
    }
    let first = segments.clone().next().ok_or_else(unclear)?;
    let version = match first.strip_prefix('v') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            segments.next();
            Some(version(rest)?)
        }
        _ => None,
    };
    let path: Vec<&str> = segments.collect();
    if path.is_empty() {
        return Err(unclear());
    }
    Ok(Head { version, path, query })
}

fn version(text: &str) -> Result<u32, Refusal> {
    let minor = text
        .strip_prefix("1.")
        .and_then(|minor| minor.parse::<u32>().ok());
    match minor {
        Some(minor) if (OLDEST..=NEWEST).contains(&minor) && text == format!("1.{minor}") => Ok(minor),
        _ => Err(Refusal::unclear(format!(
            "verger: API version {} is not served here: use 1.{OLDEST} to 1.{NEWEST} (for Docker's CLI: DOCKER_API_VERSION=1.{NEWEST})",
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
            assert!(read(target).is_err(), "{target}");
        }
    }

    #[test]
    fn what_is_left_is_taken_apart() {
        let head = read("/v1.24/images/r.io:5000/a/b@sha256:0/json?x=%20").unwrap();
        assert_eq!(
            (head.version, head.query, head.path.join("|")),
            (Some(24), "x=%20", "images|r.io:5000|a|b@sha256:0|json".to_owned())
        );
        let head = read("/volumes").unwrap();
        assert_eq!((head.version, head.path), (None, vec!["volumes"]));
    }
}
