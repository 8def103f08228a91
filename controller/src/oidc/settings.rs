//! `[oidc]` of the configuration file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use openidconnect::http::Uri;
use serde::Deserialize;
use verger_policy::model::Name;
use verger_transport::{Label, files};
use zeroize::Zeroizing;

use super::mapping::Mapping;
use super::web;

/// The identity provider that people log in by.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcConfig {
    /// Its name, which is where it publishes about itself: `https://id.example.org`.
    pub(super) issuer: String,
    /// What it knows the controllers by.
    pub(super) client_id: String,
    /// A file (0600) with the secret that it gave to that client. Absent: it asks for none.
    #[serde(default)]
    pub(super) client_secret_file: Option<PathBuf>,
    /// What is asked for beside `openid`.
    #[serde(default = "scopes")]
    pub(super) scopes: Vec<String>,
    /// The claim that names the person.
    #[serde(default = "person_claim")]
    pub(super) person_claim: String,
    /// What follows the `@` of that claim, and is left out of the name. Absent: the claim has none.
    #[serde(default)]
    pub(super) person_domain: Option<String>,
    /// The claim that lists the person's groups.
    #[serde(default = "groups_claim")]
    pub(super) groups_claim: String,
    /// The groups that count. Absent: all.
    #[serde(default)]
    pub(super) groups: Option<BTreeSet<String>>,
    /// What is put before their names: `corp` makes `group/corp/sre` of `sre`.
    #[serde(default)]
    pub(super) group_prefix: Option<String>,
    /// People whose logins may be replaced although they are not of this provider, or of another account there.
    #[serde(default)]
    pub(super) replace_logins: BTreeSet<String>,
    /// Authorities that the provider's certificate is checked by, PEM.
    #[serde(default = "ca_file")]
    pub(super) ca_file: PathBuf,
    /// How long a login lasts: 1 to 12.
    #[serde(default = "hours")]
    pub(super) hours: u8,
}

fn scopes() -> Vec<String> {
    vec!["profile".to_owned()]
}

fn person_claim() -> String {
    "preferred_username".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

fn ca_file() -> PathBuf {
    "/etc/ssl/certs/ca-certificates.crt".into()
}

const fn hours() -> u8 {
    12
}

impl OidcConfig {
    /// The client's secret, where there is one.
    ///
    /// # Errors
    /// When its file cannot be read, or others can read it.
    pub(super) fn secret(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let Some(file) = &self.client_secret_file else {
            return Ok(None);
        };
        let bytes = files::read(file).context("`oidc.client_secret_file`")?;
        let text = std::str::from_utf8(&bytes).context("`oidc.client_secret_file` is not text")?;
        let text = text.trim();
        anyhow::ensure!(
            !text.is_empty(),
            "`oidc.client_secret_file`: {} is empty",
            file.display()
        );
        Ok(Some(Zeroizing::new(text.to_owned())))
    }
}

/// The same, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) scopes: Vec<String>,
    pub(super) mapping: Mapping,
    pub(super) replaces: BTreeSet<Label>,
    pub(super) seconds: i64,
}

impl Settings {
    /// Checks what the file says.
    ///
    /// # Errors
    /// Names the field that is not valid.
    pub(super) fn check(config: &OidcConfig) -> anyhow::Result<Self> {
        let OidcConfig {
            issuer,
            client_id,
            client_secret_file: _,
            scopes,
            person_claim,
            person_domain,
            groups_claim,
            groups,
            group_prefix,
            replace_logins,
            ca_file: _,
            hours,
        } = config;
        let uri: Uri = issuer.parse().context("`oidc.issuer` is not a URL")?;
        web::allowed(&uri).context("`oidc.issuer`")?;
        anyhow::ensure!(
            uri.query().is_none() && issuer.len() <= verger_controller_state::limits::PROVIDER_BYTES,
            "`oidc.issuer` has a query, or is too long"
        );
        anyhow::ensure!(!client_id.is_empty(), "`oidc.client_id` is empty");
        anyhow::ensure!((1..=12).contains(hours), "`oidc.hours` is 1 to 12");
        let name = |field: &str, text: &String| -> anyhow::Result<Name> {
            text.parse().with_context(|| format!("`oidc.{field}`: `{text}`"))
        };
        let groups = groups
            .as_ref()
            .map(|groups| groups.iter().map(|group| name("groups", group)).collect());
        let replaces = replace_logins.iter().map(|person| {
            person
                .parse()
                .with_context(|| format!("`oidc.replace_logins`: `{person}`"))
        });
        Ok(Self {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            scopes: scopes.clone(),
            mapping: Mapping {
                person_claim: person_claim.clone(),
                person_domain: person_domain.clone(),
                groups_claim: groups_claim.clone(),
                groups: groups.transpose()?,
                prefix: group_prefix
                    .as_ref()
                    .map(|prefix| name("group_prefix", prefix))
                    .transpose()?,
            },
            replaces: replaces.collect::<anyhow::Result<_>>()?,
            seconds: i64::from(*hours) * 3_600,
        })
    }
}
