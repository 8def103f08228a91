//! A caller in a container that ends before it is looked at, and whose number is a process of the host's by then.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Front;
use super::bypasses::{IMAGE, PATH, Tally, forget, is_made, post, with};

/// How often a number is tried for; others start processes, too.
const TRIES: usize = 200;

/// A request waits in the queue of a socket that nobody accepts from, and whoever sent it is gone.
pub(super) fn number(front: &Front, tally: &mut Tally) -> Result<()> {
    let name = front.docker.name("reused");
    let pid = front.docker.pid(&front.other)?;
    let request = post(&format!("{PATH}?name={name}"), &with(r#"{"Privileged":true}"#));
    let works = is_made(&front.raw_within(&pid, front.docker.socket(), &request)?);
    forget(front, &name)?;

    front.scene.agent.freeze()?;
    let asked = asked_and_left(front, &pid, &request);
    front.scene.agent.thaw()?;
    let holder = asked?;
    let told = format!("process {} (uid 0) has ended since it connected", holder.0.id());
    let log = front.scene.wait_for("the agent to tell of who called", || {
        let log = fs::read_to_string(front.scene.agent.log())?;
        let mut lines = log
            .lines()
            .filter(|line| line.contains("runtime") && line.contains("process"));
        let last = lines.next_back().map(str::to_owned);
        Ok(last.filter(|line| line.contains(&told) || line.contains(&name)))
    });
    let refused = log.is_ok() && !front.is_there(&name)?;
    forget(front, &name)?;

    // Who has a number of his own, and waits, is served.
    let twin = front.raw(
        0,
        &front.socket(),
        &post(&format!("{PATH}?name={name}"), &with("{}")),
    )?;
    let passes = is_made(&twin) && front.say(&["inspect", "--format", "{{.Config.Image}}", &name])? == IMAGE;
    forget(front, &name)?;
    tally.count("reused-number", works, refused, passes, &format!("{log:?}"));
    Ok(())
}

/// A process of the host that ends with this.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Asks from within a container, and has a process of the host take the number of who asked.
fn asked_and_left(front: &Front, pid: &str, request: &[u8]) -> Result<Holder> {
    let number = front.left_within(pid, &front.socket(), request)?;
    for _ in 0..TRIES {
        fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string())
            .context("numbers of processes cannot be chosen (pid_namespaces(7), ns_last_pid)")?;
        let holder = Holder(
            Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?,
        );
        if holder.0.id() == number {
            let ours = fs::read_link("/proc/self/ns/pid")?;
            let its = fs::read_link(format!("/proc/{number}/ns/pid"))?;
            ensure!(
                ours == its,
                "by its number alone it would be taken for one of the host"
            );
            return Ok(holder);
        }
    }
    anyhow::bail!("number {number} was not had again in {TRIES} tries")
}
