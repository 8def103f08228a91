//! Verb by role by container: what Podman's CLI of each user does, held against the table that Docker's is held against.

use anyhow::{Context as _, Result, ensure};

use super::Count;
use super::front::{Front, OTHER, WEB, told};
use crate::point::tell;
use crate::runtime_proxy::{
    Act, CAREFUL, ELSEWHERE, OPERATOR, RUNNER, SAY, STRANGER, VIEWER, act, heard, may,
};

const CREATE: &[&str] = &[
    "create",
    "--pull",
    "never",
    "--name",
    "{}-made",
    "--network",
    "none",
    "{image}",
    "/bin/sleep",
    "600",
];
const REMOVE: &[&str] = &["rm", "--force", "--ignore", "--time", "0", "{}-made"];

const ACTS: &[Act] = &[
    act("get", &["container", "inspect", "{}"]),
    act("get", &["top", "{}"]),
    act("get", &["diff", "{}"]),
    act("logs", &["logs", "{}"]),
    Act {
        hears: true,
        ..act("attach", &["attach", "--no-stdin", "--sig-proxy=false", "{}"])
    },
    act("exec", &["exec", "{}", "/bin/true"]),
    act("copy-out", &["cp", "{}:/bin/cat", "-"]),
    act("copy-in", &["cp", "/etc/hostname", "{}:/tmp/copied"]),
    act("export", &["export", "--output", "exported.tar", "{}"]),
    act("restart", &["restart", "--time", "0", "{}"]),
    Act {
        after: &["unpause", "{}"],
        ..act("pause", &["pause", "{}"])
    },
    Act {
        before: &["pause", "{}"],
        after: &["unpause", "{}"],
        ..act("unpause", &["unpause", "{}"])
    },
    Act {
        after: &["start", "{}"],
        ..act("kill", &["kill", "{}"])
    },
    Act {
        after: &["start", "{}"],
        ..act("stop", &["stop", "--time", "0", "{}"])
    },
    Act {
        before: &["stop", "--time", "0", "{}"],
        after: &["start", "{}"],
        ..act("start", &["start", "{}"])
    },
    Act {
        before: &["stop", "--time", "0", "{}"],
        after: &["start", "{}"],
        ..act("wait", &["wait", "{}"])
    },
    Act {
        after: &["rename", "{}-renamed", "{}"],
        ..act("rename", &["rename", "{}", "{}-renamed"])
    },
    Act {
        after: REMOVE,
        ..act("create", CREATE)
    },
    Act {
        before: CREATE,
        after: REMOVE,
        ..act("delete", &["rm", "{}-made"])
    },
    Act {
        after: &["rmi", "localhost/{}-image"],
        ..act("commit", &["commit", "--quiet", "{}", "localhost/{}-image"])
    },
];

/// All that the acts could have changed.
fn is(front: &Front, container: &str) -> Result<String> {
    let shown = "{{.Name}} {{.State.Status}} {{.State.StartedAt}} {{.State.FinishedAt}}";
    let itself = front.say(&["inspect", "--format", shown, container])?;
    let copied = front.say(&["diff", container])?;
    let all = front.say(&["ps", "--all", "--format", "{{.ID}} {{.Names}}"])?;
    let images = front.say(&["image", "ls", "--format", "{{.ID}} {{.Repository}}"])?;
    Ok([itself, copied, all, images].join("\n"))
}

/// Runs every fifth case, or all of them.
pub(super) fn run(front: &Front, long: bool) -> Result<Count> {
    let mut count = Count::default();
    let mut turn = (0..if long { 1 } else { 5 }).cycle();
    for uid in [0, RUNNER, VIEWER, OPERATOR, STRANGER, CAREFUL, ELSEWHERE] {
        for (container, image) in [("web", WEB), ("other", OTHER)] {
            for act in ACTS {
                if turn.next() == Some(0) {
                    case(front, &mut count, uid, container, image, act)
                        .with_context(|| format!("local/{uid} {} {container}", act.verb))?;
                }
            }
        }
    }
    lists(front, &mut count)?;
    Ok(count)
}

fn case(front: &Front, count: &mut Count, uid: u32, container: &str, image: &str, act: &Act) -> Result<()> {
    let fill = |words: &[&'static str]| -> Vec<String> {
        let filled = |word: &&str| word.replace("{}", container).replace("{image}", image);
        words.iter().map(filled).collect()
    };
    if !act.before.is_empty() {
        let output = front.real()?.args(fill(act.before)).output()?;
        ensure!(output.status.success(), "{:?}: {}", act.before, told(&output));
    }
    let allowed = may(uid, act.verb, container == "web");
    let before = is(front, container)?;
    let mut command = front.cli(uid)?;
    command.args(fill(act.does));
    let (is_success, told) = match act.hears {
        true => heard(command, || {
            front.say(&[&["exec", container], &SAY[..]].concat()).map(drop)
        })?,
        false => {
            let output = command.output().context("starting podman")?;
            (output.status.success(), told(&output))
        }
    };
    let fits = match allowed {
        true => is_success && !told.contains("verger:"),
        false => {
            count.refused += 1;
            // Before it copies, the CLI asks whether there is such a container, and of a refusal it makes that there is none.
            let is_hidden = act.does[0] == "cp" && !may(uid, "get", container == "web");
            let says = match is_hidden {
                true => format!("container \"{container}\" does not exist"),
                false => format!("verger: local/{uid} may not "),
            };
            !is_success && told.contains(&says) && is(front, container)? == before
        }
    };
    count.add(fits);
    if !fits {
        tell(&format!(
            "local/{uid} {} {container}: allowed is to be {allowed}, and: {}",
            act.verb,
            told.chars().take(600).collect::<String>()
        ));
    }
    if !act.after.is_empty() {
        // Where it was refused there is nothing to undo.
        front.real()?.args(fill(act.after)).output()?;
    }
    let running = front.say(&["inspect", "--format", "{{.State.Status}}", container])?;
    ensure!(running == "running", "{container} is {running}");
    Ok(())
}

/// Whoever may not list everything is shown his own.
fn lists(front: &Front, count: &mut Count) -> Result<()> {
    for (uid, sees) in [
        (VIEWER, Some(2)),
        (OPERATOR, Some(2)),
        (RUNNER, Some(1)),
        (CAREFUL, Some(2)),
        (STRANGER, None),
        (ELSEWHERE, None),
    ] {
        let output = front.cli(uid)?.args(["ps", "--quiet"]).output()?;
        let told = told(&output);
        let fits = match sees {
            Some(number) => output.status.success() && told.lines().count() == number,
            None => !output.status.success() && told.contains("may not list containers"),
        };
        count.refused += usize::from(sees.is_none());
        count.add(fits);
        if !fits {
            tell(&format!("local/{uid} lists {sees:?}: {told}"));
        }
    }
    Ok(())
}
