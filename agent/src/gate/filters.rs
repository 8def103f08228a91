//! The seccomp filters that this host has, so that the gate can be given one: kept from launches that were as they are blessed.
//!
//! A policy names a filter by its digest, or says that it is the runtime's default. Which that is, is known of a host alone: it differs from
//! version to version, and Docker makes it of the capabilities of the launch. So what Docker says is its default, for these capabilities, is
//! kept under its digest, and is known again in a container that got it from the gate: Docker says of that one what was asked for.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::Context as _;
use verger_agent_core::gate::is_on;
use verger_gate_protocol::tighten::FILTER_BYTES;
use verger_policy::digest::Digest;
use verger_policy::facts::{Evidence, Instance, SeccompFacts, oci};
use verger_policy::model::{RuntimeKind, Seccomp};
use verger_transport::files::{self, SecretFileError};

/// The most files that are kept. A workload needs one, and another after each upgrade of the runtime that changes its default.
const MOST: usize = 128;
/// How the name of a file begins that holds a default of Docker's.
const DEFAULT: &str = "default-";

/// What is kept, in a folder of the agent's own: `default-MASK-DIGEST.json` and `DIGEST.json`, canonical JSON of that digest.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    folder: PathBuf,
    /// The newest last. Held for no longer than it takes to look: the reconciler waits for it.
    defaults: Mutex<Vec<KnownDefault>>,
    /// Held while a file is written.
    writing: Mutex<()>,
}

/// A default of Docker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KnownDefault {
    /// The capabilities that it was made for (bit n is capability number n).
    capabilities: u64,
    digest: Digest,
}

impl KnownDefault {
    fn name(&self) -> String {
        format!("{DEFAULT}{:016x}-{}.json", self.capabilities, self.digest.hex())
    }

    fn named(name: &str) -> Option<Self> {
        let (mask, digest) = name
            .strip_prefix(DEFAULT)?
            .strip_suffix(".json")?
            .split_once('-')?;
        let known = Self {
            capabilities: u64::from_str_radix(mask, 16).ok()?,
            digest: format!("sha256:{digest}").parse().ok()?,
        };
        (known.name() == name).then_some(known)
    }
}

impl Filters {
    /// Those in a folder, which is made when the first is kept.
    ///
    /// # Errors
    /// When it is there and cannot be looked into.
    pub(crate) fn open(folder: PathBuf) -> anyhow::Result<Self> {
        let mut found: Vec<(SystemTime, KnownDefault)> = Vec::new();
        for entry in entries(&folder)? {
            let (name, path) = (entry.file_name(), entry.path());
            let Some(known) = name.to_str().and_then(KnownDefault::named) else {
                continue;
            };
            let metadata = entry.metadata().with_context(|| path.display().to_string())?;
            found.push((metadata.modified()?, known));
        }
        found.sort_by_key(|(modified, _)| *modified);
        let newest = found.len().saturating_sub(MOST);
        Ok(Self {
            folder,
            defaults: Mutex::new(found.into_iter().skip(newest).map(|(_, known)| known).collect()),
            writing: Mutex::default(),
        })
    }

