//! Running: the parts put together, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use verger_agent_core::freshness::Freshness;
use verger_agent_core::ledger::LedgerState;
use verger_agent_core::report::{Pace, Report};
use verger_agent_core::session::{Offers, Session, Timing};
use verger_agent_core::store::{LedgerStore, SpoolStore};
use verger_agent_nftables::Nftables;
use verger_agent_runtimes::disk::Disk;
use verger_agent_runtimes::docker::{DockerConfig, DockerDisk, DockerRuntime};
use verger_agent_runtimes::podman::{PodmanDisk, PodmanRuntime};
use verger_agent_runtimes::proc::MountWatch;
use verger_policy::facts::Evidence;
use verger_proto::agent::v1 as pb;

use crate::clock::Clock;
use crate::config::Config;
use crate::confirmed;
use crate::controller::Controllers;
use crate::enforcement::Enforcement;
use crate::enrolment::Enrolment;
use crate::floor::FloorFile;
use crate::gate::answers::{self, Answers};
use crate::gate::filters::Filters;
use crate::gate::standing::Wanted;
use crate::gate::watching::{self, Watched};
use crate::gate::{listening, refused};
use crate::launches::Launches;
use crate::proxy::{self, Doors, Front, Remote};
use crate::reconciler::{Reconciler, ReconcilerPorts};
use crate::report::{self, Numbers, ReportPorts};
use crate::session::{self, SessionPorts};
use crate::signing::HeadSigner;

