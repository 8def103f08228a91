//! Founding a cluster.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::{Member, MemberError};
use verger_controller_state::{Action, Command, Response};
use verger_transport::{Authority, Label, Purpose, spki_pin};

use crate::adapters::SystemAmbient;
use crate::config::Config;
use crate::login::{NewLogin, Reserved, context_of};
use crate::seat::{FIRST, Seat};
use crate::wire_up;

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
            "another `init` or `restore` is at work in {}; wait for it",
            config.data_dir.display()
        )
    })?;
    let draft = Draft::begin(config)?;
    let mut context = Reserved::new("--admin-context", admin_context)?;

    let login = NewLogin::generate()?;
    let cluster = found(&draft.config, trust_root, envelope, &person, &login).await?;
    let (handed_over, pin) = authorities(&draft.config, &cluster, &person, &login)?;
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
///
/// The first person's login is in it, like everybody's: nobody else gets one of that name unnoticed.
async fn found(
    config: &Config,
    trust_root: &Path,
    envelope: Vec<u8>,
    person: &Label,
    login: &NewLogin,
) -> anyhow::Result<String> {
    let raft_dir = config.raft_dir();
    make_private_dir(&raft_dir)?;
    Member::create(&raft_dir)?;
    let member = wire_up::open_alone(config, FIRST).await?;
    let command = |action| Command::of_member(&config.member, SystemAmbient.now(), action);
    let founded = member
        .propose(&command(Action::Found {
            trust_root: envelope.into(),
        }))
        .await;
    let given = match &founded {
        Ok(Response::Founded(_)) => {
            let action = Action::CreateLogin {
                person: person.to_string(),
                key: login.digest()?,
            };
            member.propose(&command(action)).await.map(Some)
        }
        _ => Ok(None),
    };
    member.stop().await;
    match (founded?, given?) {
        (Response::Founded(cluster), Some(Response::LoginCreated)) => {
            Seat::new(FIRST, cluster.hex()).keep(&raft_dir)?;
            Ok(cluster.hex())
        }
        (Response::Refused(reason), _) => anyhow::bail!("{}: {reason}", trust_root.display()),
        (_, Some(Response::Refused(reason))) => anyhow::bail!("--admin {person}: {reason}"),
        other => anyhow::bail!("the state machine answered {other:?}"),
    }
}

/// Makes the three authorities; gives the first person's context and the members' pin.
fn authorities(
    config: &Config,
    cluster: &str,
    person: &Label,
    login: &NewLogin,
) -> anyhow::Result<(Vec<u8>, String)> {
    let pki = config.pki_dir();
    make_private_dir(&pki)?;
    let members = Authority::create(&pki, Purpose::Members, cluster)?;
    Authority::create(&pki, Purpose::Agents, cluster)?;
    let people = Authority::create(&pki, Purpose::People, cluster)?;
    let context = context_of(config, cluster, person, login, &people, &members, None)?;
    let pin = spki_pin(members.certificate()).context("the members' authority has no readable key")?;
    Ok((context, pin))
}

/// A founding that is not yet in place. Dropped, it is removed.
pub(crate) struct Draft {
    /// The member's configuration, with the files in the draft's folder.
    pub(crate) config: Config,
}

impl Draft {
    /// Clears away what an attempt cut short left, and refuses where a cluster is.
    pub(crate) fn begin(config: &Config) -> anyhow::Result<Self> {
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
                peer_listen: config.peer_listen,
                peer_address: config.peer_address.clone(),
                log: config.log,
                person_certificate_hours: config.person_certificate_hours,
                oidc: None,
            },
        })
    }

    /// Moves authorities and stores to their places, the stores last.
    pub(crate) fn put_in_place(self, config: &Config, folder: &File) -> anyhow::Result<()> {
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

/// Whether there is nothing there: no folder, or an empty one.
pub(crate) fn is_vacant(dir: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", dir.display())),
    }
}

pub(crate) fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}

/// Makes a folder, and those above it, that nobody else may look into.
pub(crate) fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))
}

#[cfg(test)]
pub(crate) mod tests;
