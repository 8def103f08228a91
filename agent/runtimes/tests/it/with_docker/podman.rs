//! Root's Podman, with a storage of its own that goes away with the test. Needs no daemon, but what tests with one need: root, and a machine for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use verger_agent_core::runtime::{BoxFuture, Phase, Runtime};
use verger_agent_runtimes::conformance::{Launcher, conformance};
use verger_agent_runtimes::podman::{PodmanRoots, PodmanRuntime};
use verger_agent_runtimes::proc::scan;
use verger_policy::facts::{Evidence, InstanceId, NamespaceOwner};
use verger_policy::model::RuntimeKind;

const IMAGE: &str = "localhost/verger-test/runtimes";
/// crun refuses hosts with both versions of cgroups.
const RUNC: &str = "/usr/sbin/runc";

struct Podman {
    folder: tempfile::TempDir,
}

impl Podman {
    fn new() -> Self {
        let podman = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let at = |name: &str| podman.folder.path().join(name);
        // Limits are those that this process may set: Podman asks for more by itself.
        std::fs::write(
            at("containers.conf"),
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n",
        )
        .unwrap();
        std::fs::create_dir_all(at("root/bin")).unwrap();
        std::fs::copy("/bin/busybox", at("root/bin/busybox")).unwrap();
        let layer = at("layer.tar");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(at("root"))
            .arg("-cf")
            .arg(&layer)
            .arg(".")
            .status();
        assert!(tar.unwrap().success());
        podman.say(&["import", layer.to_str().unwrap(), IMAGE]).unwrap();
        podman
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn runtime(&self) -> PodmanRuntime {
        PodmanRuntime::new(PodmanRoots {
            graph: self.at("graph"),
            run: self.at("run"),
        })
    }

    fn say(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["60", "podman", "--storage-driver", "overlay", "--runtime", RUNC])
            .arg("--root")
            .arg(self.at("graph"))
            .arg("--runroot")
            .arg(self.at("run"))
            .arg("--tmpdir")
            .arg(self.at("tmp"))
            .args(arguments)
            .env("CONTAINERS_CONF", self.at("containers.conf"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn make(&self, how: &str, name: &str, more: &[&str]) -> Result<InstanceId, String> {
        let mut arguments = vec![how, "--name", name, "--user", "7:7"];
        if how == "run" {
            arguments.push("--detach");
        }
        arguments.extend(more);
        arguments.extend([IMAGE, "/bin/busybox", "sleep", "3600"]);
        let id = self.say(&arguments)?;
        Ok(InstanceId {
            runtime: RuntimeKind::Podman,
            id,
        })
    }

    async fn done(&self, arguments: &[&str]) -> Result<(), String> {
        // The watch runs beside it.
        tokio::task::yield_now().await;
        self.say(arguments).map(drop)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // One that another shares a network with goes after that one.
        for _ in 0..3 {
            if self.say(&["rm", "--all", "--force", "--time", "0"]).is_ok() {
                break;
            }
        }
        // The storage is a mount of its own.
        let _ = Command::new("umount").arg(self.at("graph/overlay")).output();
    }
}

const NONE: &[&str] = &["--network", "none"];

impl Launcher for Podman {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<InstanceId, String>> {
        Box::pin(async move { self.make("create", name, NONE) })
    }

    fn start<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.done(&["start", &id.id]).await })
    }

    fn rename<'a>(&'a self, id: &'a InstanceId, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.done(&["rename", &id.id, name]).await })
    }

    fn pause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.done(&["pause", &id.id]).await })
    }

    fn unpause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.done(&["unpause", &id.id]).await })
    }

    fn exec<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.done(&["exec", &id.id, "/bin/busybox", "true"]).await })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.done(&["rm", "--force", "--time", "0", &id.id]).await })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_conforms() {
    let podman = Podman::new();
    conformance(&podman.runtime(), &podman, "conformance")
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_ran_before_is_found_with_its_processes_and_without_what_holds_it() {
    let podman = Podman::new();
    let id = podman.make("run", "before", NONE).unwrap();
    let runtime = podman.runtime();
    let listed = runtime.list().await.unwrap();
    let [one] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!((&one.instance.id, one.phase), (&id, Phase::Running));
    assert_eq!(one.instance.name, "before");
    assert!(one.instance.image.seen().is_some(), "{:?}", one.instance.image);
    let pid = one.init_pid.unwrap();
    assert_eq!(
        one.instance.config.namespaces.network,
        Evidence::Seen(NamespaceOwner::Isolated)
    );

    let look = || {
        let wanted = [(id.clone(), pid)];
        scan(&wanted).remove(&id).unwrap().seen().unwrap().clone()
    };
    let live = look();
    let found: Vec<_> = live
        .processes
        .iter()
        .map(|process| (process.pid, process.uids[1], process.in_cgroup))
        .collect();
    assert_eq!(found, [(pid, 7, true)]);

    // Somebody enters its mount namespace from outside.
    let mut intruder = Command::new("nsenter")
        .args([
            "--mount",
            "--target",
            &pid.to_string(),
            "/bin/busybox",
            "sleep",
            "60",
        ])
        .spawn()
        .unwrap();
    let foreign = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        look().processes.into_iter().find(|process| !process.in_cgroup)
    });
    intruder.kill().unwrap();
    intruder.wait().unwrap();
    assert_eq!(
        foreign.map(|process| process.shared_namespaces),
        Some(["mnt"].into())
    );

    // What has ended is not listed, though its files stay.
    podman.say(&["stop", "--time", "0", "before"]).unwrap();
    assert_eq!(runtime.list().await.unwrap(), []);
    assert!(is_left(&podman.at("run"), &id.id));
    podman.say(&["start", "before"]).unwrap();
    let again = runtime.list().await.unwrap();
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].init_pid, Some(pid));
    assert!(Arc::ptr_eq(
        &again[0].instance,
        &runtime.list().await.unwrap()[0].instance
    ));
}

#[tokio::test]
async fn of_two_that_share_a_network_it_is_the_first_s() {
    let podman = Podman::new();
    let first = podman.make("run", "first", NONE).unwrap();
    let second = podman
        .make("run", "second", &["--network", "container:first"])
        .unwrap();
    let runtime = podman.runtime();
    for _ in 0..2 {
        let listed = runtime.list().await.unwrap();
        let networks: Vec<_> = [&first, &second]
            .into_iter()
            .map(|id| {
                let one = listed.iter().find(|one| one.instance.id == *id).unwrap();
                one.instance.config.namespaces.network.clone()
            })
            .collect();
        let of_first = NamespaceOwner::Instance(first.id.clone());
        assert_eq!(networks, [NamespaceOwner::Isolated, of_first].map(Evidence::Seen));
        // Another inode for the first, and so for the second.
        podman.say(&["restart", "--time", "0", "first"]).unwrap();
        podman.say(&["restart", "--time", "0", "second"]).unwrap();
    }
}

fn is_left(run: &Path, id: &str) -> bool {
    run.join(format!("overlay-containers/{id}/userdata/pidfile"))
        .exists()
}
