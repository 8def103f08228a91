//! Threads that are not like the first of their process.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use verger_agent_core::runtime::Runtime;
use verger_agent_runtimes::proc::scan;
use verger_policy::compile::compile;
use verger_policy::drift::{Judgement, judge};
use verger_policy::facts::{Evidence, Instance, InstanceId, LiveFacts};
use verger_policy::model::Labels;

use super::daemon::{Daemon, unique, until};
use super::program::Program;

const SOURCE: &str = include_str!("threads.c");

/// A container whose first process is the program.
async fn started(
    daemon: &Daemon,
    program: &Program,
    name: &str,
    arguments: &[&str],
    capabilities: &[&str],
) -> (InstanceId, u32) {
    let added: Vec<String> = capabilities.iter().map(|&name| name.to_owned()).collect();
    daemon
        .run(&unique(name), |body| {
            program.first(arguments, body);
            body.host_config.as_mut().unwrap().cap_add = Some(added);
        })
        .await
}

fn live(id: &InstanceId, pid: u32) -> Evidence<LiveFacts> {
    scan(&[(id.clone(), pid)]).remove(id).unwrap()
}

/// What is said of it without any policy: effective root, and the live view.
async fn judged(daemon: &Daemon, id: &InstanceId, live: Evidence<LiveFacts>) -> Judgement {
    let listed = daemon.runtime().inspect(id).await.unwrap().unwrap();
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

fn failing(judgement: &Judgement) -> Vec<String> {
    let told = |check: &verger_policy::drift::Check| format!("{} {}", check.rule, check.field);
    judgement.failing().map(told).collect()
}

/// A line of `/proc/PID/status` of the first thread, and of the others.
fn lines(pid: u32, key: &str) -> BTreeMap<String, bool> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .flatten()
        .filter_map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let line = status.lines().find(|line| line.starts_with(key))?.to_owned();
            Some((line, task.file_name().to_str() == Some(&pid.to_string())))
        })
        .collect()
}

#[tokio::test]
async fn a_thread_that_keeps_root_is_root_though_the_first_one_dropped_it() {
    let daemon = Daemon::connect().await;
    let program = Program::compile(SOURCE);
    let (id, pid) = started(&daemon, &program, "keeps-root", &["keeps-root"], &[]).await;
    // It works: the process reads as uid 1000, and one of its threads writes as root.
    let owned = format!("/proc/{pid}/root/tmp/owned");
    until("the thread writes", || std::fs::metadata(&owned).ok());
    assert_eq!(std::fs::metadata(&owned).unwrap().uid(), 0);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t1000\t1000\t1000\t1000"), "{status}");

    let live = live(&id, pid).seen().unwrap().clone();
    let [first, thread] = live.processes.as_slice() else {
        panic!("{:?}", live.processes)
    };
    assert_eq!((first.uids, first.thread), ([1000; 4], None));
    assert_eq!(thread.uids, [0; 4]);
    assert!(thread.thread.is_some_and(|tid| tid != pid) && thread.pid == pid && thread.in_cgroup);
    let judgement = judged(&daemon, &id, Evidence::Seen(live)).await;
    let root = judgement
        .failing()
        .find(|check| check.rule.as_str() == "privilege/is-root")
        .unwrap();
    assert!(root.reason.contains("a thread of `program`"), "{}", root.reason);

    // Its twin drops root in all threads.
    let (id, pid) = started(&daemon, &program, "drops-root", &["drops-root"], &[]).await;
    until("it drops root", || {
        lines(pid, "Uid:")
            .keys()
            .all(|line| line.contains("1000"))
            .then_some(())
    });
    assert_eq!(live_of(&id, pid).processes.len(), 1);
}

fn live_of(id: &InstanceId, pid: u32) -> LiveFacts {
    match live(id, pid) {
        Evidence::Seen(live) => live,
        Evidence::Missing(reason) => panic!("{reason}"),
    }
}

