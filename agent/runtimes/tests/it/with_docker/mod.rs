//! What needs root and a Docker daemon, or root's Podman.

mod daemon;
mod disturbance;
mod evidence;
mod hostile;
mod live;
mod mounts;
mod podman;
mod program;
mod relay;
mod threads;

use verger_agent_runtimes::conformance::conformance;

use daemon::{Daemon, unique};

#[tokio::test]
async fn docker_conforms() {
    let daemon = Daemon::connect().await;
    conformance(&daemon.runtime(), &daemon, &unique("conformance"))
        .await
        .unwrap();
}
