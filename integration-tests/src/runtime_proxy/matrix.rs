//! Verb by role by container: what Docker's CLI of each user does, held against a table that was written by hand.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::front::{CAREFUL, ELSEWHERE, OPERATOR, RUNNER, STRANGER, VIEWER, told};
use super::{Afar, Front};
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, PATIENCE};

/// Something that the CLI does to a container: what has to be done before and after, past the proxy.
pub(crate) struct Act {
    pub(crate) verb: &'static str,
    pub(crate) before: &'static [&'static str],
    /// `{}` is the container, `{image}` its image.
    pub(crate) does: &'static [&'static str],
    pub(crate) after: &'static [&'static str],
    /// Whether it goes on for as long as the container runs, and shows what that says.
    pub(crate) hears: bool,
}

/// What a container says meanwhile.
const SAID: &str = "said to whoever hears";
/// What has it say that.
pub(crate) const SAY: [&str; 3] = ["/bin/sh", "-c", "echo said to whoever hears > /proc/1/fd/1"];

/// Runs what hears a container until it has heard it, or ends by itself: whether it did as it is to, and what it printed.
pub(crate) fn heard(mut command: Command, say: impl Fn() -> Result<()>) -> Result<(bool, String)> {
    let printed = tempfile::NamedTempFile::new()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(printed.reopen()?)
        .stderr(printed.reopen()?)
        .spawn()?;
    let deadline = Instant::now() + PATIENCE;
    let told = || -> Result<String> { Ok(String::from_utf8_lossy(&fs::read(printed.path())?).into_owned()) };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status.success(), told()?));
        }
        let hears = told()?.contains(SAID);
        if hears || Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok((hears, told()?));
        }
        say()?;
    }
}

/// One that needs nothing before or after.
pub(crate) const fn act(verb: &'static str, does: &'static [&'static str]) -> Act {
    Act {
        verb,
        before: &[],
        does,
        after: &[],
        hears: false,
    }
}

const ACTS: &[Act] = &[
    act("get", &["inspect", "{}"]),
    act("get", &["top", "{}"]),
    act("get", &["diff", "{}"]),
    act("logs", &["logs", "{}"]),
    Act {
        hears: true,
        ..act("attach", &["attach", "--no-stdin", "--sig-proxy=false", "{}"])
    },
    act("exec", &["exec", "{}", "true"]),
    act("copy-out", &["cp", "{}:/etc/hostname", "-"]),
    act("copy-in", &["cp", "/etc/hostname", "{}:/tmp/copied"]),
    act("export", &["export", "{}"]),
    act("update", &["update", "--cpu-shares", "512", "{}"]),
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
        before: &["kill", "{}"],
        after: &["start", "{}"],
        ..act("start", &["start", "{}"])
    },
    Act {
        before: &["kill", "{}"],
        after: &["start", "{}"],
        ..act("wait", &["wait", "{}"])
    },
    Act {
        after: &["rename", "{}-renamed", "{}"],
        ..act("rename", &["rename", "{}", "{}-renamed"])
    },
    Act {
        after: &["rm", "--force", "{}-made"],
        ..act("create", &["create", "--name", "{}-made", "{image}"])
    },
    Act {
        before: &["create", "--name", "{}-made", "{image}"],
        after: &["rm", "--force", "{}-made"],
        ..act("delete", &["rm", "{}-made"])
    },
    Act {
        after: &["rmi", "{}-image"],
        ..act("commit", &["commit", "{}", "{}-image"])
    },
];

/// Whether a user may do it to a container of the workload, or of none. By hand: this is what the roles of the scene are meant to say.
pub(crate) fn may(uid: u32, verb: &str, is_of_workload: bool) -> bool {
    match uid {
        0 => true,
        RUNNER => is_of_workload,
        VIEWER => matches!(verb, "get" | "wait"),
        OPERATOR => matches!(
            verb,
            "get" | "wait" | "logs" | "kill" | "pause" | "restart" | "start" | "stop" | "unpause"
        ),
        // What is of no workload is within every scope of a deny.
        CAREFUL => verb != "exec",
        _ => false,
    }
}

/// Who calls: a user of the host, or a person from afar who is bound as that user is.
struct Caller {
    bound_as: u32,
    name: String,
    afar: Option<Afar>,
}

impl Caller {
    fn local(uid: u32) -> Self {
        Self {
            bound_as: uid,
            name: format!("local/{uid}"),
            afar: None,
        }
    }

    fn person(front: &Front, name: &str, bound_as: u32) -> Result<Self> {
        Ok(Self {
            bound_as,
            name: format!("person/{name}"),
            afar: Some(front.afar(name)?),
        })
    }

    fn cli(&self, front: &Front) -> Command {
        match &self.afar {
            None => front.cli(self.bound_as),
            Some(afar) => afar.cli(),
        }
    }
}

