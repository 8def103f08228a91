//! Behind gate and proxy, what is found of a process that an exec started names who started it.

use std::path::{Path, PathBuf};
use std::process::Command;

use verger_integration_tests::programs::Programs;
use verger_integration_tests::runtime_proxy::{self, Front};
use verger_integration_tests::scene::{Docker, checked};

/// Its daemon: nobody else's launches wait for this scene's agent.
const DAEMON: &str = "started-by";

struct Daemon(PathBuf);

impl Daemon {
    fn start(programs: &Programs) -> Self {
        let daemon = Self(programs.path("xtask").unwrap());
        daemon.xtask("start");
        daemon
    }

    fn xtask(&self, action: &str) {
        let mut command = Command::new(&self.0);
        checked(command.args(["dockerd", action, "--name", DAEMON])).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.xtask("stop");
    }
}

#[test]
fn what_is_found_of_a_process_names_who_had_it_started() {
    let programs = Programs::find().unwrap();
    let _daemon = Daemon::start(&programs);
    let docker = Docker::at(&Path::new("/run/verger-dockerd").join(DAEMON).join("docker.sock"));
    let front = Front::behind_the_gate(&programs, docker).unwrap();
    runtime_proxy::started(&front).unwrap();
}
