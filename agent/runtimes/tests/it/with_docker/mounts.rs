//! What is mounted in a container from outside, and what is taken away, on a real kernel.

use std::process::Command;

use verger_agent_core::runtime::Runtime;
use verger_agent_runtimes::proc::scan;
use verger_policy::compile::compile;
use verger_policy::drift::{Judgement, Outcome, judge};
use verger_policy::facts::{Instance, InstanceId};
use verger_policy::model::Labels;

use super::daemon::{Daemon, unique};

/// The commands of busybox, which a container has under no other name.
const COMMANDS: &str = "mount() { /bin/busybox mount \"$@\"; }; umount() { /bin/busybox umount \"$@\"; }; \
                        mkdir() { /bin/busybox mkdir \"$@\"; }; ";

/// Does something in the mount namespace of a process, as root of the host.
fn inside(pid: u32, command: &str) {
    let done = Command::new("nsenter")
        .args([
            "-t",
            &pid.to_string(),
            "-m",
            "-p",
            "--",
            "/bin/busybox",
            "sh",
            "-c",
        ])
        .arg(format!("{COMMANDS}{command}"))
        .output()
        .expect("nsenter is installed: apt-get install util-linux");
    assert!(
        done.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

async fn judged(daemon: &Daemon, id: &InstanceId, pid: u32) -> Judgement {
    let listed = daemon.runtime().inspect(id).await.unwrap().unwrap();
    let live = scan(&[(id.clone(), pid)]).remove(id).unwrap();
    let instance = Instance {
        live,
        ..(*listed.instance).clone()
    };
    judge(
        &compile(&[], &Labels::default(), 1),
        &instance,
        jiff::Timestamp::UNIX_EPOCH,
    )
}

/// The fields of the live mounts that do not pass, with their result.
async fn told(daemon: &Daemon, id: &InstanceId, pid: u32) -> Vec<(String, Outcome)> {
    let judgement = judged(daemon, id, pid).await;
    let mounts = judgement
        .checks
        .iter()
        .filter(|check| check.rule.as_str() == "config/live-mounts");
    mounts
        .filter(|check| check.result != Outcome::Pass)
        .map(|check| (check.field.to_string(), check.result))
        .collect()
}

/// What the mount table of the first process says of a target, the last one first.
fn line(pid: u32, target: &str) -> Option<String> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let mut lines = table.lines().rev();
    lines
        .find(|line| line.split(' ').nth(4) == Some(target))
        .map(str::to_owned)
}

/// A file system of the host, shared, with another one below it, where the daemon sees it; a container lives with it.
struct Folder {
    folder: tempfile::TempDir,
    /// A process in the daemon's mount namespace.
    shim: u32,
}

impl Folder {
    async fn with_a_mount(daemon: &Daemon, name: &str) -> Self {
        let (_, pid) = daemon.run(&unique(name), |_| {}).await;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let parent = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .unwrap();
        let made = Self {
            folder: tempfile::tempdir().unwrap(),
            shim: parent.trim().parse().unwrap(),
        };
        let path = made.path();
        inside(
            made.shim,
            &format!(
                "mount -t tmpfs none {path} && mount --make-shared {path} && mkdir {path}/below && mount -t tmpfs none \
                 {path}/below"
            ),
        );
        made
    }

    fn path(&self) -> std::path::Display<'_> {
        self.folder.path().display()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        inside(self.shim, &format!("umount -l {}", self.path()));
    }
}

#[tokio::test]
async fn a_container_as_the_runtime_made_it_is_clean() {
    let daemon = Daemon::connect().await;
    let folder = Folder::with_a_mount(&daemon, "clean").await;
    for binds in [
        vec![],
        vec![format!("{}:/bound", folder.path())],
        vec![format!("{}:/bound:ro", folder.path())],
        vec!["vg-mounts:/volume".to_owned(), "/lib:/linked:ro".to_owned()],
        vec![format!("{}:/bound:private", folder.path())],
        vec![format!("{}:/bound:rslave", folder.path())],
        vec![
            format!("{}:/bound:rshared", folder.path()),
            "vg-mounts:/volume".to_owned(),
        ],
    ] {
        let (id, pid) = daemon
            .run(&unique(&format!("clean-{}", binds.len())), |body| {
                body.host_config.as_mut().unwrap().binds = Some(binds.clone());
            })
            .await;
        assert_eq!(told(&daemon, &id, pid).await, [], "{binds:?}");
        daemon.removed(&id).await;
    }
}