/// Tasks that have not ended by then are cut.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let enrolment = Enrolment::load(&config)?;
    let dir = config.store_dir();
    let (ledger, spool) = tokio::task::spawn_blocking(move || {
        verger_agent_store::open(&dir, &verger_agent_store::Options::default())
    })
    .await??;
    let floor = FloorFile::new(&config, enrolment.cluster);
    let state = LedgerState::restore(enrolment.agent.clone(), ledger.load()?)?;
    anyhow::ensure!(
        state.cluster_id() == enrolment.cluster,
        "the ledger in {} is of another cluster than {}",
        config.store_dir().display(),
        config.cluster_file().display()
    );
    let kept = floor.kept(state.position().is_some())?;
    let confirmed = confirmed::load(&config, &enrolment.cluster);
    let state = state.above(kept.floor).confirming(confirmed);
    if let Some(floor) = state.set_back() {
        tracing::error!(
            epoch = floor.epoch,
            "the ledger is behind what this host had accepted; nothing below that is taken"
        );
    }
    let clock = Clock::start();
    let freshness = Freshness::new(clock.now(), kept.time);
    let usage = spool.usage()?;
    tracing::info!(agent = %enrolment.agent, epoch = state.position().map(|(epoch, _)| epoch), waiting = usage.pending(), "starting");
    let remote = config.proxy.as_ref().and_then(|proxy| proxy.remote);
    let door = remote.map(|address| Ok::<_, anyhow::Error>((address, Arc::new(enrolment.door(&config)?))));
    let door = door.transpose()?;
    let own_door = door.as_ref().map(|(_, door)| Arc::clone(door));
    let controllers = Arc::new(Controllers::new(&enrolment, &config, own_door)?);
    let (ledger, spool): (Arc<dyn LedgerStore>, Arc<dyn SpoolStore>) = (Arc::new(ledger), Arc::new(spool));
    let (adopted, in_force) = watch::channel(Arc::new(state.clone()));
    let (status, status_seen) = watch::channel(Arc::new(pb::Status::default()));
    let (spooled, spooled_seen) = watch::channel(usage.next_sequence - 1);
    let (known, freshness_seen) = watch::channel(freshness.clone());
    let (contradicted, contradiction) = watch::channel(Numbers::default());
    let (offers, offers_seen) = watch::channel(Offers::default());
    let (mounts, mounts_changed) = MountWatch::start().context("cannot watch mounts")?;
    let docker = DockerConfig {
        bundle_roots: config.oci_roots.clone(),
        mark: config.tripwire.as_ref().map(|tripwire| tripwire.mark.clone()),
        ..DockerConfig::new(&config.docker_socket)
    };
    let enforcement = enforcement(&config)?;
    let gates = match &config.gate_socket {
        Some(path) => Some(listening::at(path)?),
        None => None,
    };
    let mut doors = Doors::default();
    if let Some(proxy) = &config.proxy {
        let mark = config.tripwire.as_ref().map(|tripwire| tripwire.mark.clone());
        doors.fronts.push(Front::listen(proxy.front(), mark)?);
        if let Some((address, door)) = door {
            doors.remote = Some(Remote::listen(address, door, Arc::clone(&controllers)).await?);
        }
    }
    if let Some(proxy) = &config.podman_proxy {
        doors.fronts.push(Front::listen(proxy.front(), None)?);
    }
    let roles = in_force.clone();
    let docker = Arc::new(DockerRuntime::new(docker));
    let launches = Arc::new(Launches::default());
    let filters = Arc::new(Filters::open(config.filters_dir())?);
    let watched = match &gates {
        Some(_) => Watched::NotYet,
        None => Watched::Not,
    };
    let (ways, doors_seen) = watch::channel(watched);
    let answering = Answers {
        bundles: Arc::new(Disk::new(
            DockerDisk::new(config.docker_data_root.clone(), config.oci_roots.clone()),
            PodmanDisk::new(config.podman_roots()),
        )),
        ledger: in_force.clone(),
        freshness: freshness_seen.clone(),
        clock,
        in_force: std::sync::Mutex::default(),
        enforcement: enforcement.clone(),
        launches: Arc::clone(&launches),
        filters: Arc::clone(&filters),
    };
    let ports = ReconcilerPorts {
        runtimes: vec![
            Arc::clone(&docker) as _,
            Arc::new(PodmanRuntime::new(config.podman_roots())),
        ],
        spool: Arc::clone(&spool),
        mounts,
        mounts_changed,
        ledger: in_force,
        status,
        spooled,
        contradiction,
        clock,
        freshness: freshness_seen,
        offers: offers_seen,
        doors: doors_seen,
        gate_folder: config.gate_socket.as_ref().map(|_| config.gate_folder.clone()),
        strays: config.tripwire.as_ref().map(|tripwire| tripwire.strays.clone()),
        enforcement,
        launches: Arc::clone(&launches),
        filters,
    };
    let reconciler = Reconciler::new(ports, config.scan_every())?;
    let session = Session::new(state, kept, freshness, Timing::default(), random()?);
    let report = Report::new(&usage, Pace::default(), random()?);
    let session_ports = SessionPorts {
        controllers: Arc::clone(&controllers),
        ledger,
        adopted,
        offers,
        status: status_seen,
        clock,
        known,
        floor,
    };
    let report_ports = ReportPorts {
        controllers: Arc::clone(&controllers),
        spool,
        spooled: spooled_seen,
        contradicted,
        signer: Arc::new(HeadSigner::load(&enrolment, &config)?),
    };
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(reconciler.run(stop.clone()));
    tasks.spawn(session::drive(session, session_ports, stop.clone()));
    tasks.spawn(report::drive(report, report_ports, stop.clone()));
    if let Some(listener) = gates {
        tasks.spawn(answers::serve(listener, answering, stop.clone()));
        let places = config.places(&config.gate_folder);
        let own_uid = Evidence::Seen(rustix::process::geteuid().as_raw());
        let wanted = Wanted::of(config.gate_socket.as_deref(), own_uid);
        tasks.spawn(watching::watch(
            places,
            wanted,
            Arc::clone(&docker),
            ways,
            stop.clone(),
        ));
        tasks.spawn(refused::start_again(docker, stop.clone()));
    }
    if !doors.fronts.is_empty() {
        tasks.spawn(proxy::serve(doors, roles, launches, stop.clone()));
    }
    let renewal = stop.clone();
    tasks.spawn(async move { controllers.keep_renewed(&config, renewal).await });
    // Whoever is told that it is ready may end it at once.
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    notify(&[sd_notify::NotifyState::Ready]);
    let ended = attend(&mut tasks, signals).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    stop.cancel();
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
        tracing::warn!("a task did not end in time and is cut");
    }
    ended
}

fn enforcement(config: &Config) -> anyhow::Result<Enforcement> {
    let (program, namespace) = (config.nft_program.clone(), config.network_namespace.clone());
    Enforcement::start(move || {
        if let Some(namespace) = namespace {
            Nftables::enter(&namespace).context("`network_namespace`")?;
        }
        Ok(Nftables::new(program)?)
    })
}

async fn attend(
    tasks: &mut JoinSet<()>,
    (mut terminate, mut interrupt): (Signal, Signal),
) -> anyhow::Result<()> {
    let period = sd_notify::watchdog_enabled().map_or(Duration::from_secs(10), |limit| limit / 3);
    let mut pet = tokio::time::interval(period);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            ended = tasks.join_next() => {
                if let Some(Err(error)) = ended {
                    anyhow::bail!("a part of the agent failed: {error}");
                }
                anyhow::bail!("a part of the agent ended by itself");
            }
            // All parts share this thread: that it gets here says that none of them hangs.
            _ = pet.tick() => notify(&[sd_notify::NotifyState::Watchdog]),
        }
    }
}

fn random() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(u64::from_ne_bytes(bytes))
}

// Without systemd there is nobody to tell.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
