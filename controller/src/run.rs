//! Serving, until told to stop.

use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use verger_controller_api::quotas::QuotasLayer;

use crate::config::Config;
use crate::peers::{self, PeerDoor};
use crate::wire_up::{Opened, WiredUp, open_member, wire_up};
use crate::{
    currency, emergency, equality, hearing, member_key, renewal, room, stamper, timekeeper, version, watchman,
};

/// A silent connection is asked this often whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Open streams are cut this long after the signal.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Streams of one connection at a time.
const STREAMS: u32 = 256;
/// Bytes that a peer may send on a connection before anybody reads them: calls that wait hold no more.
const UNREAD: u32 = 256 << 10;

pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let key = member_key::load(&config)?;
    verger_controller_raft::await_space(&config.raft_dir()).await;
    let opened = open_member(&config).await?;
    let start = timekeeper::Start::of(&opened.member);
    let stop = CancellationToken::new();
    // What is on its way here is answered by what the others say.
    let apart = CancellationToken::new();
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut renewing = tokio::spawn(renewal::keep_renewed(
        opened.renewal(&config),
        signal(SignalKind::hangup())?,
    ));
    // First of all: without its peers it may not come to know anything.
    let mut peering = peering(&config, &opened, &apart).await?;
    let telling = tokio::spawn(hearing::keep_telling(
        std::sync::Arc::clone(&opened.member),
        std::sync::Arc::clone(&opened.peers),
        std::sync::Arc::clone(&opened.fleet),
        opened.start,
    ));
    let mut comparing = tokio::spawn(equality::keep_comparing(
        std::sync::Arc::clone(&opened.member),
        config.raft_dir(),
    ));
    let aside = tokio::spawn(room::keep_leading_where_space_is(std::sync::Arc::clone(
        &opened.member,
    )));
    let (making_up, made_up) = oneshot::channel();
    let time = tokio::spawn(timekeeper::keep_time(
        std::sync::Arc::clone(&opened.member),
        config.member.clone(),
        start,
        making_up,
    ));
    let (moved, node) = (std::sync::Arc::clone(&opened.member), config.node());
    let moving = tokio::spawn(async move { moved.keep_known_as(node).await });
    let mut signals = signals;
    let starting = async {
        opened.ready().await?;
        let wired = wire_up(&config, &opened).await?;
        if opened.decides_alone() {
            // Nobody is served before that.
            made_up.await.context(
                "what keeps the cluster's time has ended; see what this member logged, and start it again",
            )?;
        }
        anyhow::Ok(wired)
    };
    let mut wired = tokio::select! {
        wired = starting => wired?,
        diverged = &mut comparing => return Err(equality::why(diverged)),
        ended = &mut peering => return ended?.map_err(Into::into),
        why = opened.member.failure() => return Err(failed(&why)),
        why = &mut renewing => return Err(why?),
        _ = signals.0.recv() => return Ok(()),
        _ = signals.1.recv() => return Ok(()),
    };
    let fresh = key.map(|key| {
        let member = std::sync::Arc::clone(&wired.member);
        tokio::spawn(stamper::keep_fresh(member, key, config.member.clone()))
    });
    if fresh.is_none() {
        tracing::warn!("this member has no key (verger-controller member-key): it says nothing of freshness");
    }
    let mut record = tokio::spawn(wired.keep_record());
    let watch = tokio::spawn(watchman::keep_watch(
        std::sync::Arc::clone(&wired.member),
        std::sync::Arc::clone(&wired.fleet),
        config.member.clone(),
    ));
    let raising = tokio::spawn(version::keep_raising(
        std::sync::Arc::clone(&wired.member),
        config.member.clone(),
    ));
    let emergency = tokio::spawn(emergency::serve(
        config.emergency_socket(),
        std::sync::Arc::clone(&wired.member),
        config.member.clone(),
    ));
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let enrol = TcpListener::bind(config.enrol_listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.enrol_listen))?;
    tracing::info!(listen = %listener.local_addr()?, enrol = %enrol.local_addr()?, "serving");
    let serves = wired.serves();
    let connections = ReceiverStream::new(verger_transport::accept_known(
        listener,
        &opened.tls,
        move |certificate| serves(certificate),
    ));
    let enrolments = ReceiverStream::new(verger_transport::accept_enrolments(enrol, &opened.tls));
    let api = std::mem::take(&mut wired.api);
    let enrolment = std::mem::take(&mut wired.enrolment);
    // One over both listeners.
    let quotas = QuotasLayer::new(wired.serves());
    let server = || {
        Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(UNREAD)
            .initial_connection_window_size(UNREAD)
            .layer(wired.watch())
            // Within: what is over a quota is a refused call.
            .layer(quotas.clone())
            .layer(wired.check_logins())
    };
    let serving = tokio::spawn(
        server()
            .add_routes(api)
            .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned()),
    );
    let enrolling = tokio::spawn(
        server()
            .timeout(KEEPALIVE)
            .add_routes(enrolment)
            .serve_with_incoming_shutdown(enrolments, stop.clone().cancelled_owned()),
    );
    wired
        .health
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    let tls = std::sync::Arc::clone(&opened.tls);
    let asking = tokio::spawn(currency::keep_asking(
        std::sync::Arc::clone(&wired.member),
        wired.health.clone(),
        move || tls.end_all(),
    ));
    // Whoever is told that it is ready may end it at once.
    notify(&[sd_notify::NotifyState::Ready]);
    let ended = tokio::select! {
        ended = attend(&wired, (serving, enrolling, peering), signals, &mut renewing, (&stop, &apart)) => ended,
        // At once: nobody is served any more of what is wrong.
        diverged = &mut comparing => return Err(equality::why(diverged)),
        why = wired.member.failure() => return Err(failed(&why)),
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    renewing.abort();
    comparing.abort();
    let _ = comparing.await;
    for task in [time, watch, raising, emergency, telling, asking, aside, moving]
        .into_iter()
        .chain(fresh)
    {
        task.abort();
        let _ = task.await;
    }
    if tokio::time::timeout(DRAIN_LIMIT, wired.write_rest(&mut record))
        .await
        .is_err()
    {
        // It may have ended: what came after it is late, then.
        record.abort();
        tracing::warn!("calls that were refused last are not on record");
    }
    drop(wired.api);
    drop(opened);
    match std::sync::Arc::try_unwrap(wired.member) {
        Ok(member) => member.stop().await,
        // A stream that was cut has not let go yet; the log is durable, nothing is lost.
        Err(member) => {
            tracing::info!("stopping with streams open");
            member.flush().await;
        }
    }
    ended
}

