//! `cargo xtask up` and `down`: a cluster and an agent on this machine, watching real containers.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::dockerd::{Dockerd, Layout};
use crate::packages::{self, FOR_DOCKER};
use crate::service::Services;
use crate::workspace::{Workspace, run};

/// The private daemon's name, when the machine has none that answers.
const DOCKERD: &str = "up";
/// A first start makes keys and opens empty stores; loaded two-core machines get ten times what it takes.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// In the order of their start; `down` stops them in reverse.
const SERVICES: &[&str] = &["controller", "agent"];

/// What is running, for the steps that use it.
#[derive(Debug)]
struct Scene {
    folder: PathBuf,
    services: Services,
    programs: PathBuf,
    docker_host: String,
}

/// Starts everything and runs the main job. Running it again finds what already runs.
pub(crate) fn up(workspace: &Workspace) -> Result<()> {
    packages::install(&[FOR_DOCKER])?;
    println!("==> building");
    run(&mut workspace.cargo([
        "build",
        "--package",
        "verger-controller",
        "--package",
        "verger-agent",
    ]))?;
    run(&mut workspace.cargo(["build", "--package", "verger-cli"]))?;
    println!("==> docker");
    let docker_host = docker_host()?;
    println!("    {docker_host}");
    let folder = Workspace::up_dir()?;
    let services = Services::at(&folder)?;
    make_private(&folder)?;
    let scene = Scene {
        folder,
        services,
        programs: workspace.program_dir()?,
        docker_host,
    };
    scene.play()
}

/// Stops and removes everything that `up` started. No error when there is nothing.
pub(crate) fn down() -> Result<()> {
    let folder = Workspace::up_dir()?;
    if folder.exists() {
        let services = Services::at(&folder)?;
        for name in SERVICES.iter().rev() {
            services.stop(name)?;
        }
    }
    if rustix::process::geteuid().is_root() {
        Dockerd::remove(&Layout::of(DOCKERD)?)?;
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", folder.display()));
        }
        _ => {}
    }
    println!("nothing of it is left");
    Ok(())
}

/// The private daemon: the scenario starts containers with host mounts and as root, which is nobody else's business.
fn docker_host() -> Result<String> {
    Ok(Dockerd::start(Layout::of(DOCKERD)?, None)?.host())
}

/// The state folder holds keys.
fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("making {} private", folder.display()))
}

impl Scene {
    /// The main job's sequence, one method per step.
    fn play(&self) -> Result<()> {
        self.start_controller()?;
        self.start_agent()?;
        self.show_the_main_job()
    }

    fn start_controller(&self) -> Result<()> {
        println!("==> controller");
        let data = self.folder.join("controller");
        let config = data.join("controller.toml");
        if !config.exists() {
            run(Command::new(self.programs.join("verger-controller"))
                .arg("init")
                .arg("--data-dir")
                .arg(&data))?;
        }
        let mut command = Command::new(self.programs.join("verger-controller"));
        command.arg("run").arg("--config").arg(config);
        self.services.start("controller", command, READY_LIMIT)?;
        println!("    log {}", self.services.log("controller").display());
        Ok(())
    }

    fn start_agent(&self) -> Result<()> {
        println!("==> agent");
        let mut command = Command::new(self.programs.join("verger-agent"));
        command
            .arg("run")
            .arg("--config")
            .arg(self.folder.join("agent/agent.toml"));
        command.env("DOCKER_HOST", &self.docker_host);
        self.services.start("agent", command, READY_LIMIT)?;
        println!("    log {}", self.services.log("agent").display());
        Ok(())
    }

    /// Blesses a running container, lets it drift, and shows each finding.
    fn show_the_main_job(&self) -> Result<()> {
        bail!(
            "the main job is not written yet; containers can be started at {}",
            self.docker_host
        )
    }
}
