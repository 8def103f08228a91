//! A person's context file: how to reach the cluster, and a certificate with its key.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use verger_policy::digest::Digest;
use verger_transport::{Authority, Identity, KeyPair, Label, Peer, SpiffeId, certificate_pem, files};

use crate::adapters::PERSON_LIFETIME;
use crate::config::Config;

/// A new key of a person, before it is certified.
pub(crate) struct NewLogin {
    key: KeyPair,
    request: Vec<u8>,
}

impl NewLogin {
    /// Makes one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let request = key.request()?;
        Ok(Self { key, request })
    }

    /// The digest by which the state knows it.
    ///
    /// # Errors
    /// When it cannot be read, which it can.
    pub(crate) fn digest(&self) -> anyhow::Result<Digest> {
        Ok(Digest::from_bytes(Authority::key_digest(&self.request)?))
    }
}

/// Has a key certified, and writes it down as the CLI reads it.
///
/// # Errors
/// When it cannot be certified.
pub(crate) fn context_of(
    config: &Config,
    cluster: &str,
    person: &Label,
    login: &NewLogin,
    people: &Authority,
    members: &Authority,
) -> anyhow::Result<Vec<u8>> {
    let NewLogin { key, request } = login;
    let id = SpiffeId {
        cluster: cluster.to_owned(),
        peer: Peer::Person(person.clone()),
    };
    let issued = people.issue(request, &id, PERSON_LIFETIME, &[])?;
    let identity = Identity::new(issued.chain, key);
    let context = serde_json::json!({
        "clusterId": cluster,
        "addresses": [config.address()],
        "memberCas": [certificate_pem(members.certificate())],
        "certificate": identity.chain_pem(),
        "key": identity.key_pem(),
        "person": person.to_string(),
    });
    Ok(serde_json::to_vec_pretty(&context)?)
}

/// A file that is made empty before anything else, so that it can be written when everything else is done. Dropped
/// without [`keep`](Self::keep), it is removed.
pub(crate) struct Reserved<'a> {
    file: &'a Path,
    kept: bool,
}

impl<'a> Reserved<'a> {
    /// `flag` is the one that named it.
    ///
    /// # Errors
    /// When something is there, or it cannot be made.
    pub(crate) fn new(flag: &str, file: &'a Path) -> anyhow::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        anyhow::ensure!(
            folder.is_dir(),
            "{flag} {}: {} is no folder; make it first",
            file.display(),
            folder.display()
        );
        anyhow::ensure!(
            !file.is_dir(),
            "{flag} {}: this is a folder; name a file in it",
            file.display()
        );
        // Also a link that leads nowhere is something.
        anyhow::ensure!(
            file.symlink_metadata().is_err(),
            "{flag} {}: it exists; remove it, or name another file",
            file.display()
        );
        files::create(file, b"")
            .with_context(|| format!("{flag} {}: name a file that can be written", file.display()))?;
        Ok(Self { file, kept: false })
    }

    /// Writes it, for good.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn fill(&self, bytes: &[u8]) -> anyhow::Result<()> {
        File::options()
            .write(true)
            .open(self.file)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Lets it stay.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(self.file)
        {
            tracing::warn!(%error, file = %self.file.display(), "a file of no use stays; remove it");
        }
    }
}
