//! A cluster's life: members join, are promoted, lead, go, and others come in their place.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use verger_controller_store::{SledState, StateDb as _};
use verger_integration_tests::clock;
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{FIRST, HOST, Scene, Seat, Watch};

const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a command that is refused says.
fn refusal(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} is let through");
    String::from_utf8(output.stderr).unwrap()
}

fn parts(scene: &Scene) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let rows = scene.rows(&["cluster", "members"]).unwrap();
    let mut parts: Vec<_> = rows
        .iter()
        .map(|row| (text(&row["member"]), text(&row["part"])))
        .collect();
    parts.sort();
    parts
}

fn part(scene: &Scene, name: &str) -> Option<String> {
    parts(scene)
        .into_iter()
        .find(|(of, _)| of == name)
        .map(|(_, part)| part)
}

/// All members but this one.
fn others(scene: &Scene, than: &str) -> Vec<String> {
    let names = scene.member_names().into_iter();
    names.filter(|name| name != than).collect()
}

#[test]
fn who_is_stopped_and_leads_has_another_lead_first() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    let old = scene.leader().unwrap();
    let followers = others(&scene, &old);
    let follower = scene.member(&followers[0]).unwrap();
    // Nobody else is asked to lead where a follower goes.
    follower.stop().unwrap();
    let told = |log: std::path::PathBuf| std::fs::read_to_string(log).unwrap();
    assert!(!told(follower.log()).contains("another member leads"));
    follower.start().unwrap();
    scene.say(&["cluster", "members"]).unwrap();
    let leader = scene.member(&old).unwrap();
    leader.stop().unwrap();
    let told = told(leader.log());
    assert!(told.contains("another member leads"), "{told}");
    assert_ne!(scene.leader().unwrap(), old);
    scene.member(&old).unwrap().start().unwrap();
    scene.say(&["token", "create", "--agent", "web-1"]).unwrap();
}

#[test]
fn a_cluster_outlives_the_member_that_founded_it() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    scene.join_agent().unwrap();
    scene.agent.start().unwrap();
    let connected = |scene: &Scene| {
        let rows = scene.rows(&["hosts", HOST]);
        rows.is_ok_and(|rows| rows.iter().any(|row| row["connected"] == true))
    };
    until("the agent to be connected", || connected(&scene));
    // It knows them all.
    let file = scene.path("agent/members.json");
    until("the agent to know the members", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.matches("127.0.0.1").count() == 3)
    });

    // A learner is no voter, and does not lead.
    scene.join_member("c4", &Seat::anywhere().unwrap()).unwrap();
    assert_eq!(part(&scene, "c4").as_deref(), Some("learner"));
    let refused = refusal(scene.verger().args(["cluster", "transfer-leader", "c4"]));
    assert!(refused.contains("learners do not lead"), "{refused}");
    scene.promote("c4").unwrap();
    scene.say(&["cluster", "members"]).unwrap();

    // Whoever has no roots lets nobody in; with a copy of them it does.
    let roots = scene.path("roots");
    let on = |name: &str, arguments: &[&str]| scene.on_member(name, arguments).unwrap();
    let folder = roots.to_str().unwrap().to_owned();
    assert!(
        on(FIRST, &["roots", "export", "--to", &folder])
            .status()
            .unwrap()
            .success()
    );
    let refused = refusal(&mut on("c2", &["roots", "export", "--to", &folder]));
    assert!(refused.contains("does not have the root keys"), "{refused}");
    assert!(
        on("c2", &["roots", "import", "--from", &folder])
            .status()
            .unwrap()
            .success()
    );

    // The founder leads, and goes: another leads first.
    scene.say(&["cluster", "transfer-leader", FIRST]).unwrap();
    assert_eq!(scene.leader().unwrap(), FIRST);
    scene.say(&["cluster", "remove", FIRST]).unwrap();
    scene.controller.kill().unwrap();
    until("the founder to be gone", || {
        scene.rows(&["cluster", "members"]).is_ok() && part(&scene, FIRST).is_none()
    });
    scene.say(&["cluster", "members"]).unwrap();
    until("the agent to be connected to another", || connected(&scene));
    // What is not answered changes nothing: the cluster does.
    scene.say(&["token", "create", "--agent", "web-9"]).unwrap();

    // It is nobody any more, also when it runs again.
    scene.controller.start().unwrap();
    let log = scene.path("controller.log");
    until("the founder to be told", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("was removed from the cluster"))
    });
    assert_eq!(part(&scene, FIRST), None);
    let refused = refusal(scene.verger().args(["cluster", "add", FIRST]));
    assert!(refused.contains("once"), "{refused}");
    scene.controller.kill().unwrap();

    // Another joins by who has the roots now.
    let mut members = scene.rows(&["cluster", "members"]).unwrap();
    members.retain(|row| row["member"] == "c2");
    let enrol = members[0]["enrolAddress"].as_str().unwrap().to_owned();
    scene
        .join_member_by("c5", &Seat::anywhere().unwrap(), Some(&enrol))
        .unwrap();
    scene.promote("c5").unwrap();
    assert_eq!(
        parts(&scene)
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
        ["c2", "c3", "c4", "c5"]
    );

    // Who did that is on record.
    let rows = scene.rows(&["audit", "list", "--last", "0"]).unwrap();
    for (action, about) in [
        ("invite-member", "c5"),
        ("admit-member", "c5"),
        ("promote-member", "c5"),
        ("remove-member", FIRST),
        ("transfer-leader", FIRST),
    ] {
        let is_it = |row: &&serde_json::Value| {
            row["action"] == action
                && row["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains(about))
        };
        assert!(
            rows.iter().any(|row| is_it(&row)),
            "{action} of {about} is not on record"
        );
    }
}

