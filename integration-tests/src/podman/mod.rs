//! Podman and `ctr` behind the gate: what differs from its blessing, and what nobody can identify, runs nothing, and says why in Verger's own
//! words; its blessed twin runs. What runs by Podman is watched.
//!
//! Each attack works where nothing stands in its way; what it did is counted on the host, and not by what anybody says.

mod attacks;
mod ctr;
pub(crate) mod host;
mod watched;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::launch::Gate;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, Scene, checked};
use attacks::{Attack, attacks, benign, benign_as, open, open_as, words};
use host::{Containerd, Left, Out, Podman};

const WORKLOAD: &str = "podman/web";
const NOTHING_UNKNOWN: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: nothing-unknown }\nspec: { unknown: refuse }\n";
/// What is found is to be told within so long, and a moment for the test to see it.
const WITHIN: Duration = Duration::from_secs(7);

/// Runs it; there is one form.
///
/// # Errors
/// When the scene does not work.
pub fn run(_long: bool) -> Result<Verdict> {
    let programs = Programs::find()?;
    let docker = Docker::find()?;
    let mut scene = Scene::found(&programs, &docker)?;
    let out = Out::new(&scene)?;
    let root = host::root(&scene)?;
    let podman = Podman::new(&scene, &docker)?;
    let real = PathBuf::from("/usr/sbin/runc");
    let _left = Left(&podman, real.clone());
    for image in ["web", "other", "open", "labelled", "told"] {
        podman.import(&root, image, &real)?;
    }
    let lookalike = lookalike(&scene)?;
    let attacks = attacks(&root, &lookalike);

    // Unprotected, each of them runs.
    for attack in &attacks {
        let told = podman.told(&real, &attack.arguments("control", &out))?;
        scene
            .wait_for(&format!("{} to run unprotected", attack.name), || {
                Ok((out.count()? == 1).then_some(()))
            })
            .with_context(|| told.clone())?;
        podman.remove(&real, "control")?;
        out.clear()?;
    }

    // What is blessed of what runs is what the gate will see.
    let mut drafts = Vec::new();
    for (name, launch) in [
        (WORKLOAD, benign()),
        ("podman/open", open()),
        ("podman/told", open_as("told")),
    ] {
        runs(&scene, &podman, &real, &out, "blessed", &launch)?;
        let draft = bless(&scene, &podman, "blessed", name)?;
        podman.remove(&real, "blessed")?;
        ensure!(
            draft.contains("ports: any") == launch.network.is_some(),
            "{draft}"
        );
        drafts.push(enforced(&draft)?);
    }
    // Of this one no port is allowed, and whether it has any is not seen.
    let told = drafts.pop().context("there are three")?;
    drafts.push(
        told.lines()
            .filter(|line| line.trim() != "ports: any")
            .collect::<Vec<_>>()
            .join("\n"),
    );
    drafts.extend(labelled(&scene, &podman, &real, &out)?);

    let config = scene.path("agent.toml");
    let text = fs::read_to_string(&config)?;
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("podman_")).collect();
    fs::write(
        &config,
        format!(
            "{}\npodman_graph_root = {:?}\npodman_run_root = {:?}\n",
            text.join("\n"),
            podman.graph(),
            podman.run_root()
        ),
    )?;
    let gate = Gate::install(&mut scene, &programs, &docker)?;
    let (front, crun) = (gate.folder().join("runc"), gate.folder().join("crun"));
    let _left_behind_it = Left(&podman, front.clone());
    let containerd = Containerd::start(&scene, gate.folder())?;
    let (slowest, unwatched_then) = doors(&scene, &podman, &gate, &containerd, &out, &root, &real)?;
    out.clear()?;

    drafts.push(NOTHING_UNKNOWN.to_owned());
    let file = scene.path("change.yaml");
    fs::write(&file, drafts.join("\n---\n"))?;
    checked(
        scene
            .verger()
            .args(["apply", "--unseen-images", "--file"])
            .arg(&file),
    )?;
    scene.wait_for("the policy to be in force", || {
        Ok((scene.rows(&["hosts"])?[0]["epoch"] == scene.epoch()?).then_some(()))
    })?;

    // The blessed twins run, and what is run in them as they are blessed.
    runs(&scene, &podman, &front, &out, "twin", &benign())?;
    runs(&scene, &podman, &front, &out, "open", &open())?;
    podman.say(&front, &["exec", "twin", "/bin/true"])?;
    for (flags, says) in [
        (["--user", "0"], "config/user"),
        (["--privileged", "--tty=false"], "config/capabilities"),
    ] {
        let words = [&["exec"], &flags[..], &["twin", "/bin/true"]].concat();
        let told = podman.told(&front, &words)?;
        ensure!(
            told.contains("verger-gate: exec refused") && told.contains(says),
            "{words:?}: {told}"
        );
    }
    podman.say(&front, &["restart", "--time", "0", "twin"])?;
    scene.wait_for("the twin to run again", || Ok((out.count()? == 3).then_some(())))?;
    out.clear()?;

    let shared = format!("ns:{}", network_of(&podman, &front, "open")?);
    let mut all: Vec<Attack> = attacks;
    all.push(Attack {
        network: Some(shared),
        says: "config/namespaces",
        ..open().named("network-of-another")
    });
    all.push(Attack {
        says: "which ports Podman publishes is in its database alone",
        ..open_as("told").named("ports-unseen")
    });
    all.push(Attack {
        flags: words(&["--label", "tier=web"]),
        says: "labels of Podman's containers are not read",
        ..benign_as("labelled").named("told-by-labels")
    });
    let (mut refused, of) = (0, all.len() * 2);
    for attack in &all {
        for runtime in [&front, &crun] {
            let told = podman.told(runtime, &attack.arguments("attack", &out))?;
            if told.contains("verger-gate: create refused") && told.contains(attack.says) {
                refused += 1;
            } else {
                tell(&format!("{} by {}: {told}", attack.name, runtime.display()));
            }
            let _ = podman.told(runtime, &["rm", "--force", "--time", "0", "attack"])?;
        }
    }
    // By crun's name the blessed twin is let through to crun, which takes it or not by its own lights.
    let told = podman.told(&crun, &benign().arguments("by-crun", &out))?;
    ensure!(!told.contains("verger-gate"), "{told}");
    let _ = podman.told(&crun, &["rm", "--force", "--time", "0", "by-crun"])?;
    let by_crun = out.count()?;
    ensure!(by_crun <= 1, "more ran than the twin by crun");
    let ctr = ctr::run(&scene, &containerd, &podman, &front, &out, &root)?;
    let ran = out.count()? - by_crun;
    let seen = watched::shown(&mut scene, &podman, &front, &real, &out)?;
    // Nothing of the storage that is watched, also not while it was being started or ended.
    let unwatched_since = unwatched(&scene)?;
    ensure!(
        unwatched_since == unwatched_then,
        "{unwatched_since:?}, and before {unwatched_then:?}"
    );
    let before = out.count()?;

    // Without the agent nothing is launched, and what runs can be ended.
    scene.agent.stop()?;
    let told = podman.told(&front, &benign().arguments("orphan", &out))?;
    ensure!(told.contains("the policy agent is unreachable"), "{told}");
    ensure!(out.count()? == before, "it ran without the agent");
    for name in ["twin", "open"] {
        podman.say(&front, &["stop", "--time", "0", name])?;
        podman.remove(&front, name)?;
    }
    scene.agent.start()?;
    gate.remove()?;
    Ok(Verdict {
        figure: format!(
            "{refused} of {of} launches by Podman (as runc and as crun) and {} of {} by ctr refused in the gate's own words, {ran} of them ran anything; unprotected all of them ran; the blessed twins ran; what came past the gate was told within {:.1} s, and what became of what runs within {:.1} s",
            ctr.refused,
            ctr.of,
            slowest.as_secs_f64(),
            seen.as_secs_f64()
        ),
        holds: refused == of && ctr.refused == ctr.of && ran == 0 && slowest <= WITHIN && seen <= WITHIN,
    })
}

