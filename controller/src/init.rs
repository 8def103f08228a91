//! Founding a cluster.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::{Member, MemberError};
use verger_controller_state::{Action, Command, Response};
use verger_transport::{
    Authority, Identity, KeyPair, Label, Peer, Purpose, SpiffeId, certificate_pem, files, spki_pin,
};

use crate::adapters::SystemAmbient;
use crate::config::Config;
use crate::wire_up;

/// How long the first person's certificate is good. People's own requests and renewal come with roles.
const ADMIN_DAYS: u64 = 30;

#[derive(Args)]
pub(crate) struct InitArgs {
    /// The trust root a person made with `verger trust init`. Its digest becomes the cluster's id.
    #[arg(long, value_name = "FILE")]
    trust_root: PathBuf,

    /// The first person's name.
    #[arg(long, value_name = "NAME")]
    admin: String,

    /// Where to write that person's context file (0600). Hand it over, and remove it here.
    #[arg(long, value_name = "FILE")]
    admin_context: PathBuf,
}

/// Founds the cluster, or leaves nothing behind: everything is made in a folder beside its place, the person's context file
/// is written, and only then the stores are moved to where [`Run`](crate::Command::Run) looks for them. That last rename is
/// the founding; an attempt cut short before it, even by a power cut, is cleared away by the next one.
///
/// # Errors
/// When a cluster is there already, the context file cannot be written, or the trust root is refused.
pub(crate) async fn init(config: &Config, args: &InitArgs) -> anyhow::Result<()> {
    let InitArgs {
        trust_root,
        admin,
        admin_context,
    } = args;
    let envelope =
        std::fs::read(trust_root).with_context(|| format!("cannot read {}", trust_root.display()))?;
    let person: Label = admin.parse().with_context(|| format!("--admin {admin}"))?;
    make_private_dir(&config.data_dir)?;
    let folder =
        File::open(&config.data_dir).with_context(|| format!("cannot open {}", config.data_dir.display()))?;
    folder.try_lock().map_err(|_| {
        anyhow::anyhow!(
            "another `init` is at work in {}; wait for it",
            config.data_dir.display()
        )
    })?;
    let draft = Draft::begin(config)?;
    let context = Reserved::new(admin_context)?;

    let cluster = found(&draft.config, trust_root, envelope).await?;
    let (handed_over, pin) = authorities(&draft.config, &cluster, person)?;
    context.fill(&handed_over)?;
    draft.put_in_place(config, &folder)?;
    // From here on the cluster is founded, and this file is the way in.
    context.keep();
    folder
        .sync_all()
        .with_context(|| format!("cannot make {} durable", config.data_dir.display()))?;
    writeln!(
        std::io::stdout(),
        "Founded cluster {cluster}\nMembers' authority {pin}\nContext of {admin}: {}\nNext: verger-controller run",
        admin_context.display()
    )?;
    Ok(())
}

/// Makes the member's stores with the cluster in them, and gives the cluster's id.
async fn found(config: &Config, trust_root: &Path, envelope: Vec<u8>) -> anyhow::Result<String> {
    let raft_dir = config.raft_dir();
    make_private_dir(&raft_dir)?;
    Member::create(&raft_dir)?;
    let member = wire_up::open_member(config).await?;
    let command = Command {
        stamp: SystemAmbient.now(),
        actor: format!("controller/{}", config.member),
        request_id: None,
        action: Action::Found {
            trust_root: envelope.into(),
        },
    };
    let founded = member.propose(&command).await;
    member.stop().await;
    match founded? {
        Response::Founded(cluster) => Ok(cluster.hex()),
        Response::Refused(reason) => anyhow::bail!("{}: {reason}", trust_root.display()),
        other => anyhow::bail!("the state machine answered {other:?}"),
    }
}

