//! A terminal of somebody's, passed on by `docker exec -it`: what is typed, its size, and that the size changes.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::said::{Said, ends};
use super::{Client, Way};
use crate::runtime_proxy::front::cli;

/// Waits for 10 s until the terminal has this size, and says so. It has none at first: it is told once the process runs.
const SIZED: &str = "sized() { n=0; until test \"$(stty size 2>/dev/null)\" = \"$1\"; do n=$((n+1)); test $n -lt 100 || exit 9; sleep 0.1; done; echo size $1; }";

/// What is typed comes in, and the process sees the size that the terminal has, and then the other one that it gets.
pub(super) fn resizes(client: &Client<'_>) -> Result<Vec<Said>> {
    let front = client.front;
    let web = front.web.as_str();
    front.say(&["exec", web, "rm", "-f", "/tmp/sized"])?;
    let (as_user, past) = (
        docker(client),
        docker(&Client {
            front,
            way: Way::Direct,
        }),
    );
    let inside = format!(
        "{SIZED}; tty >/dev/null && echo terminal; read x; echo got-$x; sized \"33 77\"; touch /tmp/sized; sized \"41 99\"; exit 5"
    );
    // The window is made larger once the process has seen how large it was.
    let outside = format!(
        "stty rows 33 cols 77; (n=0; until {past} exec {web} test -e /tmp/sized; do n=$((n+1)); test $n -lt 100 || exit; sleep 0.1; done; stty -F /dev/tty rows 41 cols 99) >/dev/null 2>&1 & {as_user} exec -it {web} sh -c '{inside}'"
    );
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--log-out", "/dev/null", "--command"])
        .arg(outside);
    let Said { code, out, err } = ends(script, b"typed\n")?;
    // What is typed is echoed by one terminal or by two, as the first is still made or not.
    let is_said = |line: &&str| {
        ["terminal", "got-", "size "]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let lines: Vec<&str> = out.lines().map(str::trim).filter(is_said).collect();
    ensure!(
        lines == ["terminal", "got-typed", "size 33 77", "size 41 99"],
        "it is to have a terminal of two sizes: {out:?} {err:?}"
    );
    let said = Said {
        code,
        out: lines.join("\n"),
        err,
    };
    // Without one it says so by itself.
    let none = client.does(&["exec", "--interactive", "--tty", web, "true"])?;
    ensure!(none.code != 0, "there is no terminal, and yet: {none:?}");
    Ok(vec![said.ending(5).context("in a terminal")?, none])
}

/// `docker` of a client, in a line of a shell.
fn docker(client: &Client<'_>) -> String {
    let socket = client.socket();
    let docker = format!("{} --host unix://{}", cli(), socket.display());
    match client.way {
        Way::Direct => docker,
        Way::Through(uid) => {
            format!("setpriv --reuid {uid} --regid {uid} --clear-groups env HOME=/nonexistent {docker}")
        }
    }
}
