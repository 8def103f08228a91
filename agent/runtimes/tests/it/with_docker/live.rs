//! What `/proc` shows, with intruders made by nsenter(1).

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use verger_agent_runtimes::conformance::Launcher;
use verger_agent_runtimes::proc::{LONGEST_SETTLING, Look, MountWatch, Unsettled, look, scan};
use verger_policy::facts::{Evidence, InstanceId, LiveFacts, ProcessFacts, SeccompMode};

use super::daemon::{Daemon, PATIENCE, unique, until};

/// The first intruder takes a moment to enter.
const SLACK: std::time::Duration = std::time::Duration::from_millis(500);

fn live(id: &InstanceId, pid: u32) -> LiveFacts {
    match scan(&[(id.clone(), pid)]).remove(id).unwrap() {
        Evidence::Seen(live) => live,
        Evidence::Missing(reason) => panic!("{reason}"),
    }
}

/// A process that is ended with the test.
struct Intruder(Child);

impl Intruder {
    fn enter(pid: u32, flags: &[&str], command: &[&str]) -> Self {
        let child = Command::new("nsenter")
            .args(["-t", &pid.to_string()])
            .args(flags)
            .arg("--")
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("nsenter is installed: apt-get install util-linux");
        Self(child)
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_ordinary_container_has_its_process_in_cgroup_and_namespaces() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon
        .run(&unique("ordinary"), |body| body.user = Some("7:8".to_owned()))
        .await;
    let live = live(&id, pid);
    let [process] = live.processes.as_slice() else {
        panic!("{:?}", live.processes)
    };
    let ProcessFacts {
        comm,
        in_cgroup,
        uids,
        gids,
        caps,
        seccomp,
        namespaces,
        limits,
        ..
    } = process;
    assert_eq!(
        (comm.as_str(), *in_cgroup, *uids, *gids),
        ("busybox", true, [7; 4], [8; 4])
    );
    assert_eq!((caps.effective, caps.permitted), (0, 0));
    assert_eq!(caps.bounding.count_ones(), 14);
    assert_eq!(*seccomp, SeccompMode::Filter);
    assert!(process.start_ticks > 0);
    assert!(namespaces.seen().is_some());
    assert!(limits.seen().unwrap().contains_key("nofile"));
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        assert!(process.shared_namespaces.contains(kind), "{kind}");
    }
    assert!(
        !process.shared_namespaces.contains("user"),
        "the host's user namespace joins nothing"
    );
    let mounts = live.mounts.seen().unwrap();
    assert!(
        mounts
            .iter()
            .any(|mount| mount.target == "/" && mount.fstype == "overlay")
    );
}

#[tokio::test]
async fn a_process_entered_from_outside_is_in_the_namespaces_but_not_in_the_cgroup() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon.run(&unique("entered"), |_| {}).await;
    let _intruder = Intruder::enter(pid, &["-m", "-p", "-n"], &["/bin/busybox", "sleep", "600"]);
    let found = until("the intruder is found", || {
        live(&id, pid)
            .processes
            .into_iter()
            .find(|process| !process.in_cgroup && process.comm == "busybox")
    });
    assert_ne!(found.pid, pid);
    assert_eq!(found.seccomp, SeccompMode::Disabled);
    assert!(
        found
            .shared_namespaces
            .is_superset(&BTreeSet::from(["mnt", "net"])),
        "{:?}",
        found.shared_namespaces
    );
    assert!(!found.shared_namespaces.contains("uts"), "it was not entered");
}

#[tokio::test]
async fn a_mount_made_from_outside_wakes_the_watch_and_is_seen() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon.run(&unique("mounted"), |_| {}).await;
    let (watch, mut woken) = MountWatch::start().unwrap();
    watch.set(&[pid]);
    // The first wake is for what changed before the watch.
    tokio::time::timeout(PATIENCE, woken.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(
        live(&id, pid)
            .mounts
            .seen()
            .unwrap()
            .iter()
            .all(|mount| mount.target != "/data")
    );

    let began = Instant::now();
    let mut mounter = Intruder::enter(
        pid,
        &["-m"],
        &["/bin/busybox", "mount", "-t", "tmpfs", "none", "/data"],
    );
    assert!(mounter.0.wait().unwrap().success());
    tokio::time::timeout(PATIENCE, woken.recv())
        .await
        .unwrap()
        .unwrap();
    println!("woken {:?} after nsenter was started", began.elapsed());
    let live = live(&id, pid);
    let added = live
        .mounts
        .seen()
        .unwrap()
        .iter()
        .find(|mount| mount.target == "/data")
        .unwrap()
        .clone();
    assert_eq!(added.fstype, "tmpfs");
}

