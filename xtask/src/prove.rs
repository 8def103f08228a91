//! Named points: claims about the product, each with the program that shows it and the figure it prints last.

mod points;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::dist;
use crate::dockerd::{Dockerd, Layout};
use crate::packages::{self, FOR_DOCKER, FOR_REPLICATION, FOR_TESTS, Package};
use crate::process::ProcessRef;
use crate::test::build_programs;
use crate::workspace::{Workspace, run as run_command};

pub(crate) use points::{BENCHES, POINTS};

/// Where tests and points find the private daemon.
pub(crate) const DOCKER_HOST: &str = "VERGER_TEST_DOCKER_HOST";
/// Where they find the programs under test.
pub(crate) const PROGRAM_DIR: &str = "VERGER_BIN_DIR";

/// Where benchmarks find those whose cost they measure.
const OPTIMISED_DIR: &str = "VERGER_OPTIMISED_DIR";
/// Where benchmarks write their tables.
const BENCH_DIR: &str = "VERGER_BENCH_DIR";

/// Lines of a program that are told again when it fails.
const TOLD: usize = 12;

/// One claim.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    /// The claim, as one sentence with its bound.
    pub(crate) claim: &'static str,
    /// Arguments to cargo that run the program; `--long` is added on demand. It exits non-zero when the claim fails.
    pub(crate) cargo: &'static [&'static str],
    pub(crate) needs_docker: bool,
    /// How much of the claim a run covers; none where there is one form only.
    pub(crate) sample: Option<Sample>,
}

/// The two forms of a point: the short one, which a plain run and CI show, and the full counts of `--long`.
#[derive(Debug)]
pub(crate) struct Sample {
    /// A number, or how a part is chosen. A number must be in the program's figure, so that it cannot say more than is done.
    pub(crate) short: &'static str,
    pub(crate) full: &'static str,
    pub(crate) of: &'static str,
}

impl Sample {
    /// Which form runs, and how much of the claim it covers.
    fn form(&self, long: bool) -> String {
        let Self { short, full, of } = self;
        if long {
            format!("long form: {full} of {full} {of}")
        } else {
            format!("short form: {short} of {full} {of}")
        }
    }

    /// Fails when the figure shows another count than this form has.
    fn is_stated_in(&self, figure: &str, long: bool) -> Result<()> {
        let count = if long { self.full } else { self.short };
        let mut numbers = figure.split(|c: char| !c.is_ascii_digit());
        if count.bytes().all(|byte| byte.is_ascii_digit()) && !numbers.any(|number| number == count) {
            bail!(
                "the {} is to be {count} {}, and the figure shows no {count}: {figure}",
                if long { "long form" } else { "short form" },
                self.of
            );
        }
        Ok(())
    }
}

/// A benchmark that starts programs.
struct OfPrograms {
    name: &'static str,
    /// The package of the program whose cost is measured; others are as for points.
    package: &'static str,
    /// Whether the gate's is, too.
    gate: bool,
    /// What it needs of Debian.
    debian: &'static [Package],
}

const OF_PROGRAMS: &[OfPrograms] = &[
    OfPrograms {
        name: "gate_launch",
        package: "verger-agent",
        gate: true,
        debian: &[],
    },
    OfPrograms {
        name: "proxy_streams",
        package: "verger-agent",
        gate: true,
        debian: &[],
    },
    OfPrograms {
        name: "replicated_writes",
        package: "verger-controller",
        gate: false,
        debian: FOR_REPLICATION,
    },
];

/// Runs one point, or lists them. `kind` is how the list is called ("point", "benchmark").
pub(crate) fn run(
    workspace: &Workspace,
    kind: &str,
    points: &[Point],
    name: Option<&str>,
    long: bool,
) -> Result<()> {
    let Some(name) = name else {
        for point in points {
            println!("{:<24} {}", point.name, point.claim);
            if let Some(sample) = &point.sample {
                println!("{:<24} {}; --long runs them all", "", sample.form(false));
            }
        }
        println!("{} {kind}s", points.len());
        return Ok(());
    };
    let Some(point) = points.iter().find(|point| point.name == name) else {
        let names: Vec<_> = points.iter().map(|point| point.name).collect();
        bail!("there is no {kind} {name:?}; there are: {}", names.join(", "));
    };
    // A point that starts a program shows what the sources are now, and not what was built before.
    if kind == "point" {
        build_programs(workspace)?;
    }
    if let Some(bench) = OF_PROGRAMS.iter().find(|bench| bench.name == point.name) {
        packages::install(&[bench.debian])?;
        build_programs(workspace)?;
        run_command(&mut workspace.cargo(["build", "--profile", dist::PROFILE, "-p", bench.package]))?;
        if bench.gate {
            dist::gate(workspace)?;
        }
    }
    let given = std::env::var_os(DOCKER_HOST).is_some();
    let dockerd = if point.needs_docker && !given {
        Some(Borrowed::start("prove")?)
    } else {
        None
    };
    let figure = show(workspace, point, long, dockerd.as_ref().map(Borrowed::host))?;
    drop(dockerd);
    println!("{figure}");
    Ok(())
}

/// Runs a point's program and gives its figure and which form it is of; fails when the program does, or when it prints none.
pub(crate) fn show(
    workspace: &Workspace,
    point: &Point,
    long: bool,
    docker: Option<String>,
) -> Result<String> {
    let mut command = program_of(workspace, point)?;
    if long && point.sample.is_some() {
        command.arg("--long");
    }
    if let Some(docker) = docker {
        command.env(DOCKER_HOST, docker);
    }
    let Some(sample) = &point.sample else {
        return figure_of(point.name, command);
    };
    let form = sample.form(long);
    let figure = figure_of(point.name, command).with_context(|| form.clone())?;
    sample.is_stated_in(&figure, long)?;
    Ok(format!("{figure}; {form}"))
}