/// Whether every member says that the agent is connected, whichever it is connected to.
fn is_connected_at_all(scene: &Scene) -> bool {
    let context = std::fs::read(scene.context()).unwrap();
    let context: serde_json::Value = serde_json::from_slice(&context).unwrap();
    let addresses = context["addresses"].as_array().unwrap().clone();
    assert_eq!(addresses.len(), 3);
    addresses.into_iter().all(|address| {
        let mut of_one = context.clone();
        of_one["addresses"] = vec![address].into();
        let file = scene.path("of-one.json");
        let _ = std::fs::remove_file(&file);
        verger_transport::files::create(&file, of_one.to_string().as_bytes()).unwrap();
        let mut hosts = scene.verger();
        hosts.env("VERGER_CONTEXT", &file);
        let output = hosts.args(["hosts", HOST, "--output", "json"]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout)
            .is_ok_and(|host| host["connected"] == true)
    })
}

#[test]
fn an_agent_leaves_a_member_that_cannot_tell_whether_it_is_current_and_all_members_know_of_it() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    scene.join_agent().unwrap();
    scene.agent.start().unwrap();
    until("all members to know that the agent is connected", || {
        is_connected_at_all(&scene)
    });
    // It came to the first one: that one alone is left.
    let lost = |scene: &Scene| {
        let log = std::fs::read_to_string(scene.path("agent.log")).unwrap();
        log.matches("no session with a controller").count()
    };
    assert_eq!(lost(&scene), 0, "its session was open all the while");
    for name in ["c2", "c3"] {
        scene.member(name).unwrap().freeze().unwrap();
    }
    until("its session to be ended", || lost(&scene) > 0);
    let log = std::fs::read_to_string(scene.path("controller.log")).unwrap();
    assert!(
        log.contains("whether this member is current has changed"),
        "{log}"
    );
    for name in ["c2", "c3"] {
        scene.member(name).unwrap().thaw().unwrap();
    }
    until("all members to know that it is back", || {
        is_connected_at_all(&scene)
    });
}

#[test]
fn a_member_keeps_its_name() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 1).unwrap();
    scene.controller.stop().unwrap();
    let file = scene.path("controller.toml");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("member = \"other\"\n{whole}")).unwrap();
    let refused = refusal(&mut scene.on_the_member(&["run"]).unwrap());
    assert!(refused.contains("write `member = \"c1\"`"), "{refused}");
    std::fs::write(&file, whole).unwrap();
    scene.controller.start().unwrap();
}