#[tokio::test]
async fn an_ended_process_leaves_the_watch_and_the_scan() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon.run(&unique("ended"), |_| {}).await;
    let (watch, mut woken) = MountWatch::start().unwrap();
    watch.set(&[pid]);
    tokio::time::timeout(PATIENCE, woken.recv())
        .await
        .unwrap()
        .unwrap();
    daemon.remove(&id).await.unwrap();
    until("the scan says it has ended", || {
        matches!(scan(&[(id.clone(), pid)])[&id], Evidence::Missing(_)).then_some(())
    });
    // The thread must let go of the mount namespace: no descriptor of ours holds that mountinfo any more.
    let held = format!("/proc/{pid}/mountinfo");
    until("the watch lets go", || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let holds = fds
            .flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|to| to.to_string_lossy() == held);
        (!holds).then_some(())
    });
    drop(watch);
    assert_eq!(woken.recv().await, None, "the thread has ended");
}

#[tokio::test]
async fn a_shared_network_by_configuration_is_no_intrusion() {
    let daemon = Daemon::connect().await;
    let (one, one_pid) = daemon.run(&unique("shared-one"), |_| {}).await;
    let mode = format!("container:{}", one.id);
    let (two, two_pid) = daemon
        .run(&unique("shared-two"), |body| {
            body.host_config.as_mut().unwrap().network_mode = Some(mode)
        })
        .await;
    let found = scan(&[(one.clone(), one_pid), (two.clone(), two_pid)]);
    for id in [&one, &two] {
        let processes = &found[id].seen().unwrap().processes;
        assert_eq!(processes.len(), 1, "{processes:?}");
        assert!(processes[0].in_cgroup);
    }
}

#[tokio::test]
async fn what_the_runtime_itself_starts_inside_is_no_intrusion() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon.run(&unique("execs"), |_| {}).await;
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    let asked = id.clone();
    let scans = std::thread::spawn(move || {
        let (mut scans, mut most, mut outside) = (0, 0, Vec::new());
        while stopped.try_recv().is_err() {
            let live = live(&asked, pid);
            scans += 1;
            most = most.max(live.processes.len());
            outside.extend(live.processes.into_iter().filter(|process| !process.in_cgroup));
        }
        (scans, most, outside)
    });
    for _ in 0..20 {
        daemon.exec(&id, &["/bin/busybox", "sleep", "1"]).await.unwrap();
    }
    stop.send(()).unwrap();
    let (scans, most, outside) = scans.join().unwrap();
    println!("{scans} scans, up to {most} processes");
    assert!(most > 1, "no scan of {scans} met an exec: nothing was shown");
    assert!(outside.is_empty(), "{outside:#?}");
}

#[tokio::test]
async fn a_young_process_holds_back_its_instance_until_it_is_settled() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon.run(&unique("young"), |_| {}).await;
    assert_eq!(live(&id, pid).processes.len(), 1);
    let _intruder = Intruder::enter(pid, &["-m", "-n"], &["/bin/busybox", "sleep", "600"]);
    // It takes a moment to enter; from then on it is young for a while.
    let mut held_back = false;
    let mut before = None;
    until("the intruder is settled", || {
        let Look { live, unsettled } = look(&[(id.clone(), pid)], before.take());
        before = unsettled;
        held_back |= !live.contains_key(&id);
        let processes = live.get(&id)?.seen()?.processes.len();
        (processes == 2).then_some(())
    });
    assert!(held_back, "it was told of before it was settled");
}

#[tokio::test]
async fn an_instance_that_starts_processes_all_the_time_is_not_put_off_for_ever() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon.run(&unique("busy"), |_| {}).await;
    let mut intruders = Vec::new();
    let mut before: Option<Unsettled> = None;
    let mut held_back = 0;
    let began = Instant::now();
    loop {
        intruders.push(Intruder::enter(
            pid,
            &["-m", "-n"],
            &["/bin/busybox", "sleep", "600"],
        ));
        let Look { live, unsettled } = look(&[(id.clone(), pid)], before.take());
        held_back += u32::from(unsettled.is_some());
        // At first it may be seen before the first intruder is in.
        if live
            .get(&id)
            .is_some_and(|live| live.seen().is_some_and(|live| live.processes.len() > 1))
        {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "after {} processes", intruders.len());
        before = unsettled;
        // Processes enough for one who looks all the time, and not more than the machine bears.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(
        held_back > 10 && began.elapsed() + SLACK >= LONGEST_SETTLING,
        "{held_back} looks"
    );
}