/// Why a member ends whose Raft has stopped by itself: it would serve nobody, and hold its place.
fn failed(why: &str) -> anyhow::Error {
    tracing::error!(why, "this member cannot go on, and stops");
    anyhow::anyhow!("this member cannot go on: {why}")
}

/// Serves peers, where the configuration says so.
async fn peering(config: &Config, opened: &Opened, stop: &CancellationToken) -> anyhow::Result<Serving> {
    let Some(address) = config.peer_listen else {
        let stop = stop.clone();
        return Ok(tokio::spawn(async move {
            stop.cancelled().await;
            Ok(())
        }));
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(peers = %listener.local_addr()?, "serving other members");
    let door = PeerDoor {
        member: std::sync::Arc::clone(&opened.member),
        fleet: std::sync::Arc::clone(&opened.fleet),
    };
    Ok(tokio::spawn(peers::serve(
        listener,
        &opened.tls,
        door,
        stop.clone(),
    )))
}

type Serving = tokio::task::JoinHandle<Result<(), tonic::transport::Error>>;

/// Pets the watchdog, until a signal comes or a server fails.
async fn attend(
    wired: &WiredUp,
    (mut serving, mut enrolling, mut peering): (Serving, Serving, Serving),
    (mut terminate, mut interrupt): (Signal, Signal),
    renewing: &mut tokio::task::JoinHandle<anyhow::Error>,
    (stop, apart): (&CancellationToken, &CancellationToken),
) -> anyhow::Result<()> {
    let mut pet = tokio::time::interval(watchdog());
    let why = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            ended = &mut serving => break by_itself("the API", ended),
            ended = &mut enrolling => break by_itself("enrolment", ended),
            ended = &mut peering => break by_itself("what serves the other members", ended),
            why = &mut *renewing => break Err(why?),
            // The state must still be readable: a member that hangs is restarted.
            _ = pet.tick() => {
                wired.member.read(|state| state.revision());
                notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    };
    tracing::info!("stopping");
    match wired.member.step_aside().await {
        Ok(false) => {}
        Ok(true) => tracing::info!("another member leads"),
        Err(error) => tracing::warn!(%error, "no other member leads yet: the others choose one"),
    }
    stop.cancel();
    if !serving.is_finished() && tokio::time::timeout(DRAIN_LIMIT, &mut serving).await.is_err() {
        serving.abort();
    }
    enrolling.abort();
    apart.cancel();
    peering.abort();
    if !peering.is_finished() {
        let _ = peering.await;
    }
    why
}

/// Why a member ends of which a part ended that never does.
fn by_itself(
    what: &str,
    ended: Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>,
) -> anyhow::Result<()> {
    ended??;
    anyhow::bail!("{what} stopped by itself")
}

fn watchdog() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(10), |limit| limit / 3)
}

// Without systemd there is nobody to tell.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
