//! Starts, adopts and removes a private daemon.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::layout::{Layout, Lock, Record};
use super::{image, ping};
use crate::process::{ProcessRef, tied_to};
use crate::service::log_tail;

/// A cold start with containerd and iptables takes 2 to 5 s on two cores; a loaded machine gets ten times that.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// dockerd stops its containers first.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A private daemon that answers.
#[derive(Debug)]
pub(crate) struct Dockerd {
    layout: Layout,
}

impl Dockerd {
    /// Starts the daemon, or adopts it when it already runs, and puts the test images into it.
    ///
    /// With an `owner` it counts as abandoned, and is removed by any later run, once that process is gone.
    pub(crate) fn start(layout: Layout, owner: Option<ProcessRef>) -> Result<Self> {
        clean_abandoned()?;
        let _lock = Lock::take()?;
        if find_running(&layout)?.is_none() {
            clear(&layout)?;
            launch(&layout, owner)?;
        }
        let dockerd = Self { layout };
        image::import_missing(&dockerd.host())?;
        Ok(dockerd)
    }

    /// Finds the daemon when it runs and answers.
    pub(crate) fn running(layout: &Layout) -> Result<Option<Self>> {
        Ok(find_running(layout)?.map(|_| Self {
            layout: layout.clone(),
        }))
    }

    /// Stops the daemon and removes its containers, namespace and directories. No error when there is none.
    pub(crate) fn remove(layout: &Layout) -> Result<()> {
        let _lock = Lock::take()?;
        clear(layout)
    }

    /// The address for `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.layout.socket().display())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// Removes every daemon whose owner is gone (a crashed run), and data that a reboot orphaned.
fn clean_abandoned() -> Result<()> {
    for layout in Layout::records()? {
        let abandoned = |layout: &Layout| {
            Ok::<_, anyhow::Error>(match layout.read_record()? {
                Some(record) => record.owner.is_some_and(|owner| !owner.alive()),
                None => true,
            })
        };
        if !abandoned(&layout)? {
            continue;
        }
        let _lock = Lock::take()?;
        if abandoned(&layout)? {
            eprintln!(
                "removing what an earlier run left of dockerd \"{}\"",
                layout.name()
            );
            clear(&layout)?;
        }
    }
    Ok(())
}

fn find_running(layout: &Layout) -> Result<Option<ProcessRef>> {
    let process = layout.read_record()?.and_then(|record| record.dockerd);
    Ok(process.filter(|process| process.alive() && ping::answers(&layout.socket())))
}

fn launch(layout: &Layout, owner: Option<ProcessRef>) -> Result<()> {
    layout.write_record(&Record { owner, dockerd: None })?;
    for dir in [layout.data_root(), &layout.exec_root(), &layout.front()] {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    // The machine's own /etc/docker/daemon.json must not count: a flag that is also in the file stops dockerd.
    fs::write(layout.config_file(), "{}\n").context("writing the daemon's configuration")?;
    ip(&["netns", "add", &layout.namespace()])?;
    ip(&["-n", &layout.namespace(), "link", "set", "lo", "up"])?;

    let log = fs::File::create(layout.log()).context("making the daemon's log")?;
    let child = daemon_command(layout)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("starting dockerd through nsenter")?;
    let process = ProcessRef::of(child.id())?.context("dockerd ended at once")?;
    layout.write_record(&Record {
        owner,
        dockerd: Some(process),
    })?;
    await_ready(layout, process)
}

/// One exec chain, so that the child's pid is dockerd's: nsenter (network namespace), unshare (mount namespace), sh.
///
/// `nsenter --net=` and not `ip netns exec`: the latter remounts /sys and hides the cgroups. The tmpfs over
/// /run/containerd hides a system containerd, which dockerd would use if it saw its socket.
fn daemon_command(layout: &Layout) -> Command {
    let mut command = Command::new("nsenter");
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:{path}", layout.front().display()))
        .arg(format!("--net={}", layout.namespace_path().display()))
        .args(["unshare", "--mount", "--propagation", "private", "sh", "-c"])
        .arg("mkdir -p /run/containerd && mount -t tmpfs -o mode=0711 tmpfs /run/containerd && exec /usr/sbin/dockerd \"$@\"")
        .arg("dockerd")
        .arg("--config-file")
        .arg(layout.config_file())
        .arg("--host")
        .arg(format!("unix://{}", layout.socket().display()))
        .arg("--data-root")
        .arg(layout.data_root())
        .arg("--exec-root")
        .arg(layout.exec_root())
        .arg("--pidfile")
        .arg(layout.pid_file())
        .args(["--group", "root", "--shutdown-timeout", "5", "--log-level", "warn", "--raw-logs"]);
    command
}

fn await_ready(layout: &Layout, process: ProcessRef) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while Instant::now() < deadline {
        if !process.alive() {
            bail!(
                "dockerd ended before it answered; its log says:\n{}",
                log_tail(&layout.log())
            );
        }
        if ping::answers(&layout.socket()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!(
        "dockerd did not answer within {READY_LIMIT:?}; its log says:\n{}",
        log_tail(&layout.log())
    )
}

/// Removes all of a daemon, in the order that leaves nothing unnamed if this run is interrupted: the record goes last.
///
/// Containers are killed first: dockerd would give each one ten seconds to end, and their data go away anyway.
fn clear(layout: &Layout) -> Result<()> {
    let namespace = layout.namespace_path();
    if namespace.exists() {
        for container in tied_to(&namespace)?.descendants {
            container.kill()?;
        }
    }
    if let Some(process) = layout.read_record()?.and_then(|record| record.dockerd) {
        process.stop(STOP_LIMIT).context("stopping dockerd")?;
    }
    if namespace.exists() {
        // What a killed dockerd left: containerd and the shims.
        let left = tied_to(&namespace)?;
        for process in left.descendants.into_iter().chain(left.members) {
            process.kill()?;
        }
        ip(&["netns", "delete", &layout.namespace()])?;
    }
    remove_cgroups(layout);
    remove_tree(layout.data_root())?;
    remove_tree(layout.run_dir())
}

/// Removes the empty control groups of containers that were killed rather than stopped.
fn remove_cgroups(layout: &Layout) {
    let ids: Vec<_> = fs::read_dir(layout.data_root().join("containers"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    let Ok(hierarchies) = fs::read_dir("/sys/fs/cgroup") else {
        return;
    };
    let roots: Vec<_> = hierarchies
        .flatten()
        .map(|entry| entry.path())
        .chain([Path::new("/sys/fs/cgroup").into()])
        .collect();
    for id in &ids {
        for root in &roots {
            // Only an empty group can be removed, so a failure means it is not there or not ours to remove.
            let _ = fs::remove_dir(root.join("docker").join(id.file_name()));
        }
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("running ip (package iproute2)")?;
    if !output.status.success() {
        bail!(
            "ip {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod with_docker;