/// Makes the three authorities; gives the first person's context and the members' pin.
fn authorities(config: &Config, cluster: &str, person: Label) -> anyhow::Result<(Vec<u8>, String)> {
    let pki = config.pki_dir();
    make_private_dir(&pki)?;
    let members = Authority::create(&pki, Purpose::Members, cluster)?;
    Authority::create(&pki, Purpose::Agents, cluster)?;
    let people = Authority::create(&pki, Purpose::People, cluster)?;
    let key = KeyPair::generate()?;
    let name = person.to_string();
    let id = SpiffeId {
        cluster: cluster.to_owned(),
        peer: Peer::Person(person),
    };
    let lifetime = Duration::from_secs(ADMIN_DAYS * 86_400);
    let issued = people.issue(&key.request()?, &id, lifetime, &[])?;
    let identity = Identity::new(issued.chain, &key);
    let context = serde_json::json!({
        "clusterId": cluster,
        "addresses": [config.address()],
        "memberCas": [certificate_pem(members.certificate())],
        "certificate": identity.chain_pem(),
        "key": identity.key_pem(),
        "person": name,
    });
    let pin = spki_pin(members.certificate()).context("the members' authority has no readable key")?;
    Ok((serde_json::to_vec_pretty(&context)?, pin))
}

/// A founding that is not yet in place. Dropped, it is removed.
struct Draft {
    /// The member's configuration, with the files in the draft's folder.
    config: Config,
}

impl Draft {
    /// Clears away what an attempt cut short left, and refuses where a cluster is.
    fn begin(config: &Config) -> anyhow::Result<Self> {
        let place = config.data_dir.join("founding");
        let (raft, pki) = (config.raft_dir(), config.pki_dir());
        if !is_vacant(&raft)? {
            return Err(MemberError::AlreadyThere(raft).into());
        }
        // Stores are put in place last: authorities without them, beside a draft, are of an attempt cut short.
        if place.exists() {
            remove_dir(&pki)?;
            remove_dir(&place)?;
        }
        anyhow::ensure!(
            is_vacant(&pki)?,
            "{} holds authorities, and no cluster is in {}; if that cluster is given up, remove them by hand",
            pki.display(),
            raft.display()
        );
        make_private_dir(&place)?;
        Ok(Self {
            config: Config {
                data_dir: place,
                member: config.member.clone(),
                listen: config.listen,
                enrol_listen: config.enrol_listen,
                address: config.address.clone(),
                enrol_address: config.enrol_address.clone(),
                log: config.log,
            },
        })
    }

    /// Moves authorities and stores to their places, the stores last.
    fn put_in_place(self, config: &Config, folder: &File) -> anyhow::Result<()> {
        let (pki, raft) = (config.pki_dir(), config.raft_dir());
        let moved = rename(&self.config.pki_dir(), &pki)
            .and_then(|()| folder.sync_all().context("cannot make the authorities durable"))
            .and_then(|()| rename(&self.config.raft_dir(), &raft));
        if moved.is_err() {
            remove_dir(&pki)?;
        }
        moved
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = remove_dir(&self.config.data_dir) {
            tracing::warn!(%error, "the draft of the founding stays; the next `init` removes it");
        }
    }
}

/// A file that is made empty before anything else, so that it can be written when everything else is done. Dropped
/// without [`keep`](Self::keep), it is removed.
struct Reserved<'a> {
    file: &'a Path,
    kept: bool,
}

impl<'a> Reserved<'a> {
    fn new(file: &'a Path) -> anyhow::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        anyhow::ensure!(
            folder.is_dir(),
            "--admin-context {}: {} is no folder; make it first",
            file.display(),
            folder.display()
        );
        anyhow::ensure!(
            !file.is_dir(),
            "--admin-context {}: this is a folder; name a file in it",
            file.display()
        );
        // Also a link that leads nowhere is something.
        anyhow::ensure!(
            file.symlink_metadata().is_err(),
            "--admin-context {}: it exists; remove it, or name another file",
            file.display()
        );
        files::create(file, b"").with_context(|| {
            format!(
                "--admin-context {}: name a file that can be written",
                file.display()
            )
        })?;
        Ok(Self { file, kept: false })
    }

    fn fill(&self, bytes: &[u8]) -> anyhow::Result<()> {
        File::options()
            .write(true)
            .open(self.file)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn keep(mut self) {
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

/// Whether there is nothing there: no folder, or an empty one.
fn is_vacant(dir: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", dir.display())),
    }
}

fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}

fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))
}

#[cfg(test)]
mod tests;