#[tokio::test]
async fn a_thread_in_other_namespaces_is_a_process_that_left_them() {
    let daemon = Daemon::connect().await;
    let program = Program::compile(SOURCE);
    for (mode, kind) in [("other-net", "net"), ("other-mounts", "mnt")] {
        let (id, pid) = started(&daemon, &program, mode, &[mode], &["SYS_ADMIN"]).await;
        let found = until("the thread leaves", || {
            let live = live_of(&id, pid);
            (live.processes.len() == 2).then_some(live)
        });
        let ids: Vec<_> = found
            .processes
            .iter()
            .map(|process| *process.namespaces.seen().unwrap())
            .collect();
        // It works: the process's own links show nothing of it.
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(ids[0].mnt == ids[1].mnt, kind == "net");
        assert_eq!(ids[0].net == ids[1].net, kind == "mnt");
        let first = if kind == "net" { ids[0].net } else { ids[0].mnt };
        assert!(link.to_string_lossy().contains(&first.to_string()));
        let judgement = judged(&daemon, &id, Evidence::Seen(found)).await;
        let field = format!("config/live-namespaces live.namespaces[{kind}]");
        assert!(failing(&judgement).contains(&field), "{:?}", failing(&judgement));
    }
    // Its twin has as many threads, all at home.
    let (id, pid) = started(&daemon, &program, "at-home", &["stays"], &["SYS_ADMIN"]).await;
    until("it has two threads", || {
        (lines(pid, "Pid:").len() == 2).then_some(())
    });
    let live = live_of(&id, pid);
    assert_eq!(live.processes.len(), 1);
    let judgement = judged(&daemon, &id, Evidence::Seen(live)).await;
    assert!(
        !failing(&judgement)
            .iter()
            .any(|field| field.contains("namespaces"))
    );
}

/// A process that is killed with the test: runc(8) takes one whose first thread has ended for gone, so Docker neither kills it nor,
/// while it runs, removes its container.
struct Ended(u32);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let killed = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        assert!(matches!(killed, Some(Ok(()))), "{killed:?}");
    }
}

#[tokio::test]
async fn a_process_whose_first_thread_has_ended_is_read_by_those_that_go_on() {
    let daemon = Daemon::connect().await;
    let program = Program::compile(SOURCE);
    let (id, pid) = started(&daemon, &program, "first-ends", &["first-ends"], &[]).await;
    let _ended = Ended(pid);
    // It works: what the first thread shows of itself is a zombie without namespaces.
    until("the first thread ends", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") Z ").then_some(())
    });
    assert!(std::fs::metadata(format!("/proc/{pid}/ns/mnt")).is_err());
    let live = live_of(&id, pid);
    assert_eq!(live.processes.len(), 1, "{:?}", live.processes);
    let process = &live.processes[0];
    assert!(process.in_cgroup && process.pid == pid && process.uids == [0; 4]);
    assert!(process.namespaces.seen().is_some() && !live.mounts.seen().unwrap().is_empty());
    let judgement = judged(&daemon, &id, Evidence::Seen(live)).await;
    assert!(failing(&judgement).contains(&"privilege/is-root user".to_owned()));
}

#[tokio::test]
async fn too_many_threads_are_not_shown_in_part_and_many_are_read_in_a_moment() {
    let daemon = Daemon::connect().await;
    let program = Program::compile(SOURCE);
    let (id, pid) = started(&daemon, &program, "many", &["many", "1000"], &[]).await;
    until("it has all its threads", || {
        (lines(pid, "Pid:").len() >= 1000).then_some(())
    });
    let one = live_of(&id, pid);
    assert_eq!(one.processes.len(), 1);
    let began = Instant::now();
    live_of(&id, pid);
    println!("a scan with 1000 threads took {:?}", began.elapsed());

    let (id, pid) = started(&daemon, &program, "too-many", &["many", "8300"], &[]).await;
    let reason = until("it has too many threads", || match live(&id, pid) {
        Evidence::Missing(reason) => Some(reason),
        Evidence::Seen(_) => None,
    });
    assert!(reason.contains("more than 8192 threads"), "{reason}");
}
