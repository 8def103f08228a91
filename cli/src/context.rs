//! The context: which cluster, how to reach it, and who asks.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_transport::{Identity, certificates, files, spki_pin};
use zeroize::Zeroizing;

use crate::exit::Failure;

/// What a context file holds. The key is a secret; the file is 0600.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Context {
    /// 64 hex digits: what a person was told, and what everything else is held against.
    pub cluster_id: String,
    /// `HOST:PORT` of controllers.
    pub addresses: Vec<String>,
    /// PEM of the authorities of members.
    pub member_cas: Vec<String>,
    /// PEM, leaf first.
    pub certificate: String,
    /// PEM.
    pub key: Zeroizing<String>,
    /// Whose certificate it is.
    pub person: String,
    /// Path of the sealing key used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<PathBuf>,
    /// What kind of login it is, where its certificate is not renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginKind>,
}

/// A login that ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum LoginKind {
    /// By the cluster's identity provider: there is another whenever the person logs in again.
    #[serde(rename_all = "camelCase")]
    Oidc {
        /// Where to log in: `HOST:PORT`.
        enrol: String,
        /// The pin of the members' authority.
        ca_pin: String,
    },
    /// Of an emergency.
    BreakGlass,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("cluster_id", &self.cluster_id)
            .finish_non_exhaustive()
    }
}

/// The file that a variable of the environment names. An empty one names none, as everywhere: clap would refuse it.
pub(crate) fn named_by(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The file to use: the one named, else that of `VERGER_CONTEXT`, else the default one.
///
/// # Errors
/// When neither is known.
pub(crate) fn place(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(file) = named.map(Path::to_owned).or_else(|| named_by("VERGER_CONTEXT")) {
        return Ok(file);
    }
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    config
        .map(|config| config.join("verger").join("context.json"))
        .ok_or_else(|| {
            Failure::input("there is no home folder to look for a context in; name one with --context").into()
        })
}

/// What is wrong with the text. serde_json names line and column, and repeats values of the wrong kind and names of unknown
/// fields: in a damaged file either may be the key.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("at line {} column {}", error.line(), error.column());
    let wrong = ["invalid type", "invalid value", "unknown variant"];
    if wrong.iter().any(|what| text.starts_with(what)) {
        return format!("a value is of the wrong kind {place}");
    }
    let name = text
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split('`').next());
    if name.is_some_and(|name| name.len() > 32 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return format!("there is an unknown field {place}");
    }
    text
}

impl Context {
    /// Reads a context file.
    ///
    /// # Errors
    /// When it is not there, others can read it, or it is no context.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let bytes = files::read(file).map_err(|error| match error {
            files::SecretFileError::Missing(file) => Failure::input(format!(
                "there is no context at {}; name one with --context, or take over the file that `verger-controller init` \
                 wrote: verger context use FILE",
                file.display()
            )),
            other => Failure::input(other.to_string()),
        })?;
        Self::parse(&bytes).map_err(|what| {
            Failure::input(format!(
                "{} is no context: {what}; make one with `verger-controller init`",
                file.display()
            ))
            .into()
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let context: Self = serde_json::from_slice(bytes).map_err(|error| told(&error))?;
        if context.id().is_none() {
            return Err("`clusterId` is not 64 lower-case hex digits".to_owned());
        }
        if context.addresses.is_empty() {
            return Err("`addresses` is empty".to_owned());
        }
        if context.authorities().is_err() || context.member_cas.is_empty() {
            return Err("`memberCas` holds no certificate".to_owned());
        }
        Ok(context)
    }

    fn id(&self) -> Option<Digest> {
        format!("sha256:{}", self.cluster_id).parse().ok()
    }

    /// The cluster's id.
    pub(crate) fn cluster(&self) -> Digest {
        self.id().expect("checked when it was read")
    }

    /// The certificates of members' authorities, DER.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn authorities(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for pem in &self.member_cas {
            let authorities = certificates(pem.as_bytes()).context("an authority in the context")?;
            found.extend(authorities.into_iter().map(|certificate| certificate.to_vec()));
        }
        if found.is_empty() {
            return Err(Failure::input("there is no authority's certificate in the context").into());
        }
        Ok(found)
    }

    /// The pins of members' authorities.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub(crate) fn pins(&self) -> anyhow::Result<Vec<String>> {
        let pin = |certificate: Vec<u8>| {
            spki_pin(&certificate).context("an authority's certificate in the context cannot be read")
        };
        self.authorities()?.into_iter().map(pin).collect()
    }

    /// The certificate with its key.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn identity(&self) -> anyhow::Result<Identity> {
        Identity::from_pem(&self.certificate, &self.key)
            .context("the certificate in the context cannot be used")
    }

    /// What another person's context has of this one: the cluster, and nothing of the person.
    pub(crate) fn for_another(&self) -> Self {
        Self {
            cluster_id: self.cluster_id.clone(),
            addresses: self.addresses.clone(),
            member_cas: self.member_cas.clone(),
            certificate: String::new(),
            key: Zeroizing::default(),
            person: String::new(),
            sealing_key: None,
            login: None,
        }
    }

    /// The bytes of its file.
    pub(crate) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec_pretty(self).expect("strings only"))
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_the_key_is_not_shown() {
        let cases = [
            ("{", "EOF"),
            (r#"{"clusterId":"00"}"#, "missing field"),
            (
                r#"{"clusterId":"00","addresses":[],"memberCas":[],"certificate":"","key":"SECRET","person":"a"}"#,
                "clusterId",
            ),
            (r#"{"clusterID":"00","key":"SECRET"}"#, "clusterID"),
            (r#"{"clusterId":"00","addresses":"SECRET"}"#, "line 1 column 38"),
            (r#"{"k--SECRET":"00"}"#, "unknown field at line 1"),
            (r#"{"login":"SECRET"}"#, "wrong kind at line 1"),
        ];
        for (text, wanted) in cases {
            let error = Context::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("SECRET"), "{error}");
        }
    }
}
