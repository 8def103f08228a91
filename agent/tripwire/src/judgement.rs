//! Whether a request came by the proxy (Docker's authorization plugin protocol,
//! <https://docs.docker.com/engine/extend/plugins_authorization/>).

use std::collections::BTreeMap;

use serde::Deserialize;
use verger_tripwire_protocol::{MARK_HEADER, SHOWN};

use crate::mark::Mark;

/// What the daemon says of a request. Its body is of no interest, nor is who it takes the caller for: on a unix socket it knows nobody.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    #[serde(default)]
    user: String,
    #[serde(default)]
    request_method: String,
    #[serde(default)]
    request_uri: String,
    #[serde(default)]
    request_headers: Option<BTreeMap<String, String>>,
}

/// A request that did not come by the proxy. All of it is a stranger's words, cut and escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stray {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The name in a TLS client's certificate; empty on a unix socket.
    pub user: String,
}

/// Lets pass what bears the mark, and asks whether the daemon is there.
///
/// # Errors
/// The stray. A document that cannot be read is one, too: what is not understood is not let through.
pub fn judge(document: &[u8], mark: &Mark) -> Result<(), Stray> {
    let Ok(asked) = serde_json::from_slice::<Asked>(document) else {
        return Err(Stray {
            method: "?".to_owned(),
            path: "?".to_owned(),
            user: String::new(),
        });
    };
    let headers = asked.request_headers.unwrap_or_default();
    let path = asked.request_uri.split('?').next().unwrap_or_default();
    let is_marked = headers.get(MARK_HEADER).is_some_and(|text| mark.is(text));
    if is_marked || is_ping(&asked.request_method, path) {
        return Ok(());
    }
    Err(Stray {
        method: shown(&asked.request_method),
        path: shown(path),
        user: shown(&asked.user),
    })
}

/// `/_ping`, with or without a version before it: it shows nothing but that there is a daemon, and clients that are denied it take the
/// daemon for another.
fn is_ping(method: &str, path: &str) -> bool {
    let is_version = |text: &str| {
        text.strip_prefix("/v")
            .is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    };
    matches!(method, "GET" | "HEAD")
        && path
            .strip_suffix("/_ping")
            .is_some_and(|before| before.is_empty() || is_version(before))
}

/// Cuts what came from outside, and escapes what a terminal could obey.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn mark() -> Mark {
        Mark::make(&tempfile::tempdir().unwrap().path().join("mark")).unwrap()
    }

    fn asked(method: &str, uri: &str, header: Option<(&str, &str)>) -> Vec<u8> {
        let headers: BTreeMap<&str, &str> = header.into_iter().collect();
        json!({"RequestMethod": method, "RequestUri": uri, "RequestHeaders": headers})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn what_bears_the_mark_passes_and_what_bears_another_or_none_does_not() {
        let mark = mark();
        let url = "/v1.41/containers/json?all=1";
        judge(&asked("GET", url, Some((MARK_HEADER, mark.as_str()))), &mark).unwrap();
        let other = "0".repeat(64);
        for header in [
            None,
            Some((MARK_HEADER, "")),
            Some((MARK_HEADER, other.as_str())),
            Some((MARK_HEADER, &mark.as_str()[..63])),
            Some(("X-Other", mark.as_str())),
        ] {
            let stray = judge(&asked("GET", url, header), &mark).unwrap_err();
            assert_eq!(
                (stray.method.as_str(), stray.path.as_str()),
                ("GET", "/v1.41/containers/json")
            );
        }
    }

    #[test]
    fn whether_there_is_a_daemon_may_be_asked_by_anybody_and_nothing_that_looks_like_it() {
        let mark = mark();
        for (method, path, passes) in [
            ("GET", "/_ping", true),
            ("HEAD", "/v1.41/_ping", true),
            ("POST", "/_ping", false),
            ("GET", "/v1.41/containers/_ping", false),
            ("GET", "/v/../containers/_ping", false),
            ("GET", "/_ping/../containers/json", false),
            ("GET", "//_ping", false),
        ] {
            assert_eq!(
                judge(&asked(method, path, None), &mark).is_ok(),
                passes,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_a_stray_and_hostile_words_are_cut_and_escaped() {
        let mark = mark();
        judge(b"", &mark).unwrap_err();
        judge(b"[]", &mark).unwrap_err();
        let stray = judge(&asked("\u{1b}[2J", &"a".repeat(10_000), None), &mark).unwrap_err();
        assert!(!stray.method.contains('\u{1b}'));
        assert_eq!(stray.path.len(), SHOWN);
    }
}