/// While nothing is enforced all of them run: what is not watched is told, what came past the gate is told as that, and so is what Podman may
/// call besides. Gives how long the slowest took, and what is not watched.
fn doors(
    scene: &Scene,
    podman: &Podman,
    gate: &Gate,
    containerd: &Containerd,
    out: &Out,
    root: &Path,
    real: &Path,
) -> Result<(Duration, BTreeSet<String>)> {
    let front = gate.folder().join("runc");
    let mut slowest = Duration::ZERO;
    let mut told = |rule: &str, field: &str| -> Result<()> {
        let begun = Instant::now();
        scene.wait_for(&format!("{rule} {field}"), || {
            Ok(scene
                .open_findings()?
                .iter()
                .any(|finding| is(finding, rule, field))
                .then_some(()))
        })?;
        slowest = slowest.max(begun.elapsed());
        Ok(())
    };
    // What Podman takes for a runtime by itself, and the gate does not stand before on this machine.
    told("host/gate-drift", &format!("podman[{}]", real.display()))?;
    let through = runs(scene, podman, &front, out, "through", &benign())?;
    let past = runs(scene, podman, real, out, "past", &benign())?;
    told("host/past-gate", &format!("containers[podman/{past}]"))?;
    // By another storage than the one that the agent knows.
    let other = podman.beside(scene, "elsewhere")?;
    let _left = Left(&other, real.to_owned());
    other.import(root, "web", real)?;
    let stranger = runs(scene, &other, &front, out, "unwatched", &benign())?;
    told("host/unwatched", &format!("unwatched[podman/{stranger}]"))?;
    let (through_ctr, past_ctr) = (ctr::name("through"), ctr::name("past"));
    ctr::runs(scene, containerd, out, root, &through_ctr, &[])?;
    ctr::runs(
        scene,
        containerd,
        out,
        root,
        &past_ctr,
        &["--runc-binary", &real.display().to_string()],
    )?;
    told("host/unwatched", &format!("unwatched[default/{through_ctr}]"))?;
    told("host/past-gate", &format!("containers[default/{past_ctr}]"))?;
    let findings = scene.open_findings()?;
    for id in [&through, &past] {
        let is_unwatched =
            |finding: &Value| is(finding, "host/unwatched", &format!("unwatched[podman/{id}]"));
        ensure!(
            !findings.iter().any(is_unwatched),
            "{id} is watched: {findings:?}"
        );
    }
    for name in ["through", "past"] {
        scene.judged(name, |row| row["runtime"] == "podman")?;
    }
    for id in [format!("podman/{through}"), format!("default/{through_ctr}")] {
        let is_past = |finding: &Value| is(finding, "host/past-gate", &format!("containers[{id}]"));
        ensure!(
            !findings.iter().any(is_past),
            "{id} came through the gate: {findings:?}"
        );
    }
    for name in ["through", "past"] {
        podman.remove(real, name)?;
    }
    other.remove(real, "unwatched")?;
    for name in [&through_ctr, &past_ctr] {
        containerd.remove(name)?;
    }
    Ok((slowest, unwatched(scene)?))
}

