//! Policy files: what `verger apply` answers, and what it costs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Tally, raw_in};
use crate::scene::Scene;

/// A bad file is told apart within this CPU time, seconds.
const CPU_SECONDS: &str = "2";
/// And this memory (RLIMIT_DATA: what it writes to), bytes.
const DATA: &str = "67108864";
/// And this time, on a machine that does other things too.
const WALL: Duration = Duration::from_secs(20);

/// A file, and what its refusal must say. `:` and a digit stand for line and column.
struct Case {
    name: &'static str,
    text: Vec<u8>,
    says: &'static [&'static str],
}

fn case(name: &'static str, text: impl Into<Vec<u8>>, says: &'static [&'static str]) -> Case {
    Case {
        name,
        text: text.into(),
        says,
    }
}

fn workload(spec: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: bad/web }}\nspec:\n  match: {{ container: {{ image: bad }} }}\n{spec}"
    )
}

fn cases() -> Vec<Case> {
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut bomb = String::from("a0: &a0 [ x, x, x, x, x, x, x, x, x ]\n");
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [ {} ]\n", [before.as_str(); 9].join(", "));
    }
    let mut blocks = String::new();
    for depth in 0..2_000 {
        blocks += &format!("{}a:\n", " ".repeat(depth));
    }
    vec![
        case("alias-bomb", bomb, &[":7:", "values"]),
        case(
            "alias-bomb-of-bytes",
            format!(
                "a: &a \"{}\"\nb: [ {} ]\n",
                "x".repeat(1 << 19),
                "*a, ".repeat(200)
            ),
            &[":2:", "bytes of text"],
        ),
        case(
            "ten-thousand-brackets",
            "[".repeat(10_000),
            &[":1:", "nest deeper"],
        ),
        case("deep-blocks", blocks, &[":65:", "nest deeper"]),
        case(
            "duplicate-keys",
            workload("  config: { images: [], images: [] }\n"),
            &[":6:", "images"],
        ),
        case(
            "unknown-field",
            workload(&format!("  config: {{ images: [ {digest} ], imagez: 1 }}\n")),
            &[":6:", "imagez"],
        ),
        case(
            "unknown-kind",
            "apiVersion: verger/v1\nkind: Wurkload\nmetadata: { name: x }\nspec: {}\n",
            &[":2:7", "Wurkload", "Workload"],
        ),
        case(
            "tag-for-digest",
            workload("  config: { images: [ \"nginx:latest\" ] }\n"),
            &[":6:", "nginx:latest", "digest"],
        ),
        case(
            "short-digest",
            workload("  config: { images: [ \"sha256:abc\" ] }\n"),
            &[":6:", "sha256:abc"],
        ),
        case(
            "image-never-seen",
            workload(&format!("  config: {{ images: [ {digest} ] }}\n")),
            &["no host runs", "sha256:aaaa", "--unseen-images"],
        ),
        case(
            "every-problem-at-once",
            workload(
                "  config: { images: [ x ], rootfs: maybe, capabilities: [ FLY ], limits: { pids: -3 } }\n",
            ),
            &["images", "rootfs", "capabilities", "pids"],
        ),
        case(
            "escape-in-a-name",
            workload("  hosts: { \"zone\\e[2J\": eu }\n"),
            &[":6:"],
        ),
        case(
            "script-in-a-name",
            "apiVersion: verger/v1\nkind: Host\nmetadata: { name: \"<script>\" }\nspec: { agent: a }\n",
            &[":3:", "name"],
        ),
        case(
            "not-utf8",
            b"apiVersion: \xff\xfe\n".to_vec(),
            &[":1:13", "UTF-8"],
        ),
        case("a-tag", "apiVersion: !!binary dmVyZ2Vy\n", &[":1:"]),
        case("nothing", "", &["no policy object in", "nothing.yaml"]),
        case("not-a-mapping", "- a\n- b\n", &[":1:1"]),
        case("over-the-limit", vec![b'#'; (16 << 20) + 1], &["bytes"]),
    ]
}

pub(super) fn feed(scene: &Scene) -> Result<Tally> {
    let mut tally = Tally::new("bad policy files refused with place and remedy");
    for Case { name, text, says } in cases() {
        let file = scene.path(&format!("{name}.yaml"));
        std::fs::write(&file, text)?;
        let mut limited = Command::new("prlimit");
        limited.args([
            &format!("--cpu={CPU_SECONDS}"),
            &format!("--data={DATA}"),
            "--core=0",
        ]);
        let verger = scene.verger();
        let mut command = limited;
        command.arg("--").arg(verger.get_program());
        for (key, value) in verger.get_envs() {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        let began = Instant::now();
        let output = command
            .args(["apply", "--file"])
            .arg(&file)
            .output()
            .context("starting prlimit")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let missing: Vec<&&str> = says.iter().filter(|word| !said.contains(**word)).collect();
        let problem = if output.status.code() != Some(2) {
            Some(format!("ended with {} instead of 2", output.status))
        } else if !missing.is_empty() {
            Some(format!("its answer lacks {missing:?}"))
        } else if raw_in(&said).is_some() || said.len() > 64 << 10 {
            Some("its answer is not fit for a terminal".to_owned())
        } else if began.elapsed() > WALL {
            Some(format!("it took {:?}", began.elapsed()))
        } else {
            None
        };
        let shown: String = said.chars().take(400).collect();
        tally.count(problem.map(|what| format!("{name}: {what}: {}", shown.escape_debug())));
    }
    tally.note = format!(" (each within {CPU_SECONDS} s of CPU and 64 MiB)");
    Ok(tally)
}
