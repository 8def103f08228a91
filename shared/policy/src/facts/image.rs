//! An image's own defaults, from `docker image inspect` or from the OCI image config itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ImageDefaults, InvalidFacts};
use crate::digest::Digest;

const DOCUMENT: &str = "the output of `docker image inspect` or an OCI image config";

/// A read image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Digest of the image config: what the runtime says, or that of the bytes where they are the config.
    pub digest: Digest,
    /// Its defaults.
    pub defaults: ImageDefaults,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Id")]
    id: Option<String>,
    #[serde(rename = "Config")]
    inspected: Option<Config>,
    config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
}

/// Reads an image. An array with one element, as the command line prints it, is read as that element.
///
/// # Errors
/// When the bytes are neither document; names the line and column.
pub fn parse(bytes: &[u8]) -> Result<ImageFacts, InvalidFacts> {
    let invalid = |reason: &str| InvalidFacts::new(DOCUMENT, reason);
    let document: Document = super::inspect::one(bytes, DOCUMENT)?;
    let (digest, config) = match document {
        Document {
            id: Some(id),
            inspected,
            ..
        } => (
            id.parse().map_err(|_| invalid("`Id` is not a digest"))?,
            inspected,
        ),
        Document {
            id: None,
            config: Some(config),
            ..
        } => (Digest::of(bytes), Some(config)),
        Document {
            id: None,
            config: None,
            ..
        } => return Err(invalid("neither `Id` nor `config` is there")),
    };
    let defaults = config.map_or_else(ImageDefaults::default, |config| {
        let Config {
            user,
            env,
            entrypoint,
            cmd,
            working_dir,
            volumes,
        } = config;
        let mut by_name = BTreeMap::new();
        for entry in env.unwrap_or_default() {
            let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
            by_name.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        ImageDefaults {
            command: entrypoint.into_iter().chain(cmd).flatten().collect(),
            env: by_name,
            user: user.unwrap_or_default(),
            working_dir: working_dir.unwrap_or_default(),
            volumes: volumes.unwrap_or_default().into_keys().collect::<BTreeSet<_>>(),
        }
    });
    Ok(ImageFacts { digest, defaults })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_config_is_named_by_its_own_bytes() {
        let bytes = br#"{"config":{"Entrypoint":["/app"],"Cmd":["-v"],"Env":["A=1","A=2","B"],"User":"nobody","Volumes":{"/v":{}}}}"#;
        let image = parse(bytes).unwrap();
        assert_eq!(image.digest, Digest::of(bytes));
        assert_eq!(image.defaults.command, ["/app", "-v"]);
        assert_eq!(image.defaults.env["A"], "1");
        assert_eq!(image.defaults.env["B"], "");
        assert_eq!(image.defaults.user, "nobody");
        assert!(image.defaults.volumes.contains("/v"));
    }

    #[test]
    fn other_documents_are_refused() {
        for bytes in [
            b"{}".as_slice(),
            b"[]",
            b"[{},{}]",
            b"{\"Id\":\"latest\"}",
            b"\xff",
            b"",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
