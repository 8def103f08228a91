//! `cargo xtask test`: builds the programs, starts a private Docker daemon, and runs every test and every point.

mod totals;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use cargo_metadata::{MetadataCommand, Target};

use crate::packages::{self, FOR_CHECKS, FOR_DOCKER, FOR_TESTS};
use crate::prove::{self, Borrowed, DOCKER_HOST, PROGRAM_DIR, Point};
use crate::workspace::{Workspace, run, shown};
use totals::{Run, Runner, Totals};

/// Tests that need root or a Docker daemon are in a module of this name.
const WITH_DOCKER: &str = "with_docker";

/// Runs everything. The last line printed is `N passed, N failed, N skipped`.
pub(crate) fn test(workspace: &Workspace, docker: bool, points: &[Point]) -> Result<()> {
    let began = Instant::now();
    let mut totals = Totals::default();
    // What checks need is tested too: units with systemd-analyze, protos with buf.
    if docker {
        packages::install(&[FOR_DOCKER, FOR_TESTS, FOR_CHECKS])?;
    } else {
        packages::install(&[FOR_TESTS, FOR_CHECKS])?;
    }
    install_nextest(workspace)?;
    build_programs(workspace)?;
    let dockerd = if docker {
        Some(Borrowed::start("test")?)
    } else {
        None
    };
    let host = dockerd.as_ref().map(Borrowed::host);

    let mut why_skipped = "ignored, the reason is at each #[ignore]".to_owned();
    if !docker {
        why_skipped.push_str(&format!(
            "; or --no-docker: tests in a module \"{WITH_DOCKER}\" need root and a daemon"
        ));
    }
    let runs = [
        ("tests", Runner::Nextest, nextest(workspace, docker)),
        ("documentation tests", Runner::Libtest, doctests(workspace)),
    ];
    for (name, runner, mut command) in runs {
        println!("==> {name}");
        command.env(PROGRAM_DIR, workspace.program_dir()?);
        match &host {
            Some(host) => command.env(DOCKER_HOST, host),
            None => command.env_remove(DOCKER_HOST),
        };
        totals.add(name, count(runner, command)?, &why_skipped);
    }
    for point in points {
        println!("==> prove {}", point.name);
        if point.needs_docker && host.is_none() {
            totals.skip(point.name, "needs a Docker daemon, and --no-docker was given");
            continue;
        }
        let shown = prove::show(
            workspace,
            point,
            false,
            host.clone().filter(|_| point.needs_docker),
        );
        totals.point(point.name, shown);
    }
    drop(dockerd);

    println!("in {:.0} s", began.elapsed().as_secs_f64());
    totals.finish()
}

fn nextest(workspace: &Workspace, docker: bool) -> Command {
    let mut command = workspace.cargo([
        "nextest",
        "run",
        "--workspace",
        "--no-fail-fast",
        "--color",
        "never",
    ]);
    if !docker {
        command.args(["--filterset", &format!("not test(/(^|::){WITH_DOCKER}::/)")]);
    }
    command
}

fn doctests(workspace: &Workspace) -> Command {
    workspace.cargo([
        "test",
        "--doc",
        "--workspace",
        "--no-fail-fast",
        "--color",
        "never",
    ])
}

/// Runs a test runner, shows what it prints, and counts what it reports.
fn count(runner: Runner, mut command: Command) -> Result<Run> {
    let name = shown(&command);
    // Nextest reports on standard error, libtest on standard output: one pipe for both keeps their order.
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    drop(command); // it holds the pipe's other end
    let mut run = Run::of(runner);
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        run.read(&line);
    }
    run.ended_well(child.wait()?.success());
    Ok(run)
}

fn install_nextest(workspace: &Workspace) -> Result<()> {
    let mut probe = workspace.cargo(["nextest", "--version"]);
    if probe
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        return Ok(());
    }
    println!("installing cargo-nextest (some minutes, once)");
    let mut install = workspace.cargo(["install", "--locked", "cargo-nextest"]);
    run(install.env("CARGO_TARGET_DIR", Workspace::tools_dir()?.join("nextest-build")))
}

/// Runs the tests of one crate whose names have `filter` in them, and prints how many passed, last. None at all is a failure.
pub(crate) fn cases(workspace: &Workspace, package: &str, filter: &str) -> Result<()> {
    install_nextest(workspace)?;
    // Of the whole workspace, so that nothing is built with other features than for the tests.
    let command = workspace.cargo([
        "nextest",
        "run",
        "--workspace",
        "--color",
        "never",
        "--no-tests",
        "fail",
        "--filterset",
        &format!("package({package}) & test({filter})"),
    ]);
    let run = count(Runner::Nextest, command)?;
    let counts = run.counts();
    println!("{counts}");
    if !run.is_good() {
        bail!("{package} {filter}: {counts}");
    }
    Ok(())
}

/// Builds every program, those behind a feature of their own too: tests and points start them.
pub(crate) fn build_programs(workspace: &Workspace) -> Result<()> {
    println!("==> programs");
    run(&mut workspace.cargo(["build", "--workspace", "--bins"]))?;
    let metadata = MetadataCommand::new()
        .manifest_path(workspace.root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("running cargo metadata")?;
    for package in &metadata.packages {
        let bins = package
            .targets
            .iter()
            .filter(|target| target.is_bin() && !target.required_features.is_empty());
        for bin in bins {
            let features = bin.required_features.join(",");
            let arguments = [
                "build",
                "--package",
                &package.name,
                "--bin",
                &bin.name,
                "--features",
                &features,
            ];
            run(&mut workspace.cargo(arguments))?;
        }
        // Libraries that rigs have the loader put before others.
        if package.targets.iter().any(Target::is_cdylib) {
            run(&mut workspace.cargo(["build", "--package", &package.name, "--lib"]))?;
        }
    }
    if metadata.packages.is_empty() {
        bail!("the workspace has no packages");
    }
    Ok(())
}
