//! What this person last saw that hosts' agents signed, and where the audit stood; kept beside the context.
//!
//! A head says where findings stood once: whoever holds a controller can show an older one with its true signature, or another
//! key's where none is known. This is what both are held against.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::finding::Chain;
use verger_policy::model::{AgentId, damaged_json};
use verger_seal::ChainHead;
use verger_transport::files as secret;

use crate::exit::Failure;
use crate::files::lock_beside;

/// What was seen of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenHead {
    pub(super) key: Digest,
    pub(super) chain: Chain,
    pub(super) table: Digest,
    pub(super) seen_at: Timestamp,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) audit: Option<ChainHead>,
    pub(super) hosts: BTreeMap<AgentId, SeenHead>,
    /// Hosts that were shown, and had signed nothing.
    pub(super) headless: BTreeSet<AgentId>,
}

impl Seen {
    /// The hosts that were seen.
    pub(super) fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.hosts.keys().chain(&self.headless)
    }

    /// Whether a host was seen.
    pub(super) fn has(&self, agent: &AgentId) -> bool {
        self.hosts.contains_key(agent) || self.headless.contains(agent)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    cluster_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audit_head: Option<String>,
    hosts: BTreeMap<String, StoredHead>,
    /// Left out where there is none: versions that do not know it read the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headless: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredHead {
    key: String,
    sequence: u64,
    chain: String,
    table: String,
    seen_at: Timestamp,
}

/// The place where it is kept: one file per cluster.
#[derive(Debug)]
pub(super) struct Memory {
    file: PathBuf,
    cluster: Digest,
}

impl Memory {
    /// `heads-CLUSTER.json`, in the folder of the context.
    pub(super) fn beside(context: &Path, cluster: Digest) -> Self {
        Self {
            file: context.with_file_name(format!("heads-{}.json", cluster.hex())),
            cluster,
        }
    }

    /// What was seen; nothing before the first time.
    ///
    /// # Errors
    /// When the file cannot be read, others can, or it is damaged: never as if nothing had been seen.
    pub(super) fn recall(&self) -> anyhow::Result<Seen> {
        let bytes = match secret::read(&self.file) {
            Ok(bytes) => bytes,
            Err(secret::SecretFileError::Missing(_)) => return Ok(Seen::default()),
            Err(error @ secret::SecretFileError::Io { .. }) => return Err(error.into()),
            Err(error) => return Err(Failure::input(error.to_string()).into()),
        };
        parse(&bytes, self.cluster).map_err(|what| {
            Failure::input(format!(
                "{}: {what}. It says what you saw last that agents signed of their findings, and guards you against being shown \
                 something older. Remove it if you cannot restore it; what the cluster shows next is then taken as it is",
                self.file.display()
            ))
            .into()
        })
    }

    /// Remembers what was shown now: of each host the newer one, and of the audit the longer one. With `accept` all of it takes
    /// the place of what was remembered.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(super) fn keep(&self, shown: &Seen, accept: bool) -> anyhow::Result<()> {
        let _lock = lock_beside(&self.file).with_context(|| self.unwritable())?;
        let before = self.recall()?;
        let mut next = before.clone();
        let is_newer = |held: &ChainHead, shown: &ChainHead| shown.count >= held.count;
        if next
            .audit
            .is_none_or(|held| accept || shown.audit.is_some_and(|shown| is_newer(&held, &shown)))
        {
            next.audit = shown.audit.or(next.audit);
        }
        for (agent, head) in &shown.hosts {
            let is_older = next
                .hosts
                .get(agent)
                .is_some_and(|held| held.key == head.key && held.chain.sequence > head.chain.sequence);
            if accept || !is_older {
                next.hosts.insert(agent.clone(), head.clone());
            }
        }
        next.headless.extend(shown.headless.iter().cloned());
        next.headless.retain(|agent| !next.hosts.contains_key(agent));
        if next == before {
            return Ok(());
        }
        secret::replace(&self.file, &stored(&next, self.cluster)).with_context(|| self.unwritable())
    }

    /// Forgets hosts that were taken out.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(super) fn forget(&self, gone: &[AgentId]) -> anyhow::Result<()> {
        let _lock = lock_beside(&self.file).with_context(|| self.unwritable())?;
        let mut seen = self.recall()?;
        let before = seen.clone();
        seen.hosts.retain(|agent, _| !gone.contains(agent));
        seen.headless.retain(|agent| !gone.contains(agent));
        if seen == before {
            return Ok(());
        }
        secret::replace(&self.file, &stored(&seen, self.cluster)).with_context(|| self.unwritable())
    }

    fn unwritable(&self) -> String {
        format!(
            "cannot write {}: what you see of hosts' findings must be remembered beside your context. Make its folder writable, \
             or keep the context elsewhere (--context FILE)",
            self.file.display()
        )
    }
}

