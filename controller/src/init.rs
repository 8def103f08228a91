//! Founding a cluster.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::{Action, Command, Response};
use verger_transport::{
    Authority, Identity, KeyPair, Peer, Purpose, SpiffeId, certificate_pem, files, spki_pin,
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

pub(crate) async fn init(config: &Config, args: &InitArgs) -> anyhow::Result<()> {
    let InitArgs {
        trust_root,
        admin,
        admin_context,
    } = args;
    let envelope =
        std::fs::read(trust_root).with_context(|| format!("cannot read {}", trust_root.display()))?;
    let person = admin.parse().with_context(|| format!("--admin {admin}"))?;
    anyhow::ensure!(
        !admin_context.exists(),
        "{} exists; remove it, or name another file",
        admin_context.display()
    );
    make_private_dir(&config.data_dir)?;
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
    let cluster = match founded? {
        Response::Founded(cluster) => cluster.hex(),
        Response::Refused(reason) => {
            // Nothing was founded: leave the folder as it was found, so that the next attempt can succeed.
            std::fs::remove_dir_all(&raft_dir)
                .with_context(|| format!("cannot remove {}", raft_dir.display()))?;
            anyhow::bail!("{}: {reason}", trust_root.display());
        }
        other => anyhow::bail!("the state machine answered {other:?}"),
    };
    let pki = config.pki_dir();
    make_private_dir(&pki)?;
    let members = Authority::create(&pki, Purpose::Members, &cluster)?;
    Authority::create(&pki, Purpose::Agents, &cluster)?;
    let people = Authority::create(&pki, Purpose::People, &cluster)?;
    let key = KeyPair::generate()?;
    let id = SpiffeId {
        cluster: cluster.clone(),
        peer: Peer::Person(person),
    };
    let issued = people.issue(
        &key.request()?,
        &id,
        Duration::from_secs(ADMIN_DAYS * 86_400),
        &[],
    )?;
    let identity = Identity::new(issued.chain, &key);
    let context = serde_json::json!({
        "clusterId": cluster,
        "addresses": [config.address()],
        "memberCas": [certificate_pem(members.certificate())],
        "certificate": identity.chain_pem(),
        "key": identity.key_pem(),
        "person": admin,
    });
    files::create(admin_context, &serde_json::to_vec_pretty(&context)?)?;
    let pin = spki_pin(members.certificate()).context("the members' authority has no readable key")?;
    writeln!(
        std::io::stdout(),
        "Founded cluster {cluster}\nMembers' authority {pin}\nContext of {admin}: {}\nNext: verger-controller run",
        admin_context.display()
    )?;
    Ok(())
}

fn make_private_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))
}
