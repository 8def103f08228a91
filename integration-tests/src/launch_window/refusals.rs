//! Launches whose network cannot be closed: refused, where it is to be.

use anyhow::{Result, ensure};

use super::host::Host;
use super::ways::Ways;
use crate::launch::Act;
use crate::scene::Docker;

/// A network, the image that is launched in it, and what is said of it where that is refused.
struct Launch {
    name: &'static str,
    network: String,
    image: &'static str,
    says: Option<&'static str>,
}

/// Tries them all, and gives how many ran and how many were refused in the right words.
pub(super) fn tried(docker: &Docker, act: &Act, host: &Host, ways: &Ways) -> Result<(usize, usize)> {
    let (mut ran, mut refused) = (0, 0);
    for launch in launches(host, ways) {
        let name = docker.name(launch.name);
        let mut command = docker.command();
        command
            .args(["run", "--detach", "--name", &name, "--network", &launch.network])
            .args(["--volume", &act.volume(), launch.image]);
        // Both images run a shell, one of them by its own word.
        if launch.image != APP {
            command.args(["sh", "-c"]);
        }
        let output = command.arg(act.then(&name, "exec sleep 600")).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            act.wait_for(&name, "")?;
            ran += 1;
        } else {
            let says = launch.says.unwrap_or("nothing: it is to run");
            ensure!(
                told.contains("verger-gate: ") && told.contains(says),
                "{}: {told}",
                launch.name
            );
            ensure!(!act.has(&name, ""), "{} was refused, and ran", launch.name);
            refused += 1;
        }
        docker.remove(&name)?;
    }
    Ok((ran, refused))
}

/// How many are to be refused, and how many not.
pub(super) fn counts(host: &Host, ways: &Ways) -> (usize, usize) {
    let launches = launches(host, ways);
    let refused = launches.iter().filter(|launch| launch.says.is_some()).count();
    (refused, launches.len() - refused)
}

const APP: &str = "verger-test/app";
const OTHER: &str = "verger-test/busybox";

fn launches(host: &Host, ways: &Ways) -> Vec<Launch> {
    let launch = |name, network: &str, image, says| Launch {
        name,
        network: network.to_owned(),
        image,
        says,
    };
    let of = |container: &str| format!("container:{container}");
    let stranger = Some("not of the same workload");
    vec![
        launch("in-host", "host", APP, Some("the host's network")),
        launch("in-macvlan", host.macvlan(), APP, Some("(macvlan)")),
        launch("joins-twin", &of(ways.twin()), APP, stranger),
        launch("twin-joins", &of(ways.closed()), OTHER, stranger),
        launch("joins-own", &of(ways.closed()), APP, None),
        launch("in-none", "none", APP, None),
        launch("twin-in-host", "host", OTHER, None),
        launch("twin-in-macvlan", host.macvlan(), OTHER, None),
    ]
}