    fn defaults(&self) -> MutexGuard<'_, Vec<KnownDefault>> {
        self.defaults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the filter of a launch that goes on as it is, if it is this one.
    pub(crate) fn keep(&self, wanted: &Seccomp, instance: &Instance, document: &[u8]) {
        match self.kept(wanted, instance, document) {
            Ok(None) => {}
            Ok(Some(path)) => {
                tracing::info!(file = %path.display(), "a seccomp profile is kept for the gate")
            }
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "a seccomp profile could not be kept for the gate"
            ),
        }
    }

    fn kept(
        &self,
        wanted: &Seccomp,
        instance: &Instance,
        document: &[u8],
    ) -> anyhow::Result<Option<PathBuf>> {
        if !is_on(wanted, &instance.config.seccomp) {
            return Ok(None);
        }
        let Some(filter) = oci::filter(document)? else {
            return Ok(None);
        };
        let digest = Digest::of(&filter);
        let default = match wanted {
            Seccomp::Unconfined => return Ok(None),
            Seccomp::Profile(_) => None,
            Seccomp::Default => match capabilities(instance) {
                Some(capabilities) => Some(KnownDefault { capabilities, digest }),
                None => return Ok(None),
            },
        };
        let path = match &default {
            Some(known) => self.folder.join(known.name()),
            None => self.file(&digest),
        };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // One that somebody has removed is kept anew.
        if path.try_exists()? {
            return Ok(None);
        }
        anyhow::ensure!(
            filter.len() <= FILTER_BYTES,
            "it has {} bytes, and {FILTER_BYTES} are the most",
            filter.len()
        );
        let held = entries(&self.folder)?.len();
        anyhow::ensure!(
            held < MOST,
            "{} holds {held} already: remove those that no workload is blessed with",
            self.folder.display()
        );
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| self.folder.display().to_string());
            }
            _ => files::replace(&path, &filter)?,
        }
        let mut defaults = self.defaults();
        defaults.retain(|known| Some(known) != default.as_ref());
        defaults.extend(default);
        Ok(Some(path))
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", digest.hex()))
    }

    /// The filter that an instance is to have.
    ///
    /// # Errors
    /// Why there is none, and what a person does about it, in a sentence.
    pub(crate) fn of(&self, wanted: &Seccomp, instance: &Instance) -> Result<Vec<u8>, String> {
        let (path, digest) = match wanted {
            Seccomp::Unconfined => return Err("no seccomp profile is blessed".to_owned()),
            Seccomp::Profile(digest) => (self.file(digest), *digest),
            Seccomp::Default if instance.id.runtime != RuntimeKind::Docker => {
                return Err(
                    "which seccomp profile is the runtime's default is known of Docker alone: state it by its digest"
                        .to_owned(),
                );
            }
            Seccomp::Default => {
                let given = capabilities(instance);
                let known = self
                    .defaults()
                    .iter()
                    .rev()
                    .find(|known| given == Some(known.capabilities))
                    .copied();
                let Some(known) = known else {
                    return Err(lacking(
                        "the runtime's default seccomp profile for these capabilities",
                    ));
                };
                (self.folder.join(known.name()), known.digest)
            }
        };
        match read(&path, &digest) {
            Ok(Some(filter)) => Ok(filter),
            Ok(None) => Err(lacking(&format!("the seccomp profile {digest}"))),
            Err(why) => Err(format!("{}: {why}: remove it", path.display())),
        }
    }

    /// Whether what Docker says is no default of its own has the digest of one, for whichever capabilities.
    pub(crate) fn may_be_default(&self, instance: &Instance) -> bool {
        let digest = undecided(instance);
        digest.is_some_and(|digest| self.defaults().iter().any(|known| known.digest == digest))
    }

    /// Says of a filter that Docker says is no default of its own that it is one, where it is what Docker makes for the capabilities of its
    /// container.
    pub(crate) fn recognise(&self, instance: &mut Instance, container: Option<u64>) {
        let (Some(digest), Some(capabilities)) = (undecided(instance), container) else {
            return;
        };
        if self.defaults().contains(&KnownDefault { capabilities, digest })
            && let Evidence::Seen(SeccompFacts::Profile { runtime_default, .. }) =
                &mut instance.config.seccomp
        {
            *runtime_default = Evidence::Seen(true);
        }
    }
}

/// The capabilities of an instance, where all of them are known.
pub(crate) fn capabilities(instance: &Instance) -> Option<u64> {
    let facts = instance.config.capabilities.seen()?;
    facts.unnamed.is_empty().then_some(facts.given)
}

/// The digest of a filter of which Docker says that it is not its default.
fn undecided(instance: &Instance) -> Option<Digest> {
    match instance.config.seccomp.seen()? {
        SeccompFacts::Profile {
            digest: Evidence::Seen(digest),
            runtime_default: Evidence::Seen(false),
        } => Some(*digest),
        _ => None,
    }
}

fn lacking(what: &str) -> String {
    format!(
        "the policy lets the gate put {what} there, and this host does not have it yet: launch the workload once as it is blessed, and the \
         agent keeps it"
    )
}

fn entries(folder: &Path) -> anyhow::Result<Vec<fs::DirEntry>> {
    let failed = || folder.display().to_string();
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<Result<_, _>>().with_context(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(failed),
    }
}

/// The filter in a file; none where there is no file.
fn read(path: &Path, digest: &Digest) -> Result<Option<Vec<u8>>, String> {
    let bytes = match files::read(path) {
        Ok(bytes) => bytes.to_vec(),
        Err(SecretFileError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if bytes.len() > FILTER_BYTES || Digest::of(&bytes) != *digest {
        return Err("it is not the seccomp profile that its name says".to_owned());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
