//! `cargo xtask up` and `down`: a cluster and an agent on this machine, watching real containers.

mod main_job;

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::main_job::MainJob;
use crate::dockerd::{Dockerd, Layout};
use crate::packages::{self, FOR_DOCKER};
use crate::process::ProcessRef;
use crate::service::Services;
use crate::workspace::{Workspace, capture, run};

/// A first start makes keys and opens empty stores; loaded two-core machines get ten times what it takes.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// The agent's id.
const HOST: &str = "this-host";
/// In the order of their start; `down` stops them in reverse.
const SERVICES: &[&str] = &["controller", "agent"];

/// Where a scene is played: the usual place, or one of a rehearsal's own beside it.
#[derive(Debug, Clone)]
struct Stage {
    folder: PathBuf,
    /// Of the private daemon: the scenario starts containers with host mounts and as root, which is nobody else's business.
    dockerd: Layout,
    /// Where the controller listens: loopback only.
    controller: String,
    enrolment: String,
}

impl Stage {
    fn usual() -> Result<Self> {
        Ok(Self {
            folder: Workspace::up_dir()?,
            dockerd: Layout::of("up")?,
            controller: "127.0.0.1:7400".to_owned(),
            enrolment: "127.0.0.1:7401".to_owned(),
        })
    }

    /// A place of this process alone.
    fn rehearsal() -> Result<Self> {
        let name = format!("rehearsal-{}", std::process::id());
        let free = || -> Result<String> {
            let listener = TcpListener::bind("127.0.0.1:0").context("finding a free port")?;
            Ok(listener.local_addr()?.to_string())
        };
        Ok(Self {
            folder: Workspace::up_dir()?.with_file_name(format!("verger-{name}")),
            dockerd: Layout::of(&name)?,
            controller: free()?,
            enrolment: free()?,
        })
    }
}

/// What is running, for the steps that use it.
#[derive(Debug)]
struct Scene {
    stage: Stage,
    services: Services,
    programs: PathBuf,
    docker_host: String,
}

/// Starts everything and runs the main job. Running it again finds what already runs.
pub(crate) fn up(workspace: &Workspace) -> Result<()> {
    play(workspace, Stage::usual()?, None)
}

/// Stops and removes everything that `up` started. No error when there is nothing.
pub(crate) fn down() -> Result<()> {
    clear(&Stage::usual()?)?;
    println!("nothing of it is left");
    Ok(())
}

/// `up` and `down` in a place of their own, beside whatever is up; `times` times `up`, which must find what runs already.
pub(crate) fn rehearse(workspace: &Workspace, times: u32) -> Result<()> {
    let stage = Stage::rehearsal()?;
    let began = Instant::now();
    let played = (0..times).try_for_each(|_| play(workspace, stage.clone(), Some(ProcessRef::current()?)));
    let took = began.elapsed();
    clear(&stage)?;
    played?;
    if stage.folder.exists() || stage.dockerd.socket().exists() {
        bail!("`down` left something in {}", stage.folder.display());
    }
    println!(
        "the main job ran {times} x in {:.0} s: {} findings of real drift, an exception and its end; nothing is left",
        took.as_secs_f64(),
        main_job::EXPECTED.len()
    );
    Ok(())
}

fn play(workspace: &Workspace, stage: Stage, owner: Option<ProcessRef>) -> Result<()> {
    packages::install(&[FOR_DOCKER])?;
    println!("==> building");
    // The selection that `test` builds, so that neither rebuilds what the other made.
    run(&mut workspace.cargo(["build", "--workspace", "--bins"]))?;
    println!("==> docker");
    let docker_host = Dockerd::start(stage.dockerd.clone(), owner)?.host();
    println!("    {docker_host}");
    let services = Services::at(&stage.folder)?;
    make_private(&stage.folder)?;
    let scene = Scene {
        stage,
        services,
        programs: workspace.program_dir()?,
        docker_host,
    };
    scene.play()
}