#[tokio::test]
async fn what_is_mounted_or_taken_away_from_outside_is_found() {
    let daemon = Daemon::connect().await;
    let folder = Folder::with_a_mount(&daemon, "keeper").await;
    // What is done, the target it shows at, what the table says of that then, and the field that is told.
    let rows: &[(&str, &str, Option<&str>, &str)] = &[
        (
            "umount /volume && mount -t tmpfs none /volume",
            "/volume",
            Some("tmpfs"),
            "[/volume].source",
        ),
        (
            "mount -t tmpfs none /volume",
            "/volume",
            Some("tmpfs"),
            "[/volume]",
        ),
        (
            "mkdir -p /volume/x && mount -t tmpfs none /volume/x",
            "/volume/x",
            Some("tmpfs"),
            "[/volume/x]",
        ),
        (
            "umount /bound/below; umount /bound && mount -t tmpfs none /bound",
            "/bound",
            Some("tmpfs"),
            "[/bound].source",
        ),
        (
            "mkdir -p /bound/x && mount -t tmpfs none /bound/x",
            "/bound/x",
            Some("tmpfs"),
            "[/bound/x]",
        ),
        (
            "mount --make-shared /bound",
            "/bound",
            Some("shared:"),
            "[/bound].propagation",
        ),
        ("mount -o remount,rw /sys", "/sys", Some(" rw,"), "[/sys].access"),
        (
            "mount -o remount,rw,bind /sys/fs/cgroup/cpu",
            "/sys/fs/cgroup/cpu",
            Some(" rw,"),
            "[/sys/fs/cgroup/cpu].access",
        ),
        (
            "mount -o remount,rw,bind /proc/sys",
            "/proc/sys",
            Some(" rw,"),
            "[/proc/sys].access",
        ),
        ("umount /proc/bus", "/proc/bus", None, "[/proc/bus]"),
        ("umount /proc/keys", "/proc/keys", None, "[/proc/keys]"),
        ("umount /sys/firmware", "/sys/firmware", None, "[/sys/firmware]"),
    ];
    for (number, (command, target, shown, field)) in rows.iter().enumerate() {
        let bound = format!("{}:/bound", folder.path());
        let (id, pid) = daemon
            .run(&unique(&format!("mounted-{number}")), |body| {
                body.host_config.as_mut().unwrap().binds = Some(vec![bound, "vg-mounts:/volume".to_owned()]);
            })
            .await;
        if shown.is_some_and(|shown| shown == " rw,") && line(pid, target).is_none() {
            println!("{target} is not mounted on this kernel: {command} is left out");
            continue;
        }
        assert_eq!(told(&daemon, &id, pid).await, [], "before {command}");
        inside(pid, command);
        // It works: the kernel shows it, and the runtime's own word of the container is as before.
        let after = line(pid, target);
        assert_eq!(after.is_some(), shown.is_some(), "{command}: {after:?}");
        assert!(
            shown.is_none_or(|shown| after.as_deref().unwrap().contains(shown)),
            "{command}: {after:?}"
        );
        let expected = [(format!("live.mounts{field}"), Outcome::Fail)];
        assert_eq!(told(&daemon, &id, pid).await, expected, "{command}");
        inside(folder.shim, &format!("/bin/busybox rm -rf {}/x", folder.path()));
        daemon.removed(&id).await;
    }
}

#[tokio::test]
async fn a_tmpfs_of_the_host_in_the_place_of_a_given_one_is_found() {
    let daemon = Daemon::connect().await;
    let folder = Folder::with_a_mount(&daemon, "scratch-keeper").await;
    let (id, pid) = daemon
        .run(&unique("scratch"), |body| {
            let host = body.host_config.as_mut().unwrap();
            host.binds = Some(vec![format!("{}:/bound", folder.path())]);
            host.tmpfs = Some([("/scratch".to_owned(), String::new())].into());
        })
        .await;
    assert_eq!(told(&daemon, &id, pid).await, []);
    let command = "umount /scratch && mount --bind -o nosuid,nodev,noexec /bound /scratch && \
                   mount -o remount,bind,nosuid,nodev,noexec /scratch && mount --make-private /scratch";
    inside(pid, command);
    assert!(line(pid, "/scratch").unwrap().contains("tmpfs"));
    let expected = [("live.mounts[/scratch].source".to_owned(), Outcome::Fail)];
    assert_eq!(told(&daemon, &id, pid).await, expected);
    daemon.removed(&id).await;
}

#[tokio::test]
async fn a_process_in_another_mount_namespace_is_told_by_that() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon
        .run(&unique("other-mounts"), |body| {
            body.host_config.as_mut().unwrap().cap_add = Some(vec!["SYS_ADMIN".to_owned()]);
            body.host_config.as_mut().unwrap().security_opt = Some(vec!["seccomp=unconfined".to_owned()]);
        })
        .await;
    let command = "/bin/busybox unshare -m /bin/busybox sh -c '/bin/busybox mount -t tmpfs none /data; exec /bin/busybox sleep 600'";
    daemon
        .exec(&id, &["/bin/busybox", "sh", "-c", command])
        .await
        .unwrap();
    let judgement = loop {
        let judgement = judged(&daemon, &id, pid).await;
        let left = |check: &verger_policy::drift::Check| check.field == "live.namespaces[mnt]";
        if judgement.failing().any(left) {
            break judgement;
        }
        tokio::task::yield_now().await;
    };
    // It works: the first process's own table shows nothing of it.
    assert_eq!(line(pid, "/data"), None);
    assert!(
        judgement
            .checks
            .iter()
            .all(|check| !check.field.contains("[/data]"))
    );
}
