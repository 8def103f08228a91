//! A container that is hostile in everything a user may name, next to a benign one.

use anyhow::Result;
use serde_json::json;

use super::{Tally, WORKLOAD, raw_in};
use crate::scene::{Docker, HOST, Scene, checked};

/// What a name may be made of: moves the cursor, overwrites the line, turns the text round, and means something to a page.
const NAME: &str = "x\u{1b}[2J\u{1b}]0;owned\u{7}\rok \u{202e}gnp\u{2066}<script>alert(1)</script>";
/// Variables.
const VARIABLES: usize = 10_000;
/// One label.
const LABEL_BYTES: usize = 1 << 20;

pub(super) fn feed(scene: &Scene, docker: &Docker, benign: &str) -> Result<Tally> {
    let mut tally = Tally::new("views of hostile containers shown safely");
    let many = docker.name("hostile-many");
    let variables: Vec<String> = (0..VARIABLES)
        .map(|number| format!("VARIABLE_{number}=value"))
        .collect();
    let labels = json!({ "big": "x".repeat(LABEL_BYTES) });
    docker.run_by_api(
        &many,
        &json!({ "Image": "verger-test/app", "Env": variables, "Labels": labels }),
    )?;
    let named = docker.name("hostile-named");
    docker.run_by_api(
        &named,
        &json!({
            "Image": "verger-test/app",
            "Env": [format!("{NAME}=1")],
            "Labels": { NAME: NAME },
            "WorkingDir": "/tmp/\u{202e}\r",
            "Cmd": [format!("exec sleep 3600 # {NAME}")],
            "HostConfig": { "Tmpfs": { "/data\u{1b}[31m": "" } },
        }),
    )?;
    for hostile in [&many, &named] {
        scene.judged(hostile, |row| {
            row["workloads"][0] == WORKLOAD && row["failed"] != 0
        })?;
    }
    scene.findings_arrived()?;
    let benign_row = scene.judged(benign, |_| true)?;
    tally.count((benign_row["failed"] != 0).then(|| "the benign container fails too".to_owned()));

    let uids: Vec<String> = scene
        .open_findings()?
        .iter()
        .filter_map(|finding| finding["uid"].as_str().map(str::to_owned))
        .collect();
    let rules: Vec<String> = scene
        .open_findings()?
        .iter()
        .filter_map(|finding| finding["rule"].as_str().map(str::to_owned))
        .collect();
    for wanted in [
        "config/env",
        "config/command",
        "config/mounts",
        "config/working-dir",
    ] {
        let there = rules.iter().any(|rule| rule == wanted);
        tally.count((!there).then(|| format!("the hostile containers raise no {wanted}")));
    }
    for format in ["table", "wide", "json", "yaml", "jsonl", "name"] {
        for view in [&["instances"][..], &["findings", "list"], &["hosts"]] {
            look(scene, &mut tally, view, format)?;
        }
        look(scene, &mut tally, &["instances", &named, "--host", HOST], format)?;
    }
    for uid in uids.iter().take(40) {
        look(scene, &mut tally, &["findings", "show", uid], "yaml")?;
        look(scene, &mut tally, &["findings", "explain", uid], "table")?;
    }
    for hostile in [&many, &named] {
        let drafted = scene.bless(docker, hostile, "hostile/blessed");
        tally.count(match &drafted {
            Ok(draft) => raw_in(draft).map(|raw| format!("the draft of {hostile} holds {raw:?}")),
            Err(error) => raw_in(&error.to_string()).map(|raw| format!("blessing {hostile} answers {raw:?}")),
        });
    }
    for name in [many, named] {
        docker.remove(&name)?;
    }
    for log in [scene.agent.log(), scene.controller.log()] {
        let text = std::fs::read_to_string(&log)?;
        let raw = text
            .lines()
            .find(|line| raw_in(line).is_some_and(|raw| raw != '\u{1b}' && raw != '\t'));
        tally.count(raw.map(|line| format!("{} holds {}", log.display(), line.escape_debug())));
    }
    Ok(tally)
}

fn look(scene: &Scene, tally: &mut Tally, view: &[&str], format: &str) -> Result<()> {
    let output = checked(scene.verger().args(view).args(["--output", format]))?;
    let said = String::from_utf8(output.stdout);
    tally.count(match said {
        Err(_) => Some(format!("{view:?} -o {format} is not UTF-8")),
        Ok(said) => raw_in(&said).map(|raw| format!("{view:?} -o {format} holds {raw:?}")),
    });
    Ok(())
}