/// Has a member that does not run be called somewhere else from its next start on, and listen there or not.
fn move_to(scene: &Scene, name: &str, listen: Option<SocketAddr>, called: SocketAddr) {
    let file = scene.path(&format!("{name}.toml"));
    let of = |line: &str| match line.split(" = ").next() {
        Some("peer_address") => format!("peer_address = \"{called}\"\n"),
        Some("peer_listen") if listen.is_some() => format!("peer_listen = \"{}\"\n", listen.unwrap()),
        _ => format!("{line}\n"),
    };
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, lines.lines().map(of).collect::<String>()).unwrap();
}

/// Whether a member is called there, and was heard lately.
fn is_heard_at(scene: &Scene, name: &str, address: SocketAddr) -> bool {
    let rows = scene.rows(&["cluster", "members"]).unwrap();
    let mut rows = rows.iter().filter(|row| row["member"] == name);
    rows.any(|row| {
        row["peerAddress"] == address.to_string()
            && row["heardMillisAgo"]
                .as_u64()
                .is_some_and(|millis| millis < 1_000)
    })
}

#[test]
fn a_member_that_is_called_elsewhere_is_part_of_a_quorum_there() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    scene.say(&["cluster", "transfer-leader", "c1"]).unwrap();
    scene.member("c2").unwrap().stop().unwrap();
    let elsewhere = Seat::anywhere().unwrap().address();
    move_to(&scene, "c2", Some(elsewhere), elsewhere);
    scene.member("c2").unwrap().start().unwrap();
    until("the leader to hear it there", || {
        is_heard_at(&scene, "c2", elsewhere)
    });
    // By the same leader, which decides with it alone now.
    assert_eq!(scene.leader().unwrap(), "c1");
    scene.member("c3").unwrap().kill().unwrap();
    scene.say(&["token", "create", "--agent", "web-1"]).unwrap();

    // Where it says that it is called, and nobody reaches it, nobody calls it.
    scene.member("c3").unwrap().start().unwrap();
    scene.member("c2").unwrap().stop().unwrap();
    let nowhere = Seat::anywhere().unwrap().address();
    move_to(&scene, "c2", None, nowhere);
    scene.member("c2").unwrap().start().unwrap();
    let told = scene.member("c2").unwrap().log();
    until("it to be told so", || {
        let said = std::fs::read_to_string(&told).unwrap();
        said.contains(&format!("does not reach member c2 at {nowhere}"))
    });
    assert!(is_heard_at(&scene, "c2", elsewhere));
    scene.member("c3").unwrap().kill().unwrap();
    scene.say(&["token", "create", "--agent", "web-2"]).unwrap();
}

#[test]
fn what_would_stop_the_cluster_is_refused_and_a_token_serves_once() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    let leader = scene.leader().unwrap();
    let followers = others(&scene, &leader);
    scene.member(&followers[0]).unwrap().kill().unwrap();
    until("the follower to be missed", || {
        let rows = scene.rows(&["cluster", "members"]).unwrap();
        let away = rows.iter().find(|row| row["member"] == followers[0].as_str());
        away.is_some_and(|row| row["heardMillisAgo"].as_u64().is_none_or(|millis| millis > 2_500))
    });
    let refused = refusal(scene.verger().args(["cluster", "remove", &followers[1]]));
    assert!(refused.contains("--force"), "{refused}");
    assert!(part(&scene, &followers[1]).is_some());
    // Who is away may go.
    scene.say(&["cluster", "remove", &followers[0]]).unwrap();
    assert_eq!(part(&scene, &followers[0]), None);

    // One token, two hosts.
    let seat = Seat::anywhere().unwrap();
    scene.draw_up_member("c8", &seat).unwrap();
    let mut join = scene.join_command("c8").unwrap();
    assert!(join.status().unwrap().success());
    let again = refusal(&mut join);
    assert!(again.contains("already holds a member"), "{again}");
    std::fs::remove_dir_all(scene.path("c8")).unwrap();
    let stolen = refusal(&mut join);
    assert!(stolen.contains("token"), "{stolen}");
}

