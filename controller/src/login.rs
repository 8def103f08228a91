//! A person's context file: how to reach the cluster, and a certificate with its key.

use std::fs::{File, Metadata};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_transport::{Authority, Identity, KeyPair, Label, Peer, SpiffeId, certificate_pem};

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

/// Has a key certified, and writes it down as the CLI reads it. The certificate of a break-glass login is good `until` that ends.
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
    until: Option<Timestamp>,
) -> anyhow::Result<Vec<u8>> {
    let NewLogin { key, request } = login;
    let id = SpiffeId {
        cluster: cluster.to_owned(),
        peer: Peer::Person(person.clone()),
    };
    let lifetime = match until {
        None => config.person_lifetime(),
        Some(end) => time_left(end)?,
    };
    let issued = people.issue(request, &id, lifetime, &[])?;
    let identity = Identity::new(issued.chain, key);
    let mut context = serde_json::json!({
        "clusterId": cluster,
        "addresses": [config.address()],
        "memberCas": [certificate_pem(members.certificate())],
        "certificate": identity.chain_pem(),
        "key": identity.key_pem(),
        "person": person.to_string(),
    });
    if until.is_some() {
        context["login"] = "breakGlass".into();
    }
    Ok(serde_json::to_vec_pretty(&context)?)
}

/// How long it is until then.
///
/// # Errors
/// When it is over.
pub(crate) fn time_left(end: Timestamp) -> anyhow::Result<Duration> {
    let left = end.duration_since(Timestamp::now());
    anyhow::ensure!(left.is_positive(), "the login is over already, at {end}");
    Ok(left.unsigned_abs())
}

/// A place for a file, taken before anything else, so that the file can be written when everything else is done. Until it is
/// [kept](Self::keep) there is a draft beside it, which tells the next attempt what one that was cut short left, and is cleared
/// away. Dropped without having been kept, both are removed.
pub(crate) struct Reserved<'a> {
    file: &'a Path,
    draft: PathBuf,
    /// Locked: whoever finds it so leaves draft and file alone.
    handle: File,
    kept: bool,
}

impl<'a> Reserved<'a> {
    /// `flag` is the one that named it.
    ///
    /// # Errors
    /// When something is there, or it cannot be made.
    pub(crate) fn new(flag: &str, file: &'a Path) -> anyhow::Result<Self> {
        let folder = folder_of(file);
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
        let mut draft = file.as_os_str().to_owned();
        draft.push(".unfinished");
        let draft = PathBuf::from(draft);
        clear(file, &draft)?;
        // Also a link that leads nowhere is something.
        anyhow::ensure!(
            file.symlink_metadata().is_err(),
            "{flag} {}: it exists; remove it, or name another file",
            file.display()
        );
        let handle = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .with_context(|| format!("{flag} {}: name a file that can be written", file.display()))?;
        handle.try_lock().map_err(|_| busy(file))?;
        Ok(Self {
            file,
            draft,
            handle,
            kept: false,
        })
    }

    /// Writes it, and puts it in its place.
    ///
    /// # Errors
    /// When it cannot be written, or something came to be there meanwhile.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.handle.write_all(bytes).and_then(|()| self.handle.sync_all());
        // Unlike a rename this overwrites nothing.
        written
            .and_then(|()| std::fs::hard_link(&self.draft, self.file))
            .and_then(|()| File::open(folder_of(self.file))?.sync_all())
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Lets it stay.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let removed = match self.kept {
            true => std::fs::remove_file(&self.draft),
            false => remove(self.file, &self.draft),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, file = %self.draft.display(), "a file of no use stays; remove it");
        }
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn busy(file: &Path) -> anyhow::Error {
    anyhow::anyhow!("another run is about to write {}; wait for it", file.display())
}

/// Clears away what an attempt cut short left.
fn clear(file: &Path, draft: &Path) -> anyhow::Result<()> {
    match draft.symlink_metadata() {
        Ok(left) if left.is_file() => {}
        Ok(_) => anyhow::bail!("{} is in the way; remove it", draft.display()),
        Err(_) => return Ok(()),
    }
    File::open(draft)
        .with_context(|| format!("cannot open {}", draft.display()))?
        .try_lock()
        .map_err(|_| busy(file))?;
    remove(file, draft).with_context(|| format!("cannot remove {}", draft.display()))
}

/// Removes a draft, and the file if it is the draft by its other name.
fn remove(file: &Path, draft: &Path) -> std::io::Result<()> {
    let is = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    let drafted = is(&draft.symlink_metadata()?);
    if file.symlink_metadata().is_ok_and(|there| is(&there) == drafted) {
        std::fs::remove_file(file)?;
    }
    std::fs::remove_file(draft)
}