/// The containers of Podman's that are told to be unwatched, or were.
fn unwatched(scene: &Scene) -> Result<BTreeSet<String>> {
    scene.findings_arrived()?;
    let all = scene.rows(&["findings", "list", "--state", "open", "--state", "resolved"])?;
    let told = all.iter().filter(|finding| finding["rule"] == "host/unwatched");
    let fields = told.filter_map(|finding| finding["field"].as_str());
    let podmans = fields.filter(|field| field.starts_with("unwatched[podman/"));
    Ok(podmans.map(str::to_owned).collect())
}

fn is(finding: &Value, rule: &str, field: &str) -> bool {
    finding["rule"] == rule && finding["field"] == field
}

/// A file in a folder that looks like Podman's own.
fn lookalike(scene: &Scene) -> Result<PathBuf> {
    let folder = scene.path(&format!(
        "overlay-containers/{}/userdata",
        "0123456789abcdef".repeat(4)
    ));
    fs::create_dir_all(&folder)?;
    let file = folder.join("hosts");
    fs::write(&file, "127.0.0.1 localhost\n")?;
    Ok(file)
}

/// A container runs, and says so. Gives its id.
fn runs(
    scene: &Scene,
    podman: &Podman,
    runtime: &Path,
    out: &Out,
    name: &str,
    launch: &Attack,
) -> Result<String> {
    let before = out.count()?;
    let arguments = launch.arguments(name, out);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let id = podman.say(runtime, &arguments)?;
    scene.wait_for(&format!("{name} to run"), || {
        Ok((out.count()? == before + 1).then_some(()))
    })?;
    Ok(id)
}

fn bless(scene: &Scene, podman: &Podman, container: &str, name: &str) -> Result<String> {
    let mut command = scene.verger();
    command.args([
        "bless",
        "--from-podman",
        container,
        "--name",
        name,
        "--podman-graph-root",
    ]);
    command
        .arg(podman.graph())
        .arg("--podman-run-root")
        .arg(podman.run_root());
    Ok(String::from_utf8(checked(&mut command)?.stdout)?)
}

fn enforced(draft: &str) -> Result<String> {
    let enforced = draft.replace("default: monitor", "default: enforce\n    channels: monitor");
    ensure!(enforced != draft, "the draft has no mode to change: {draft}");
    Ok(enforced)
}

/// Two workloads of one image, which a label alone tells apart.
fn labelled(scene: &Scene, podman: &Podman, real: &Path, out: &Out) -> Result<Vec<String>> {
    runs(scene, podman, real, out, "blessed", &benign_as("labelled"))?;
    let draft = bless(scene, podman, "blessed", "podman/one")?;
    podman.remove(real, "blessed")?;
    out.clear()?;
    let of = |name: &str| -> Result<String> {
        let text = enforced(&draft.replace("podman/one", name))?;
        let with = text.replacen(
            "image: localhost/verger-test/labelled",
            &format!("image: localhost/verger-test/labelled\n      labels: {{ tier: {name:?} }}"),
            1,
        );
        ensure!(with != text, "the draft names no image: {text}");
        Ok(with)
    };
    Ok(vec![of("podman/one")?, of("podman/two")?])
}

/// The path by which a container's network namespace is named in its config.
fn network_of(podman: &Podman, runtime: &Path, name: &str) -> Result<String> {
    let id = podman.say(runtime, &["inspect", "--format", "{{.Id}}", name])?;
    let config = podman
        .graph()
        .join(format!("overlay-containers/{id}/userdata/config.json"));
    let config: Value = serde_json::from_slice(&fs::read(config)?)?;
    let namespaces = config["linux"]["namespaces"]
        .as_array()
        .context("it has namespaces")?;
    let network = namespaces.iter().find(|namespace| namespace["type"] == "network");
    let path = network.and_then(|network| network["path"].as_str());
    Ok(path.context("its network is named by a path")?.to_owned())
}