#[test]
fn without_a_quorum_nothing_is_decided_and_the_cluster_is_shown_to_who_says_that_it_may_be_stale() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    let leader = scene.leader().unwrap();
    for name in scene.member_names() {
        if name != leader {
            scene.member(&name).unwrap().kill().unwrap();
        }
    }
    let output = scene.verger().args(["cluster", "status"]).output().unwrap();
    assert!(!output.status.success(), "a stale read");
    let shown = scene.say(&["cluster", "status", "--stale-ok"]).unwrap();
    assert!(shown.contains(&leader), "{shown}");
    let shown = scene.rows(&["cluster", "members", "--stale-ok"]).unwrap();
    assert_eq!(shown.len(), 3);
}

#[test]
fn members_change_their_certificates_while_they_run() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    let create = |scene: &Scene, agent: &str| scene.say(&["token", "create", "--agent", agent]).unwrap();
    let noted = scene.path("watch.err");
    let mut watching = scene.verger();
    watching.args(["audit", "watch", "--after", "0", "--output", "jsonl"]);
    watching.stderr(std::fs::File::create(&noted).unwrap());
    let watch = Watch::start(&mut watching).unwrap();
    let is_shown = |watch: &Watch, agent: &str| {
        let is_made = |row: &serde_json::Value| {
            let detail = row["detail"].as_str();
            row["action"] == "create-token" && detail.is_some_and(|detail| detail.contains(agent))
        };
        watch.next_where(PATIENCE, agent, is_made).unwrap();
    };
    create(&scene, "web-1");
    is_shown(&watch, "web-1");
    let names = scene.member_names();
    let shown = |scene: &Scene| -> Vec<_> {
        let shown = names.iter().map(|name| scene.certificate(name).unwrap());
        shown.collect()
    };
    let before = shown(&scene);
    // Unless it is told to, it keeps the one that it has.
    assert_eq!(shown(&scene), before);
    let pids = scene.member_pids().unwrap();
    for name in &names {
        scene.member(name).unwrap().reload().unwrap();
    }
    until("every member to show another certificate", || {
        let now = shown(&scene);
        now.iter().zip(&before).all(|(now, before)| now != before)
    });
    // None was started again, and the stream goes on.
    assert_eq!(scene.member_pids().unwrap(), pids);
    create(&scene, "web-2");
    is_shown(&watch, "web-2");
    assert_eq!(std::fs::read_to_string(&noted).unwrap(), "");
    // They take each other under the new ones: of two, each counts.
    let leader = scene.leader().unwrap();
    let followers = others(&scene, &leader);
    scene.member(&followers[0]).unwrap().stop().unwrap();
    scene.member(&followers[0]).unwrap().start().unwrap();
    scene.member(&followers[1]).unwrap().kill().unwrap();
    create(&scene, "web-3");
}