fn stored(seen: &Seen, cluster: Digest) -> Vec<u8> {
    let Seen {
        audit,
        hosts,
        headless,
    } = seen;
    let stored = Stored {
        cluster_id: cluster.hex(),
        audit_head: audit.map(|head| head.to_string()),
        hosts: hosts
            .iter()
            .map(|(agent, head)| {
                let SeenHead {
                    key,
                    chain,
                    table,
                    seen_at,
                } = head;
                let head = StoredHead {
                    key: key.to_string(),
                    sequence: chain.sequence,
                    chain: chain.digest.to_string(),
                    table: table.to_string(),
                    seen_at: *seen_at,
                };
                (agent.to_string(), head)
            })
            .collect(),
        headless: headless.iter().map(ToString::to_string).collect(),
    };
    let mut bytes = serde_json::to_vec_pretty(&stored).expect("strings and numbers");
    bytes.push(b'\n');
    bytes
}

fn parse(bytes: &[u8], cluster: Digest) -> Result<Seen, String> {
    let Stored {
        cluster_id,
        audit_head,
        hosts,
        headless,
    } = serde_json::from_slice(bytes).map_err(|error| damaged_json(&error))?;
    if cluster_id != cluster.hex() {
        return Err("damaged: `clusterId` is another cluster's than the context's".to_owned());
    }
    let digest = |text: String, field: &str| {
        text.parse::<Digest>()
            .map_err(|_| format!("damaged: `{field}` is not sha256: and 64 hex digits"))
    };
    let audit = audit_head
        .map(|head| head.parse::<ChainHead>())
        .transpose()
        .map_err(|_| "damaged: `auditHead` is no head of an audit".to_owned())?;
    let named = |agent: String, field: &str| {
        agent
            .parse::<AgentId>()
            .map_err(|_| format!("damaged: `{field}` has what is no host's name"))
    };
    let mut seen = Seen {
        audit,
        ..Seen::default()
    };
    for agent in headless {
        seen.headless.insert(named(agent, "headless")?);
    }
    for (agent, head) in hosts {
        let StoredHead {
            key,
            sequence,
            chain,
            table,
            seen_at,
        } = head;
        let agent = named(agent, "hosts")?;
        let head = SeenHead {
            key: digest(key, "key")?,
            chain: Chain {
                sequence,
                digest: digest(chain, "chain")?,
            },
            table: digest(table, "table")?,
            seen_at,
        };
        seen.hosts.insert(agent, head);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(sequence: u64, key: &[u8]) -> SeenHead {
        SeenHead {
            key: Digest::of(key),
            chain: Chain {
                sequence,
                digest: Digest::of(&sequence.to_be_bytes()),
            },
            table: Digest::of(b"table"),
            seen_at: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    fn seen(audit: u64, hosts: &[(&str, SeenHead)]) -> Seen {
        Seen {
            audit: Some(ChainHead {
                count: audit,
                digest: Digest::of(&audit.to_be_bytes()),
            }),
            hosts: hosts
                .iter()
                .map(|(agent, head)| (agent.parse().unwrap(), head.clone()))
                .collect(),
            headless: BTreeSet::new(),
        }
    }

    #[test]
    fn what_is_newer_is_remembered_and_what_is_older_only_on_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::beside(&folder.path().join("context.json"), Digest::of(b"cluster"));
        assert_eq!(memory.recall().unwrap(), Seen::default());
        let first = seen(9, &[("web-1", head(5, b"k")), ("web-2", head(2, b"k"))]);
        memory.keep(&first, false).unwrap();
        assert_eq!(memory.recall().unwrap(), first);
        let older = seen(7, &[("web-1", head(4, b"k"))]);
        memory.keep(&older, false).unwrap();
        assert_eq!(memory.recall().unwrap(), first);
        // Another key is another life.
        memory
            .keep(&seen(10, &[("web-1", head(1, b"other"))]), false)
            .unwrap();
        let wanted = seen(10, &[("web-1", head(1, b"other")), ("web-2", head(2, b"k"))]);
        assert_eq!(memory.recall().unwrap(), wanted);
        memory.keep(&older, true).unwrap();
        let wanted = seen(7, &[("web-1", head(4, b"k")), ("web-2", head(2, b"k"))]);
        assert_eq!(memory.recall().unwrap(), wanted);
        memory.forget(&["web-2".parse().unwrap()]).unwrap();
        assert_eq!(memory.recall().unwrap(), older);
    }

    #[test]
    fn a_host_that_signed_nothing_is_remembered_until_it_has_or_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::beside(&folder.path().join("context.json"), Digest::of(b"cluster"));
        let file = || std::fs::read_to_string(&memory.file).unwrap();
        let names = || {
            let seen = memory.recall().unwrap();
            let headless = seen.headless.iter();
            headless.map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        memory.keep(&seen(9, &[("web-1", head(5, b"k"))]), false).unwrap();
        assert!(!file().contains("headless"), "versions of before read it");
        let mut shown = seen(9, &[]);
        shown.headless = ["web-1", "web-2", "web-3"]
            .map(|name| name.parse().unwrap())
            .into();
        memory.keep(&shown, false).unwrap();
        assert_eq!(names(), "web-2 web-3");
        memory.keep(&seen(9, &[("web-2", head(1, b"k"))]), false).unwrap();
        assert_eq!(names(), "web-3");
        memory.forget(&["web-3".parse().unwrap()]).unwrap();
        assert_eq!(names(), "");
        assert!(!file().contains("headless"), "{}", file());
    }

    /// Fuzz target: damage must never read as "nothing was seen", nor move a terminal.
    mod fuzz {
        use bolero::check;
        use verger_fuzz::Damaged;

        use super::*;
        use crate::output::fuzz::assert_shown;

        #[test]
        fn hostile_memories_of_heads_are_refused_or_written_back_to_the_same() {
            let cluster = Digest::of(b"cluster");
            let mut seen = seen(9, &[("web-1", head(5, b"k")), ("web-2", head(2, b"k"))]);
            seen.headless.insert("web-3".parse().unwrap());
            check!()
                .with_generator(Damaged::json([stored(&seen, cluster)]))
                .with_iterations(3_000)
                .for_each(|bytes| match parse(bytes, cluster) {
                    Ok(seen) => assert_eq!(parse(&stored(&seen, cluster), cluster).unwrap(), seen),
                    Err(what) => {
                        assert_shown(&what);
                        assert!(what.starts_with("damaged") && what.len() < 2_000, "{what}");
                    }
                });
        }
    }

    #[test]
    fn a_damaged_memory_is_an_error_with_file_and_remedy_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::beside(&folder.path().join("context.json"), Digest::of(b"cluster"));
        let whole = stored(&seen(9, &[("web-1", head(5, b"k"))]), memory.cluster);
        let other = stored(&seen(9, &[]), Digest::of(b"another"));
        for damage in [&b""[..], b"{", b"\x1b[2J", &whole[..whole.len() / 2], &other] {
            secret::replace(&memory.file, damage).unwrap();
            for error in [
                memory.recall().unwrap_err(),
                memory.keep(&seen(9, &[]), true).unwrap_err(),
            ] {
                let error = error.to_string();
                assert!(
                    error.contains("heads-") && error.contains("damaged") && error.contains("Remove it"),
                    "{error}"
                );
            }
            assert_eq!(std::fs::read(&memory.file).unwrap(), damage);
        }
    }
}
