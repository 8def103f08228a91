//! Docker's CLI without a terminal: what is exec'd, run, shown and followed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::Client;
use super::said::Said;

/// Standard output, error and the code of what is exec'd, and all that it is given.
pub(super) fn execs(client: &Client<'_>) -> Result<Vec<Said>> {
    let web = client.front.web.as_str();
    let shell = |script: &str| client.does(&["exec", web, "sh", "-c", script]);
    // That the input has ended is passed on, and all of it comes.
    let long = "0123456789\n".repeat(50_000);
    let counted = client.given(&["exec", "--interactive", web, "wc", "-c"], long.as_bytes())?;
    ensure!(counted.out.trim() == "550000", "{counted:?}");
    Ok(vec![
        shell("echo out; echo err >&2; exit 7")?
            .ending(7)?
            .printing("out\n")?,
        shell("exit 3")?.ending(3)?,
        shell("kill -9 $$")?.ending(137)?,
        counted.ending(0)?,
        client
            .given(&["exec", "--interactive", web, "cat"], long.as_bytes())?
            .ending(0)?
            .printing(&long)?,
        client
            .given(
                &["exec", "--interactive", web, "sh", "-c", "read x; exit $x"],
                b"4\n",
            )?
            .ending(4)?,
        client.does(&["exec", web, "no-such-program"])?.ending(126)?,
        client.does(&["exec", "no-such-container", "true"])?.ending(1)?,
    ])
}

/// What is run, in the foreground and not.
pub(super) fn runs(client: &Client<'_>) -> Result<Vec<Said>> {
    let name = client.front.docker.name("ran");
    let app = "verger-test/app";
    Ok(vec![
        client
            .does(&["run", "--rm", app, "echo ran; echo err >&2; exit 3"])?
            .ending(3)?
            .printing("ran\n")?,
        client
            .given(&["run", "--rm", "--interactive", app, "cat; exit 4"], b"typed\n")?
            .ending(4)?
            .printing("typed\n")?,
        client
            .does(&["run", "--detach", "--name", &name, app, "exit 5"])?
            .ending(0)?
            .printing("ID\n")?,
        client.does(&["wait", &name])?.ending(0)?.printing("5\n")?,
        client.does(&["run", "--name", &name, app, "true"])?.ending(125)?,
        client.does(&["rm", &name])?.ending(0)?,
        client.does(&["rm", &name])?.ending(1)?,
    ])
}

/// What is only looked at.
pub(super) fn shows(client: &Client<'_>) -> Result<Vec<Said>> {
    // One image: Docker lists those of one second in any order, and others may have named theirs alike but for the tag.
    let images = client.does(&["image", "ls", "--quiet", "verger-test/app:latest"])?;
    Ok(vec![
        images.ending(0)?.printing("ID\n")?,
        client.does(&["inspect", "no-such-container"])?.ending(1)?,
        client
            .does(&[
                "inspect",
                "--format",
                "{{.Name}} {{.Config.Image}}",
                &client.front.web,
            ])?
            .ending(0)?,
        client
            .does(&["version", "--format", "{{.Server.APIVersion}}"])?
            .ending(0)?,
        client
            .does(&["network", "inspect", "bridge", "--format", "{{.Name}}"])?
            .ending(0)?
            .printing("bridge\n")?,
    ])
}

/// What a container says is there as soon as it is said, and when it ends so does who follows.
pub(super) fn follows(client: &Client<'_>) -> Result<Vec<Said>> {
    let docker = &client.front.docker;
    let name = docker.name("speaks");
    let script = "echo first; echo aside >&2; until test -e /tmp/go; do sleep 0.1; done; echo second; exit 6";
    docker.run(&name, &["verger-test/app", script])?;
    let mut follow = client
        .docker()
        .args(["logs", "--follow", &name])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting docker logs")?;
    let mut lines = BufReader::new(follow.stdout.take().context("its output is piped")?).lines();
    ensure!(
        lines.next().transpose()?.as_deref() == Some("first"),
        "it says nothing"
    );
    // It came before the container ended: that has not been told to go on.
    let mut go = docker.command();
    go.args(["exec", &name, "touch", "/tmp/go"]);
    // Where the container ends first, this is ended with it: what counts is that it went on.
    go.output().context("starting docker exec")?;
    ensure!(
        lines.next().transpose()?.as_deref() == Some("second") && lines.next().is_none(),
        "it does not say the rest, or more"
    );
    let followed = Said {
        code: follow.wait()?.code().context("a signal ended it")?,
        out: String::new(),
        err: String::new(),
    };
    let said = vec![
        followed.ending(0)?,
        client
            .does(&["logs", &name])?
            .ending(0)?
            .printing("first\nsecond\n")?,
        client
            .does(&["logs", "--tail", "1", &name])?
            .ending(0)?
            .printing("second\n")?,
        client
            .does(&["logs", "--follow", "no-such-container"])?
            .ending(1)?,
    ];
    docker.remove(&name)?;
    Ok(said)
}
