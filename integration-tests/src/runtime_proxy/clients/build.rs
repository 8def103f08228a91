//! `docker build` by the classic builder: what it prints, and that what was built runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};

use super::Client;
use super::said::Said;

/// A context of some megabytes is built, and runs; one whose step fails ends as that step does.
pub(super) fn builds(client: &Client<'_>) -> Result<Vec<Said>> {
    let image = client.front.docker.name("image");
    let folder = tempfile::Builder::new().prefix("verger-build-").tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let context = folder.path().to_str().context("it has a name in UTF-8")?;
    fs::write(folder.path().join("large"), "x".repeat(2 << 20))?;
    let file = |lines: &str| {
        let text = format!("FROM verger-test/busybox\n{lines}\n");
        fs::write(folder.path().join("Dockerfile"), text).context("writing a Dockerfile")
    };
    let build = ["build", "--no-cache", "--force-rm", "--tag", &image, context];
    file("COPY large /large\nRUN wc -c < /large\nCMD [ \"wc\", \"-c\", \"/large\" ]")?;
    let built = client.does(&build)?.ending(0)?;
    ensure!(built.out.contains("2097152"), "it shows no step: {built:?}");
    let run = client.does(&["run", "--rm", &image])?.ending(0)?;
    ensure!(
        run.out.contains("2097152"),
        "what was built does not run: {run:?}"
    );
    file("RUN echo begun; exit 9")?;
    let failed = client.does(&build)?.ending(9)?;
    Ok(vec![
        built,
        run,
        failed,
        client.does(&["build", "/no/such/folder"])?.ending(1)?,
        client.does(&["rmi", &image])?.ending(0)?,
        client.does(&["rmi", &image])?.ending(1)?,
    ])
}