fn clear(stage: &Stage) -> Result<()> {
    let folder = &stage.folder;
    if folder.exists() {
        let services = Services::at(folder)?;
        for name in SERVICES.iter().rev() {
            services.stop(name)?;
        }
    }
    if rustix::process::geteuid().is_root() {
        Dockerd::remove(&stage.dockerd)?;
    }
    remove_folder(folder)
}

/// The state folder holds keys.
fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("making {} private", folder.display()))
}

impl Scene {
    fn play(&self) -> Result<()> {
        self.start_controller()?;
        self.start_agent()?;
        MainJob::new(self).show()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.stage.folder.join(name)
    }

    fn context(&self) -> PathBuf {
        self.file("context.json")
    }

    fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    /// `verger`, with this cluster's context.
    fn verger(&self) -> Command {
        let mut command = self.program("verger");
        command.env("VERGER_CONTEXT", self.context());
        command
    }

    fn start_controller(&self) -> Result<()> {
        println!("==> controller");
        let config = self.file("controller.toml");
        let key = self.file("sealing-key.pem");
        let trust_root = self.file("trust-root.json");
        let admin = self.file("admin-context.json");
        // Written last, so that an attempt cut short is made again from the start.
        if !self.context().exists() {
            for leftover in [&key, &trust_root, &admin] {
                remove_file(leftover)?;
            }
            remove_folder(&self.file("controller"))?;
            fs::write(
                &config,
                format!(
                    "data_dir = {:?}\nlisten = {:?}\nenrol_listen = {:?}\n",
                    self.file("controller"),
                    self.stage.controller,
                    self.stage.enrolment,
                ),
            )?;
            run(self.verger().args(["keys", "generate", "--out"]).arg(&key))?;
            let mut member = self.program("verger-controller");
            let member = capture(member.arg("--config").arg(&config).arg("member-key"))?;
            run(self
                .verger()
                .args([
                    "trust",
                    "init",
                    "--name",
                    "you",
                    "--member",
                    member.trim(),
                    "--key",
                ])
                .arg(&key)
                .arg("--out")
                .arg(&trust_root))?;
            run(self
                .program("verger-controller")
                .arg("--config")
                .arg(&config)
                .args(["init", "--admin", "you", "--trust-root"])
                .arg(&trust_root)
                .arg("--admin-context")
                .arg(&admin))?;
            run(self
                .verger()
                .args(["context", "use"])
                .arg(&admin)
                .arg("--key")
                .arg(&key))?;
        }
        let mut command = self.program("verger-controller");
        command.arg("--config").arg(config).arg("run");
        self.services.start("controller", command, READY_LIMIT)?;
        println!("    log {}", self.services.log("controller").display());
        Ok(())
    }

    fn start_agent(&self) -> Result<()> {
        println!("==> agent");
        let config = self.file("agent.toml");
        fs::write(
            &config,
            format!(
                // What this machine's Podman runs is not the demonstration's.
                "data_dir = {:?}\ndocker_socket = {:?}\noci_roots = [{:?}]\nnetwork_namespace = {:?}\npodman_graph_root = {:?}\npodman_run_root = {:?}\n",
                self.file("agent"),
                self.docker_host.trim_start_matches("unix://"),
                self.stage.dockerd.bundles(),
                self.stage.dockerd.namespace_path(),
                self.file("podman/graph"),
                self.file("podman/run"),
            ),
        )?;
        if !self.file("agent/cluster.json").exists() {
            remove_folder(&self.file("agent"))?;
            let output = self
                .verger()
                .args(["token", "create", "--agent", HOST])
                .output()?;
            let text = String::from_utf8(output.stdout)?;
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix("verger-agent "))
                .with_context(|| format!("no join command: {}", String::from_utf8_lossy(&output.stderr)))?;
            run(self
                .program("verger-agent")
                .arg("--config")
                .arg(&config)
                .args(line.split_whitespace()))?;
        }
        let mut command = self.program("verger-agent");
        command.arg("--config").arg(config).arg("run");
        self.services.start("agent", command, READY_LIMIT)?;
        println!("    log {}", self.services.log("agent").display());
        Ok(())
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