/// Stops all members, and starts them at another time of day.
fn off_until(scene: &mut Scene, faked: &str) -> [(&'static str, OsString); 4] {
    let names = scene.member_names();
    for name in &names {
        scene.member(name).unwrap().stop().unwrap();
    }
    let later = [
        ("LD_PRELOAD", clock::library().unwrap().into_os_string()),
        ("FAKETIME", faked.into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ];
    for name in &names {
        let member = scene.member(name).unwrap();
        for (variable, value) in &later {
            member.set_env(variable, value);
        }
        member.start().unwrap();
    }
    later
}

/// Has the glass broken at the first member, for an hour by the cluster's time: over before it begins, where that is hours behind.
fn break_glass(scene: &Scene, env: &[(&'static str, OsString)]) -> Result<(), String> {
    let glass = [
        "break-glass",
        "--person",
        "ada",
        "--reason",
        "all were off",
        "--for",
        "1h",
        "--context",
    ];
    let mut command = scene.on_member("c1", &glass).unwrap();
    command.arg(scene.path("glass.json"));
    let output = command.envs(env.iter().cloned()).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[test]
fn members_that_were_all_off_for_days_are_at_the_right_time_once_one_of_them_leads() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    let env = off_until(&mut scene, "+2d");
    until("the glass to be broken", || break_glass(&scene, &env).is_ok());
}

#[test]
fn a_start_makes_up_for_eight_days_and_no_more() {
    for (faked, is_believed) in [("+7d", true), ("+12d", false)] {
        let mut scene = Scene::of_members(&Programs::find().unwrap(), 1).unwrap();
        let env = off_until(&mut scene, faked);
        let broken = break_glass(&scene, &env);
        match is_believed {
            true => broken.unwrap(),
            false => {
                let why = broken.unwrap_err();
                assert!(why.contains("the login is over already"), "{why}");
            }
        }
    }
}

#[test]
fn five_members_outlast_any_two() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 5).unwrap();
    let leader = scene.leader().unwrap();
    let followers = others(&scene, &leader);
    let create = |scene: &Scene, agent: &str| scene.say(&["token", "create", "--agent", agent]).unwrap();
    // Who leads and another; and when they are back, two of those that went on without them.
    for (agent, two) in [
        ("web-1", [&leader, &followers[0]]),
        ("web-2", [&followers[1], &followers[2]]),
    ] {
        for name in two {
            scene.member(name).unwrap().kill().unwrap();
        }
        create(&scene, agent);
        let rows = scene.rows(&["audit", "list", "--last", "0"]).unwrap();
        let is_made = |row: &&serde_json::Value| {
            row["action"] == "create-token"
                && row["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains(agent))
        };
        assert_eq!(rows.iter().filter(is_made).count(), 1, "{agent}");
        for name in two {
            scene.member(name).unwrap().start().unwrap();
        }
    }
    assert_eq!(parts(&scene).len(), 5);
}

#[test]
fn a_sync_that_fails_stops_the_member_and_all_that_was_acknowledged_is_there_when_the_disk_works() {
    let programs = Programs::find().unwrap();
    let mut scene = Scene::of_members(&programs, 1).unwrap();
    let is_broken = scene.path("syncs-fail");
    let member = scene.member(FIRST).unwrap();
    member.stop().unwrap();
    member.set_env("LD_PRELOAD", programs.path("libverger_unsynced.so").unwrap());
    member.set_env("VERGER_SYNCS_FAIL_WHILE", &is_broken);
    member.start().unwrap();
    let made = |scene: &Scene| {
        let rows = scene.rows(&["audit", "list", "--last", "0"]).unwrap();
        let made = rows.iter().filter(|row| row["action"] == "create-token");
        made.map(|row| row["detail"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for agent in ["web-1", "web-2"] {
        scene.say(&["token", "create", "--agent", agent]).unwrap();
    }
    let before = made(&scene);
    assert_eq!(before.len(), 2);

    std::fs::write(&is_broken, "").unwrap();
    refusal(scene.verger().args(["token", "create", "--agent", "web-3"]));
    until("the member to stop", || {
        !scene.member(FIRST).unwrap().is_running().unwrap()
    });
    let told = std::fs::read_to_string(scene.member(FIRST).unwrap().log()).unwrap();
    let last = told.lines().rfind(|line| line.starts_with("verger-controller: "));
    let log = scene.path("controller/raft/log.chunks").display().to_string();
    assert!(last.is_some_and(|line| line.contains(&log)), "{told}");

    std::fs::remove_file(&is_broken).unwrap();
    scene.member(FIRST).unwrap().start().unwrap();
    // Of what was not acknowledged it may have some.
    assert!(made(&scene).starts_with(&before));
    scene.say(&["token", "create", "--agent", "web-4"]).unwrap();
    assert!(made(&scene).last().unwrap().contains("web-4"));
}

/// Changes a byte in the middle of a member's log, which does not run. Which file it is in.
fn damage_log(scene: &Scene, name: &str) -> std::path::PathBuf {
    let chunks = std::fs::read_dir(scene.path(name).join("raft/log.chunks")).unwrap();
    let files = chunks.map(|chunk| chunk.unwrap().path());
    let file = files
        .max_by_key(|file| std::fs::metadata(file).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn a_member_whose_log_is_damaged_says_so_and_has_all_again_from_its_peers_under_another_name() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    for agent in 1..=20 {
        scene
            .say(&["token", "create", "--agent", &format!("web-{agent}")])
            .unwrap();
    }
    // Whole, it starts as often as it likes.
    scene.member("c3").unwrap().stop().unwrap();
    scene.member("c3").unwrap().start().unwrap();
    scene.member("c3").unwrap().stop().unwrap();
    let file = damage_log(&scene, "c3");
    let refused = refusal(&mut scene.on_member("c3", &["run"]).unwrap());
    assert!(refused.contains(file.to_str().unwrap()), "{refused}");
    assert!(
        refused.contains("remove it from the cluster and let it join again"),
        "{refused}"
    );

    // As it was told.
    scene.say(&["cluster", "remove", "c3"]).unwrap();
    scene.join_member("c4", &Seat::anywhere().unwrap()).unwrap();
    scene.promote("c4").unwrap();
    scene.say(&["cluster", "members"]).unwrap();
    // It decides with one other alone, and has what there was.
    scene.member("c2").unwrap().kill().unwrap();
    until("another to lead", || {
        scene.leader().is_ok_and(|leader| leader != "c2")
    });
    scene.say(&["cluster", "transfer-leader", "c4"]).unwrap();
    assert_eq!(scene.leader().unwrap(), "c4");
    let rows = scene.rows(&["audit", "list", "--last", "0"]).unwrap();
    let made = rows.iter().filter(|row| row["action"] == "create-token").count();
    assert_eq!(made, 20);
    scene.say(&["token", "create", "--agent", "web-21"]).unwrap();
}

/// Takes a row out of what a member has applied, which does not run; its files are as whole as before.
fn lose_row(scene: &Scene, name: &str, (tree, key): (&str, &[u8])) {
    let state = SledState::open(&scene.path(name).join("raft")).unwrap();
    let applied = state.applied().unwrap().unwrap();
    let (mut rows, mut lost) = (Vec::new(), 0);
    state
        .visit_all(&mut |row| {
            match row.tree == tree && row.key == key {
                true => lost += 1,
                false => rows.push(Ok(row)),
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(lost, 1);
    state.replace_all(&mut rows.into_iter(), &applied).unwrap();
    state.flush().unwrap();
}

#[test]
fn a_member_that_came_to_another_state_says_so_stops_and_does_not_start_again() {
    let mut scene = Scene::of_members(&Programs::find().unwrap(), 3).unwrap();
    let bob = scene.path("bob.json").display().to_string();
    scene
        .say(&["context", "create", "--person", "bob", "--out", &bob])
        .unwrap();
    // Whole, it goes on however much is written.
    scene.member("c3").unwrap().stop().unwrap();
    scene.member("c3").unwrap().start().unwrap();
    scene.revoke_often("bob", 1_100).unwrap();
    scene
        .say(&["context", "revoke", "--person", "bob", "--lift"])
        .unwrap();
    assert!(scene.member("c3").unwrap().is_running().unwrap());

    scene.member("c3").unwrap().stop().unwrap();
    lose_row(&scene, "c3", ("logins", b"bob"));
    scene.member("c3").unwrap().start().unwrap();
    scene.revoke_often("bob", 1_100).unwrap();
    until("the member to stop", || {
        !scene.member("c3").unwrap().is_running().unwrap()
    });
    let told = std::fs::read_to_string(scene.member("c3").unwrap().log()).unwrap();
    let last = told.lines().rfind(|line| line.starts_with("verger-controller: "));
    assert!(
        last.is_some_and(|line| line.contains("came to another state than the others")),
        "{told}"
    );
    let refused = refusal(&mut scene.on_member("c3", &["run"]).unwrap());
    assert!(
        refused.contains("diverged") && refused.contains("join again"),
        "{refused}"
    );
    // The others do without it.
    scene.say(&["token", "create", "--agent", "web-1"]).unwrap();
    assert!(scene.member("c1").unwrap().is_running().unwrap());
    assert!(scene.member("c2").unwrap().is_running().unwrap());
}
