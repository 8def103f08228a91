//! Joining, as the people at both ends do it: with the programs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::Scene;

fn scene() -> Scene {
    Scene::without_agent(&Programs::find().unwrap(), "").unwrap()
}

/// The same command once more, for a new process.
pub(crate) fn again(join: &Command, wait: &str) -> Command {
    let mut command = Command::new(join.get_program());
    command
        .args(join.get_args())
        .args(["--wait", wait])
        .stdin(Stdio::null());
    command
}

/// The configuration of an agent in `NAME`, on a machine with this id.
pub(crate) fn configure(scene: &Scene, name: &str, machine: char) -> String {
    let (file, id) = (format!("{name}.toml"), scene.path(&format!("{name}-machine-id")));
    fs::write(&id, format!("{}\n", machine.to_string().repeat(32))).unwrap();
    let data = scene.path(name);
    let text =
        format!("data_dir = {data:?}\nmachine_id = {id:?}\ndocker_socket = \"/nonexistent/docker.sock\"\n");
    fs::write(scene.path(&file), text).unwrap();
    file
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn host(scene: &Scene, agent: &str) -> serde_json::Value {
    let hosts = scene.rows(&["hosts"]).unwrap();
    hosts.into_iter().find(|host| host["agent"] == agent).unwrap()
}

#[test]
fn a_host_waits_until_a_person_who_compared_its_key_lets_it_in() {
    let scene = scene();
    let join = scene.join("web-1", &["--approval"], "agent.toml").unwrap();
    let first = again(&join, "0").output().unwrap();
    let said = String::from_utf8(first.stdout).unwrap();
    let why = String::from_utf8(first.stderr).unwrap();
    assert!(
        !first.status.success() && why.contains("run the same command again"),
        "{why}"
    );
    let key = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("sha256:"))
        .unwrap();
    let key = format!("sha256:{key}");
    let row = host(&scene, "web-1");
    assert_eq!(
        (&row["state"], &row["waiting"][0]["key"]),
        (&"waiting".into(), &key.as_str().into())
    );
    assert!(
        !scene.path("agent").join("identity.pem").exists(),
        "it was given nothing"
    );

    let another = format!("sha256:{}", "ab".repeat(32));
    let approve = |key: &str| {
        let mut command = scene.verger();
        command.args(["hosts", "web-1", "--approve", "--key", key]);
        command.output().unwrap()
    };
    let refused = approve(&another);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && why.contains("no host waits"),
        "{why}"
    );

    let mut waits = again(&join, "60").stdout(Stdio::piped()).spawn().unwrap();
    assert!(approve(&key).status.success());
    assert!(waits.wait().unwrap().success());
    let row = host(&scene, "web-1");
    assert_eq!(
        (&row["standing"], &row["key"]),
        (&"enrolled".into(), &key.as_str().into())
    );
    let rows = scene.rows(&["audit", "list"]).unwrap();
    let actions: Vec<_> = rows.iter().filter_map(|row| row["action"].as_str()).collect();
    assert!(actions.contains(&"approve-host"), "{actions:?}");
}

#[test]
fn a_host_that_was_rejected_is_told_so() {
    let scene = scene();
    let join = scene.join("web-1", &["--approval"], "agent.toml").unwrap();
    again(&join, "0").output().unwrap();
    scene.say(&["hosts", "web-1", "--reject"]).unwrap();
    let told = again(&join, "60").output().unwrap();
    let why = String::from_utf8(told.stderr).unwrap();
    assert!(
        !told.status.success() && why.contains("refused to let this host in"),
        "{why}"
    );
}

#[test]
fn a_copy_is_refused_an_evicted_host_is_cut_off_and_a_banned_one_stays_out() {
    let scene = scene();
    let own = configure(&scene, "first", 'a');
    let joined = scene.join("web-1", &[], &own).unwrap().output().unwrap();
    assert!(joined.status.success(), "{joined:?}");
    copy(&scene.path("first"), &scene.path("second"));
    let other = configure(&scene, "second", 'b');
    let connected = || {
        scene
            .wait_for("web-1 to be connected", || {
                Ok((host(&scene, "web-1")["connected"] == true).then_some(()))
            })
            .unwrap();
    };
    let tells = |program: &verger_integration_tests::scene::Program, what: &str| {
        scene
            .wait_for(what, || {
                Ok(fs::read_to_string(program.log())?.contains(what).then_some(()))
            })
            .unwrap();
    };
    let mut first = scene.another_agent("first-agent", &own).unwrap();
    first.start().unwrap();
    connected();

    let mut second = scene.another_agent("second-agent", &other).unwrap();
    second.start().unwrap();
    tells(&second, "belongs to another machine");
    let copied = |state: &str| {
        let findings = scene.rows(&["findings", "list", "--state", state]).unwrap();
        findings
            .iter()
            .any(|finding| finding["rule"] == "host/copied-identity")
    };
    assert!(copied("open"));
    assert!(first.is_running().unwrap() && host(&scene, "web-1")["connected"] == true);
    second.stop().unwrap();

    scene
        .say(&["hosts", "web-1", "--evict", "--reason", "copied"])
        .unwrap();
    tells(&first, "is evicted");
    let row = host(&scene, "web-1");
    assert_eq!(
        (&row["state"], &row["standingBy"], &row["standingReason"]),
        (&"evicted".into(), &"person/you".into(), &"copied".into())
    );
    first.stop().unwrap();

    // With what it had, and with a key of its own.
    scene
        .say(&["hosts", "web-1", "--ban", "--reason", "hostile"])
        .unwrap();
    let fresh = configure(&scene, "third", 'c');
    let banned = scene.join("web-1", &[], &fresh).unwrap();
    let told = again(&banned, "0").output().unwrap();
    let why = String::from_utf8(told.stderr).unwrap();
    assert!(
        !told.status.success() && why.contains("agent web-1 is banned (hostile)"),
        "{why}"
    );
    scene.say(&["hosts", "web-1", "--unban"]).unwrap();
    let back = again(&banned, "0").output().unwrap();
    assert!(back.status.success(), "{back:?}");
    assert_eq!(host(&scene, "web-1")["standing"], "enrolled");
    assert!(!copied("open"));
}

#[test]
fn a_revoked_login_is_refused_and_what_it_watches_is_cut_off() {
    let scene = scene();
    let context = scene.path("bob.json");
    scene
        .say(&[
            "context",
            "create",
            "--person",
            "bob",
            "--out",
            context.to_str().unwrap(),
        ])
        .unwrap();
    let bob = |arguments: &[&str]| {
        let mut command = scene.verger();
        command.args(arguments).env("VERGER_CONTEXT", &context);
        command
    };
    assert!(bob(&["version"]).output().unwrap().status.success());
    let mut watch = bob(&["audit", "watch", "--after", "0", "--output", "jsonl"]);
    let mut watch = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first row says that the stream is open.
    let mut out = std::io::BufReader::new(watch.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut String::new()).unwrap();
    scene
        .say(&["context", "revoke", "--person", "bob", "--reason", "left"])
        .unwrap();
    let drained = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    let ended = watch.wait_with_output().unwrap();
    drained.join().unwrap().unwrap();
    let why = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && why.contains("revoked"), "{why}");
    let refused = bob(&["hosts"]).output().unwrap();
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && why.contains("revoked"), "{why}");
    scene.say(&["version"]).unwrap();
}
