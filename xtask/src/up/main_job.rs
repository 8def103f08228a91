//! The main job on real containers: bless what runs, let it drift, see each finding, lift one for a while.

mod told;

pub(super) use told::EXPECTED;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use self::told::{WORKLOAD, faults, last, lines, tells_in_turn};
use super::Scene;
use crate::workspace::run;

/// How long an expected change may take to show. Changes that raise no event are looked for every four seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// How long the exception of the scenario holds.
const EXCEPTION_SECONDS: u32 = 15;
/// The container that is blessed.
const BLESSED: &str = "verger-up-web";
/// A container that claims to be the same workload, and is not.
const DRIFTED: &str = "verger-up-drifted";
/// The scenario.
pub(super) struct MainJob<'a> {
    scene: &'a Scene,
    bundles: PathBuf,
}

/// A process that ends with this value: one moved into a container from outside, or a command that goes on for ever.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl<'a> MainJob<'a> {
    pub(super) fn new(scene: &'a Scene) -> Self {
        Self {
            scene,
            bundles: scene.stage.dockerd.bundles(),
        }
    }

    pub(super) fn show(&self) -> Result<()> {
        self.clear()?;
        println!("\n==> a container runs, and what runs is blessed");
        self.docker(&[
            "run",
            "--detach",
            "--name",
            BLESSED,
            "--security-opt",
            "no-new-privileges",
            "verger-test/app",
        ])?;
        self.bless()?;
        self.wait_for("the container to be judged clean", || {
            let clean = |one: &Value| {
                ["failed", "excepted", "notEvaluated", "errors"]
                    .iter()
                    .all(|count| one[*count] == 0)
            };
            Ok(self
                .instances()?
                .iter()
                .any(|one| one["name"] == BLESSED && clean(one) && one["workloads"][0] == "demo/web"))
        })?;
        run(self.scene.verger().args(["instances"]))?;

        let told = self.scene.file("findings.jsonl");
        let stream = self.watch(&told)?;
        println!(
            "\n==> drift: another container of the same image, changed in five ways; and two changes from outside that Docker does not show"
        );
        self.docker(&[
            "run",
            "--detach",
            "--name",
            DRIFTED,
            "--security-opt",
            "no-new-privileges",
            "--user",
            "0",
            "--cap-add",
            "NET_ADMIN",
            "--env",
            "EXTRA=1",
            "--volume",
            "/tmp:/data",
            "verger-test/app",
            "sleep 3600; true",
        ])?;
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", BLESSED])?;
        run(Command::new("nsenter").args([
            "--target", &pid, "--mount", "mount", "-t", "tmpfs", "outside", "/srv",
        ]))?;
        let intruder = Command::new("nsenter")
            .args(["--target", &pid, "--mount", "--pid", "--net", "sleep", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting nsenter")?;
        let intruder = Ended(intruder);
        self.wait_for("every finding of the drift", || {
            Ok(self.missing(&self.findings()?).is_empty())
        })?;
        run(self.scene.verger().args(["findings", "list"]))?;
        self.wait_for("the stream to tell of every finding", || {
            Ok(self.missing(&lines(&told)?).is_empty())
        })?;
        for (whose, findings) in [("the list", self.findings()?), ("the stream", lines(&told)?)] {
            let faults = faults(&findings);
            ensure!(
                faults.is_empty(),
                "{whose} tells otherwise: {}",
                faults.join("; ")
            );
        }
        println!("    the stream told each with its expected and actual value, and which policy decided");

        println!(
            "\n==> an exception lifts the root finding for {EXCEPTION_SECONDS} seconds, and its end brings it back"
        );
        self.except()?;
        self.wait_for("the root finding to be suppressed", || self.root_is("suppressed"))?;
        println!("    suppressed");
        self.wait_for("the root finding to open again", || self.root_is("open"))?;
        println!("    open again");
        let states = [
            ("suppressed", "Exception/demo/root-for-a-moment"),
            ("open", WORKLOAD),
        ];
        self.wait_for("the stream to tell of both", || {
            Ok(tells_in_turn(&lines(&told)?, &states))
        })?;
        drop((intruder, stream));
        self.say_what_next();
        Ok(())
    }

    /// Removes what an earlier run left, so that the scenario shows the same each time.
    fn clear(&self) -> Result<()> {
        for name in [BLESSED, DRIFTED] {
            let mut command = self.docker_command(&["rm", "--force", name]);
            // No such container is what is wanted.
            let _ = command.output().context("running docker")?;
        }
        Ok(())
    }

    fn docker_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.scene.docker_host]).args(arguments);
        command
    }

    fn docker(&self, arguments: &[&str]) -> Result<String> {
        let output = self
            .docker_command(arguments)
            .output()
            .context("running docker")?;
        ensure!(
            output.status.success(),
            "docker {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn rows(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let output = self
            .scene
            .verger()
            .args(arguments)
            .args(["--output", "jsonl"])
            .output()?;
        ensure!(
            output.status.success(),
            "verger {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)?
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    fn instances(&self) -> Result<Vec<Value>> {
        self.rows(&["instances"])
    }

    fn findings(&self) -> Result<Vec<Value>> {
        self.rows(&["findings", "list"])
    }

    /// `findings watch`, into a file.
    fn watch(&self, file: &Path) -> Result<Ended> {
        let out = fs::File::create(file).with_context(|| format!("making {}", file.display()))?;
        let child = self
            .scene
            .verger()
            .args(["findings", "watch", "--output", "jsonl"])
            .stdin(Stdio::null())
            .stdout(out)
            .spawn()
            .context("starting verger findings watch")?;
        Ok(Ended(child))
    }

    /// Expected findings that are not open.
    fn missing(&self, findings: &[Value]) -> Vec<&'static str> {
        EXPECTED
            .iter()
            .filter(|expected| last(findings, expected).is_none_or(|finding| finding["state"] != "open"))
            .map(|expected| expected.rule)
            .collect()
    }

    fn root_is(&self, state: &str) -> Result<bool> {
        Ok(self
            .findings()?
            .iter()
            .any(|finding| finding["rule"] == "privilege/is-root" && finding["state"] == state))
    }

    fn bless(&self) -> Result<()> {
        let output = self
            .scene
            .verger()
            .args([
                "bless",
                "--from-running",
                BLESSED,
                "--name",
                "demo/web",
                "--docker-host",
                &self.scene.docker_host,
            ])
            .arg("--oci-root")
            .arg(&self.bundles)
            .output()?;
        ensure!(
            output.status.success(),
            "verger bless: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let file = self.scene.file("web.yaml");
        fs::write(&file, output.stdout)?;
        run(self.scene.verger().args(["apply", "--file"]).arg(file))
    }

    fn except(&self) -> Result<()> {
        let until = Command::new("date")
            .args([
                "--utc",
                "--date",
                &format!("+{EXCEPTION_SECONDS} seconds"),
                "+%Y-%m-%dT%H:%M:%SZ",
            ])
            .output()?;
        let until = String::from_utf8(until.stdout)?;
        let text = format!(
            "apiVersion: verger/v1\nkind: Exception\nmetadata:\n  name: demo/root-for-a-moment\nspec:\n  rules: [privilege/is-root]\n  scope:\n    workload: demo/web\n  owner: you\n  reason: shows how an exception works\n  ticket: DEMO-1\n  notAfter: \"{}\"\n",
            until.trim()
        );
        let file = self.scene.file("exception.yaml");
        fs::write(&file, text)?;
        run(self.scene.verger().args(["apply", "--file"]).arg(file))
    }

    fn wait_for(&self, what: &str, mut seen: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + SEEN_WITHIN;
        while !seen()? {
            if Instant::now() >= deadline {
                bail!(
                    "{what}: not seen within {SEEN_WITHIN:?}; missing findings: {:?}; the agent's log: {}",
                    self.missing(&self.findings()?),
                    self.scene.services.log("agent").display()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn say_what_next(&self) {
        println!(
            "\nIt runs. Try next, with\n  export VERGER_CONTEXT={}\n  export PATH={}:$PATH\n\
             \n  verger findings watch                   # findings as they change\n  verger findings explain UID             # why, which rule, what to do\n  \
             verger list && verger get Workload demo/web -o yaml\n  verger explain privilege/is-root        # a rule\n  \
             docker -H {} run -d verger-test/busybox  # a container of no workload\n\nEverything is removed by: cargo xtask down",
            self.scene.context().display(),
            self.scene.programs.display(),
            self.scene.docker_host,
        );
    }
}