/// All that the acts could have changed: the container, others that were made of it, and images; by its name, for others use the daemon, too.
fn is(front: &Front, container: &str) -> Result<String> {
    let shown =
        "{{.Name}} {{.State.Status}} {{.State.StartedAt}} {{.State.FinishedAt}} {{.HostConfig.CpuShares}}";
    let itself = front.say(&["inspect", "--format", shown, container])?;
    let copied = front.say(&["diff", container])?;
    let name = format!("name={container}");
    let all = front.say(&["ps", "--all", "--filter", &name, "--format", "{{.ID}} {{.Names}}"])?;
    let images = front.say(&["image", "ls", "--format", "{{.ID}} {{.Repository}}"])?;
    let images: Vec<&str> = images.lines().filter(|image| image.contains(container)).collect();
    let images = images.join("\n");
    // Docker lists what is of one second in any order.
    let mut lines: Vec<&str> = [&itself, &copied, &all, &images]
        .into_iter()
        .flat_map(|text| text.lines())
        .collect();
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

/// Runs every seventh case, or all of them.
///
/// # Errors
/// When the scene does not work.
pub fn run(long: bool) -> Result<Verdict> {
    let programs = Programs::find()?;
    let front = Front::found(&programs, Docker::find()?)?;
    let (mut cases, mut wrong, mut refused) = (0, 0, 0);
    let mut turn = (0..if long { 1 } else { 7 }).cycle();
    let mut callers: Vec<Caller> = [0, RUNNER, VIEWER, OPERATOR, STRANGER, CAREFUL, ELSEWHERE]
        .map(Caller::local)
        .into();
    for (name, bound_as) in [("runner", RUNNER), ("viewer", VIEWER), ("stranger", STRANGER)] {
        callers.push(Caller::person(&front, name, bound_as)?);
    }
    for caller in &callers {
        let uid = caller.bound_as;
        for (container, image) in [
            (&front.web, "verger-test/app"),
            (&front.other, "verger-test/busybox"),
        ] {
            let is_of_workload = *container == front.web;
            for act in ACTS {
                if turn.next() != Some(0) {
                    continue;
                }
                let fill = |words: &[&str]| -> Vec<String> {
                    let filled = |word: &&str| word.replace("{}", container).replace("{image}", image);
                    words.iter().map(filled).collect()
                };
                if !act.before.is_empty() {
                    let output = front.real().args(fill(act.before)).output()?;
                    ensure!(output.status.success(), "{:?}: {}", act.before, told(&output));
                }
                let allowed = may(uid, act.verb, is_of_workload);
                let before = is(&front, container)?;
                let mut command = caller.cli(&front);
                command.args(fill(act.does));
                let (is_success, told) = match act.hears {
                    true => heard(command, || {
                        front
                            .say(&[&["exec", container.as_str()], &SAY[..]].concat())
                            .map(drop)
                    })?,
                    false => {
                        let output = command.output().context("starting docker")?;
                        (output.status.success(), told(&output))
                    }
                };
                let fits = match allowed {
                    true => is_success && !told.contains("verger:"),
                    // The CLI looks at a container before some of the things it does.
                    false => {
                        refused += 1;
                        // Of a refusal to attach the CLI shows the number alone.
                        let says = match act.hears && may(uid, "get", is_of_workload) {
                            true => "unable to upgrade to tcp, received 403".to_owned(),
                            false => format!("verger: {} may not ", caller.name),
                        };
                        !is_success && told.contains(&says) && is(&front, container)? == before
                    }
                };
                cases += 1;
                if !fits {
                    wrong += 1;
                    tell(&format!(
                        "{} {} {container}: allowed is to be {allowed}, and: {told}",
                        caller.name, act.verb
                    ));
                }
                if !act.after.is_empty() {
                    // Where it was refused there is nothing to undo.
                    front.real().args(fill(act.after)).output()?;
                }
                let running = front.say(&["inspect", "--format", "{{.State.Status}}", container])?;
                ensure!(
                    running == "running",
                    "{container} is {running} after {}",
                    act.verb
                );
            }
        }
    }
    // Whoever may not list everything is shown his own; others may have containers at this daemon, too.
    for (uid, shown) in [
        (VIEWER, Some([true, true])),
        (OPERATOR, Some([true, true])),
        (RUNNER, Some([true, false])),
        (STRANGER, None),
        (ELSEWHERE, None),
        (CAREFUL, Some([true, true])),
    ] {
        let output = front.cli(uid).args(["ps", "--format", "{{.Names}}"]).output()?;
        let told = told(&output);
        let sees = [&front.web, &front.other].map(|name| told.lines().any(|line| line == name));
        let fits = match shown {
            Some(shown) => output.status.success() && sees == shown,
            None => told.contains(&format!("verger: local/{uid} may not list containers")),
        };
        cases += 1;
        if !fits {
            wrong += 1;
            tell(&format!("local/{uid} is to be shown {shown:?}, and: {told}"));
        }
    }
    Ok(Verdict {
        figure: format!(
            "{} of {cases} calls of Docker's CLI by 7 users and 3 people from afar did what the roles say, {refused} of them refused in Verger's words",
            cases - wrong
        ),
        holds: wrong == 0 && refused > 0,
    })
}