/// Runs a point's program with these arguments, and gives its figure; fails as [`show`] does. For points that need no Docker daemon.
pub(crate) fn show_with(workspace: &Workspace, point: &Point, arguments: &[String]) -> Result<String> {
    let mut command = program_of(workspace, point)?;
    command.args(arguments);
    let figure = figure_of(point.name, command)?;
    if let Some(sample) = &point.sample {
        sample.is_stated_in(&figure, true)?;
    }
    Ok(figure)
}

/// Has a point's program run, which is told where others are.
fn program_of(workspace: &Workspace, point: &Point) -> Result<Command> {
    let mut command = workspace.cargo(point.cargo.iter().copied());
    let programs = workspace.program_dir()?;
    command.env(OPTIMISED_DIR, programs.with_file_name(dist::PROFILE));
    command.env(PROGRAM_DIR, programs);
    command.env(BENCH_DIR, workspace.root().join("target/bench"));
    Ok(command)
}

/// The last line the command prints; what comes before goes to the terminal as it comes.
fn figure_of(name: &str, mut command: Command) -> Result<String> {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the program")?;
    let stdout = child.stdout.take().context("the output is piped")?;
    // The last ones, the newest at the end.
    let mut lines = VecDeque::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.with_context(|| format!("{name} printed what is not UTF-8"))?;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(before) = lines.back() {
            println!("    {before}");
        }
        lines.push_back(line);
        if lines.len() > TOLD {
            lines.pop_front();
        }
    }
    let status = child.wait()?;
    let last = lines.pop_back();
    if !status.success() {
        // Who reads only the end of a long run sees why, too.
        let before: String = lines.iter().map(|line| format!("\n    {line}")).collect();
        bail!(
            "{name} does not hold ({status}): {}{before}",
            last.as_deref().unwrap_or("(no output)")
        );
    }
    let last = last.with_context(|| format!("{name} printed no figure"))?;
    Ok(format!("{name}: {last} ({:.1} s)", began.elapsed().as_secs_f64()))
}

/// A private daemon for the length of this run.
pub(crate) struct Borrowed {
    dockerd: Dockerd,
}

impl Borrowed {
    /// Starts one called after its purpose and this process.
    pub(crate) fn start(purpose: &str) -> Result<Self> {
        packages::install(&[FOR_DOCKER, FOR_TESTS])?;
        let layout = Layout::of(&format!("{purpose}-{}", std::process::id()))?;
        Ok(Self {
            dockerd: Dockerd::start(layout, Some(ProcessRef::current()?))?,
        })
    }

    pub(crate) fn host(&self) -> String {
        self.dockerd.host()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Err(error) = Dockerd::remove(self.dockerd.layout()) {
            // The next run finds the record and removes it.
            eprintln!("dockerd was not removed: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sh(script: &str) -> Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        figure_of("probe", command)
    }

    #[test]
    fn the_last_line_is_the_figure() {
        assert!(
            sh("echo warming; echo 'p95 0.4 s of 1 s'; echo")
                .unwrap()
                .starts_with("probe: p95 0.4 s of 1 s (")
        );
    }

    #[test]
    fn a_program_that_falls_short_fails_with_its_figure() {
        let error = sh("echo the third was late; echo 'p95 1.4 s of 1 s'; exit 1")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("does not hold")
                && error.contains("1.4 s")
                && error.ends_with("the third was late"),
            "{error}"
        );
    }

    #[test]
    fn success_without_a_figure_is_no_proof() {
        assert!(sh("true").is_err());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let points = [Point {
            name: "known",
            claim: "It holds.",
            cargo: &["--version"],
            needs_docker: false,
            sample: None,
        }];
        let workspace = Workspace::find().unwrap();
        let error = run(&workspace, "point", &points, Some("unknown"), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown") && error.contains("known"), "{error}");
        run(&workspace, "point", &points, Some("known"), false).unwrap();
        run(&workspace, "point", &points, None, false).unwrap();
    }

    #[test]
    fn the_form_is_stated_with_its_count_and_the_full_one() {
        let point = |short, script| Point {
            name: "known",
            claim: "It holds.",
            cargo: script,
            needs_docker: false,
            sample: Some(Sample {
                short,
                full: "all",
                of: "runs",
            }),
        };
        let workspace = Workspace::find().unwrap();
        let shown = show(&workspace, &point("every fourth", &["--version"]), false, None).unwrap();
        assert!(
            shown.ends_with("; short form: every fourth of all runs"),
            "{shown}"
        );
        // Cargo's version has no such number.
        let error = show(&workspace, &point("777777", &["--version"]), false, None).unwrap_err();
        assert!(error.to_string().contains("shows no 777777"), "{error:#}");

        let sample = Sample {
            short: "20",
            full: "200",
            of: "drifts",
        };
        sample.is_stated_in("p95 1 ms, n 20", false).unwrap();
        sample.is_stated_in("p95 1 ms, n 200", true).unwrap();
        assert!(sample.is_stated_in("p95 1 ms, n 200", false).is_err());
        assert_eq!(sample.form(false), "short form: 20 of 200 drifts");
        assert_eq!(sample.form(true), "long form: 200 of 200 drifts");
    }

    #[test]
    fn names_are_unique_and_claims_are_sentences() {
        for list in [POINTS, BENCHES] {
            for (at, point) in list.iter().enumerate() {
                assert!(
                    list[..at].iter().all(|other| other.name != point.name),
                    "two points called {}",
                    point.name
                );
                assert!(
                    point.claim.ends_with('.'),
                    "{}: the claim is a sentence",
                    point.name
                );
            }
        }
    }
}
