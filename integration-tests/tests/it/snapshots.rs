//! A cluster is lost with all of its members, and goes on with the snapshot that somebody kept.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{FIRST, HOST, Scene, Seat};

const PATIENCE: Duration = Duration::from_secs(90);
/// A second set: the agent comes further than the snapshot.
const LATER: &str = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: later }\nspec: { agent: later }\n";

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} is let through");
    String::from_utf8(output.stderr).unwrap()
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap() + &error
}

fn object(scene: &Scene, arguments: &[&str]) -> Value {
    let said = scene.say(&[arguments, &["--output", "json"]].concat()).unwrap();
    serde_json::from_str(&said).unwrap()
}

fn host(scene: &Scene) -> Option<Value> {
    let output = scene
        .verger()
        .args(["hosts", HOST, "--output", "json"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

fn is_at(scene: &Scene, epoch: u64) -> bool {
    host(scene).is_some_and(|host| host["connected"] == true && host["epoch"] == epoch)
}

/// The state of the finding that says that the host is ahead.
fn ahead(scene: &Scene) -> Option<String> {
    let arguments = ["findings", "list", "--rule", "host/ahead-of-set"];
    let states = ["--state", "open", "--state", "resolved"];
    let rows = scene.rows(&[&arguments[..], &states[..]].concat()).unwrap();
    Some(rows.first()?["state"].as_str()?.to_owned())
}

/// Somebody who changes the cluster all the time, and counts what is acknowledged.
fn load(scene: &Scene) -> (Arc<AtomicBool>, Arc<AtomicU64>, std::thread::JoinHandle<()>) {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (is_over, made) = (Arc::clone(&stop), Arc::clone(&done));
    let (program, context) = (scene.verger().get_program().to_owned(), scene.context());
    let thread = std::thread::spawn(move || {
        while !is_over.load(Ordering::SeqCst) {
            let number = made.load(Ordering::SeqCst);
            let mut command = Command::new(&program);
            command.env("VERGER_CONTEXT", &context);
            command.args(["token", "create", "--agent", &format!("load-{number}")]);
            if command.output().unwrap().status.success() {
                made.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (stop, done, thread)
}

/// Where the member listens as the first did, under another name, with nothing yet.
fn another_in_its_place(scene: &Scene, name: &str) {
    let file = scene.path("controller.toml");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("member = \"{name}\"\n{whole}")).unwrap();
}

fn data_of(scene: &Scene, name: &str) -> PathBuf {
    let file = match name {
        FIRST => scene.path("controller.toml"),
        other => scene.path(&format!("{other}.toml")),
    };
    let config = std::fs::read_to_string(file).unwrap();
    let line = config.lines().find_map(|line| line.strip_prefix("data_dir = "));
    PathBuf::from(line.unwrap().trim_matches('"'))
}

#[test]
fn a_cluster_that_lost_all_its_members_goes_on_with_a_snapshot() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    scene.join_agent().unwrap();
    scene.agent.start().unwrap();
    scene.apply(&LATER.replace("later", "early")).unwrap();
    let saved_epoch = scene.epoch().unwrap();
    until("the agent to have the set", || is_at(&scene, saved_epoch));
    // Who has this token could come in, once.
    let config = std::fs::read_to_string(scene.path("agent.toml")).unwrap();
    let (own, others) = (scene.path("agent"), scene.path("spare"));
    let config = config.replace(own.to_str().unwrap(), others.to_str().unwrap());
    std::fs::write(scene.path("spare.toml"), config).unwrap();
    let mut spare = scene.join("spare", &[], "spare.toml").unwrap();

    // Under load, from whichever member answers.
    let (stop, made, thread) = load(&scene);
    until("some load", || made.load(Ordering::SeqCst) > 3);
    let file = scene.path("kept.vsnap");
    let name = file.to_str().unwrap();
    let before = made.load(Ordering::SeqCst);
    let told = text(scene.verger().args(["cluster", "snapshot", "save", name]));
    assert!(told.contains("keep it as you keep keys"), "{told}");
    until("the load to go on", || made.load(Ordering::SeqCst) > before + 3);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = refusal(scene.verger().args(["cluster", "snapshot", "save", name]));
    assert!(again.contains("--force"), "{again}");
    scene
        .say(&["cluster", "snapshot", "save", name, "--force"])
        .unwrap();
    let kept = object(&scene, &["cluster", "snapshot", "inspect", name]);
    stop.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    assert_eq!(
        (kept["epoch"].as_u64(), kept["hosts"].as_u64()),
        (Some(saved_epoch), Some(1))
    );
    assert_eq!(kept["members"], serde_json::json!(["c1", "c2", "c3"]));
    assert!(kept["auditRows"].as_u64().unwrap() >= before, "{kept}");
    let mut damaged = std::fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let bad = scene.path("damaged.vsnap");
    std::fs::write(&bad, &damaged).unwrap();
    let refused = refusal(scene.verger().args(["cluster", "snapshot", "inspect"]).arg(&bad));
    assert!(
        refused.contains("checksum") && refused.contains("another copy"),
        "{refused}"
    );

    // It goes on: what comes now is not in the file.
    scene.apply(LATER).unwrap();
    let lost_epoch = scene.epoch().unwrap();
    until("the agent to be further", || is_at(&scene, lost_epoch));
    let rows = scene
        .rows(&["audit", "list", "--action", "save-snapshot"])
        .unwrap();
    assert_eq!(rows.len(), 2, "each that was given is on record");
    let revision = object(&scene, &["cluster", "status"])["applied"]
        .as_u64()
        .unwrap();
    let roots = scene.path("roots");
    text(
        scene
            .on_the_member(&["roots", "export", "--to"])
            .unwrap()
            .arg(&roots),
    );

    // Everything is lost.
    for member in scene.member_names() {
        scene.member(&member).unwrap().kill().unwrap();
        std::fs::remove_dir_all(data_of(&scene, &member)).unwrap();
    }
    let how = text(scene.verger().args(["cluster", "snapshot", "restore", name]));
    assert!(how.contains("verger-controller restore --snapshot"), "{how}");
    let restore = |snapshot: &PathBuf| {
        let mut restore = scene.on_the_member(&["restore", "--snapshot"]).unwrap();
        restore.arg(snapshot).arg("--roots").arg(&roots);
        restore
    };
    let refused = refusal(&mut restore(&file));
    assert!(refused.contains("a name is used once"), "{refused}");
    another_in_its_place(&scene, "c9");
    let refused = refusal(&mut restore(&bad));
    assert!(refused.contains("another copy"), "{refused}");
    let told = text(&mut restore(&file));
    assert!(
        told.contains("c9 is its only member") && told.contains("--above-epoch"),
        "{told}"
    );
    let refused = refusal(&mut restore(&file));
    assert!(refused.contains("already holds a member"), "{refused}");
    scene.controller.start().unwrap();

    // The same cluster to people and agents, with one member.
    let members = scene.rows(&["cluster", "members"]).unwrap();
    let names: Vec<_> = members
        .iter()
        .map(|row| row["member"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["c9"]);
    let status = object(&scene, &["cluster", "status"]);
    assert_eq!(status["restored"]["digest"], kept["digest"]);
    assert_eq!(status["epoch"].as_u64(), Some(saved_epoch));
    assert!(status["applied"].as_u64().unwrap() > revision, "{status}");
    // Who watched before begins anew: also where the new log has not come so far.
    for after in [revision, revision - 5] {
        let after = after.to_string();
        let expired = refusal(scene.verger().args(["findings", "watch", "--after", &after]));
        assert!(expired.contains("RESUME_TOKEN_EXPIRED"), "{expired}");
    }
    let refused = refusal(&mut spare);
    assert!(refused.contains("token"), "{refused}");
    let refused = refusal(scene.verger().args(["cluster", "add", "c2"]));
    assert!(refused.contains("once"), "{refused}");
    let rows = scene.rows(&["audit", "list", "--action", "restore"]).unwrap();
    let detail = rows[0]["detail"].as_str().unwrap();
    assert!(detail.contains(kept["digest"].as_str().unwrap()), "{detail}");

    // The agent is back, and takes nothing that is older than what it has.
    until("the agent to be back", || is_at(&scene, lost_epoch));
    until("that it is ahead to be told", || {
        ahead(&scene).as_deref() == Some("open")
    });
    let status = object(&scene, &["cluster", "status"]);
    assert_eq!(status["highestLedgerEpoch"].as_u64(), Some(lost_epoch));
    let shown = text(scene.verger().args(["cluster", "status"]));
    assert!(shown.contains(&format!("--above-epoch {lost_epoch}")), "{shown}");
    assert!(is_at(&scene, lost_epoch));
    let older = refusal(scene.verger().args(["list"]));
    assert!(older.contains("--accept-older-set"), "{older}");
    let above = lost_epoch.to_string();
    let mut seal = scene.verger();
    seal.args(["apply", "--above-epoch", &above, "--accept-older-set"]);
    let sealed = text(&mut seal);
    assert!(
        sealed.contains(&format!("applied as epoch {}", lost_epoch + 1)),
        "{sealed}"
    );
    until("the agent to take it", || is_at(&scene, lost_epoch + 1));
    until("that to be told", || ahead(&scene).as_deref() == Some("resolved"));
    scene.findings_arrived().unwrap();

    // And others come to it.
    scene.join_member("c10", &Seat::anywhere().unwrap()).unwrap();
    scene.promote("c10").unwrap();
    let members = scene.rows(&["cluster", "members"]).unwrap();
    assert_eq!(members.len(), 2, "{members:?}");
    scene.apply(LATER).unwrap();
    assert_eq!(scene.epoch().unwrap(), lost_epoch + 2);
    scene.controller.stop().unwrap();
    scene.controller.start().unwrap();
    until("the agent to go on", || is_at(&scene, lost_epoch + 2));
}

#[test]
fn reads_go_on_to_a_member_that_answers_and_to_one_that_cannot_tell_where_that_is_good_enough() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    scene.apply(LATER).unwrap();
    // Connections are made to who hangs: nothing tells that it does.
    scene.member(FIRST).unwrap().freeze().unwrap();
    for arguments in [&["list"][..], &["findings", "list"], &["cluster", "members"]] {
        let begun = Instant::now();
        scene.rows(arguments).unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(25),
            "{arguments:?}: {:?}",
            begun.elapsed()
        );
    }
    // One is left, which can tell nothing.
    scene.member("c2").unwrap().kill().unwrap();
    let output = scene.verger().arg("list").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let told = text(scene.verger().args(["findings", "list", "--stale-ok"]));
    assert!(told.contains("may be out of date"), "{told}");
    let rows = scene.rows(&["list", "--stale-ok"]).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    scene.member(FIRST).unwrap().thaw().unwrap();
    until("the cluster to be back", || {
        scene.verger().args(["list"]).output().unwrap().status.success()
    });
}
