//! The Docker daemon the tests run against, and containers in it that go away with the test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerUpdateBody, ExecConfig, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder,
};
use futures::TryStreamExt;
use verger_agent_core::runtime::BoxFuture;
use verger_agent_runtimes::conformance::Launcher;
use verger_agent_runtimes::docker::{DockerConfig, DockerRuntime};
use verger_policy::facts::InstanceId;
use verger_policy::model::RuntimeKind;

/// One static busybox, no default command.
const IMAGE: &str = "verger-test/runtimes:1";
/// Every wait of these tests ends by then.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the test daemon.
pub struct Daemon {
    docker: Docker,
    pub socket: PathBuf,
    made: Mutex<Vec<String>>,
}

impl Daemon {
    /// Connects, and sees that the image is there. Without a daemon the test fails: a skip would read as a pass.
    pub async fn connect() -> Self {
        let host = match std::env::var("VERGER_TEST_DOCKER_HOST") {
            Ok(host) => host,
            Err(_) => panic!(
                "no Docker daemon for tests: run through `cargo xtask test`, or set VERGER_TEST_DOCKER_HOST=unix://SOCKET"
            ),
        };
        let socket = PathBuf::from(
            host.strip_prefix("unix://")
                .expect("VERGER_TEST_DOCKER_HOST is unix://SOCKET"),
        );
        let version = bollard::ClientVersion {
            major_version: 1,
            minor_version: 41,
        };
        let docker = Docker::connect_with_unix(socket.to_str().unwrap(), 60, &version)
            .expect("VERGER_TEST_DOCKER_HOST names a running daemon");
        let daemon = Self {
            docker,
            socket,
            made: Mutex::default(),
        };
        daemon.provide_image().await;
        daemon
    }

    async fn provide_image(&self) {
        if self.docker.inspect_image(IMAGE).await.is_ok() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        for folder in ["bin", "data", "proc", "dev", "sys", "etc", "tmp"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let busybox = ["/usr/bin/busybox", "/bin/busybox"]
            .into_iter()
            .find(|path| std::fs::exists(path).unwrap());
        let busybox = busybox.expect("busybox is installed: apt-get install busybox-static");
        std::fs::copy(busybox, root.path().join("bin/busybox")).unwrap();
        let tar = Command::new("tar")
            .arg("-C")
            .arg(root.path())
            .args(["-c", "."])
            .output()
            .unwrap();
        assert!(
            tar.status.success(),
            "tar: {}",
            String::from_utf8_lossy(&tar.stderr)
        );
        let (repo, tag) = IMAGE.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .build();
        let body = bollard::body_full(tar.stdout.into());
        self.docker
            .create_image(Some(options), Some(body), None)
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
    }

    /// A runtime on the daemon's socket.
    pub fn runtime(&self) -> DockerRuntime {
        DockerRuntime::new(self.config(self.socket.clone()))
    }

    /// A configuration for the daemon, reached through `socket`.
    pub fn config(&self, socket: PathBuf) -> DockerConfig {
        // Daemons of tests keep their exec root beside their socket.
        let beside = self.socket.parent().unwrap();
        let roots = ["exec", "exec-root", "run", "."];
        let bundle = "containerd/daemon/io.containerd.runtime.v2.task/moby";
        DockerConfig {
            bundle_roots: roots.map(|root| beside.join(root).join(bundle)).to_vec(),
            ..DockerConfig::new(socket)
        }
    }

    /// Creates a container that sleeps, changed by `change`.
    pub async fn create(
        &self,
        name: &str,
        change: impl FnOnce(&mut ContainerCreateBody),
    ) -> Result<InstanceId, bollard::errors::Error> {
        let mut body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            cmd: Some(["/bin/busybox", "sleep", "3600"].map(str::to_owned).to_vec()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        change(&mut body);
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let id = self.docker.create_container(Some(options), body).await?.id;
        self.made.lock().unwrap().push(id.clone());
        Ok(InstanceId {
            runtime: RuntimeKind::Docker,
            id,
        })
    }

    /// Creates and starts a container, and gives its first process's pid.
    pub async fn run(&self, name: &str, change: impl FnOnce(&mut ContainerCreateBody)) -> (InstanceId, u32) {
        let id = self.create(name, change).await.unwrap();
        self.docker.start_container(&id.id, None).await.unwrap();
        let state = self
            .docker
            .inspect_container(&id.id, None)
            .await
            .unwrap()
            .state
            .unwrap();
        (id, u32::try_from(state.pid.unwrap()).unwrap())
    }

    /// `docker exec --detach`.
    pub async fn exec(&self, id: &InstanceId, command: &[&str]) -> Result<(), bollard::errors::Error> {
        let cmd = Some(command.iter().map(|&word| word.to_owned()).collect());
        let exec = self
            .docker
            .create_exec(
                &id.id,
                ExecConfig {
                    cmd,
                    ..Default::default()
                },
            )
            .await?;
        let options = bollard::exec::StartExecOptions {
            detach: true,
            ..Default::default()
        };
        self.docker.start_exec(&exec.id, Some(options)).await.map(drop)
    }

    /// `docker rm --force`, before the test ends.
    pub async fn removed(&self, id: &InstanceId) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        self.docker.remove_container(&id.id, Some(options)).await.unwrap();
    }

    /// `docker update --pids-limit`.
    pub async fn limit_pids(&self, id: &InstanceId, pids: i64) {
        let body = ContainerUpdateBody {
            pids_limit: Some(pids),
            ..Default::default()
        };
        self.docker.update_container(&id.id, body).await.unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        let docker = self.docker.clone();
        // Drop runs inside the test's runtime, which cannot be blocked on: another thread has its own.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                for id in made {
                    let options = RemoveContainerOptionsBuilder::default().force(true).build();
                    let _ = docker.remove_container(&id, Some(options)).await;
                }
            });
        });
        let _ = cleaned.join();
    }
}

fn said(error: bollard::errors::Error) -> String {
    error.to_string()
}

impl Launcher for Daemon {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<InstanceId, String>> {
        Box::pin(async move { self.create(name, |_| {}).await.map_err(said) })
    }

    fn start<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.docker.start_container(&id.id, None).await.map_err(said) })
    }

    fn rename<'a>(&'a self, id: &'a InstanceId, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let options = RenameContainerOptionsBuilder::default().name(name).build();
            self.docker.rename_container(&id.id, options).await.map_err(said)
        })
    }

    fn pause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.docker.pause_container(&id.id).await.map_err(said) })
    }

    fn unpause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.docker.unpause_container(&id.id).await.map_err(said) })
    }

    fn exec<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.exec(id, &["/bin/busybox", "true"]).await.map_err(said) })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            self.docker
                .remove_container(&id.id, Some(options))
                .await
                .map_err(said)
        })
    }
}

/// A name no other test run uses at the same time.
pub fn unique(name: &str) -> String {
    format!("vg-{name}-{}", std::process::id())
}

/// Asks again until `found`, or fails after [`PATIENCE`].
pub fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
