//! `docker cp`, into a container and out of it: whole, byte for byte.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::Client;
use super::said::{Said, output};

/// A file there and back, one to standard output as an archive, and one that is not there.
pub(super) fn copies(client: &Client<'_>) -> Result<Vec<Said>> {
    let web = client.front.web.as_str();
    let folder = tempfile::Builder::new().prefix("verger-cp-").tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number * 7 % 251) as u8)
        .collect();
    fs::write(&there, &content)?;
    fs::set_permissions(&there, Permissions::from_mode(0o644))?;
    let inside = format!("{web}:/tmp/there");
    let mut said = vec![
        client.does(&["cp", path(&there)?, &inside])?.ending(0)?,
        client.does(&["cp", &inside, path(&back)?])?.ending(0)?,
    ];
    ensure!(
        fs::read(&back)? == content,
        "what came back is not what went there"
    );

    let mut archive = client.docker();
    archive.args(["cp", &inside, "-"]);
    let archived = output(archive, b"")?;
    ensure!(
        archived
            .stdout
            .windows(content.len())
            .any(|window| window == content),
        "the archive does not hold the file"
    );
    said.push(Said {
        code: archived.status.code().context("a signal ended it")?,
        out: format!("{} bytes", archived.stdout.len()),
        err: String::from_utf8_lossy(&archived.stderr).into_owned(),
    });
    // And in again, as what the archive is: under another folder.
    client.front.say(&["exec", web, "mkdir", "-p", "/tmp/more"])?;
    said.push(
        client
            .given(&["cp", "-", &format!("{web}:/tmp/more")], &archived.stdout)?
            .ending(0)?,
    );
    let same = client
        .front
        .say(&["exec", web, "cmp", "/tmp/there", "/tmp/more/there"])?;
    ensure!(same.is_empty(), "what was unpacked is another: {same}");

    let absent = format!("{web}:/tmp/absent");
    said.push(client.does(&["cp", &absent, path(&back)?])?.ending(1)?);
    let nowhere = format!("{web}:/no/such/folder/");
    let mut refused = client.does(&["cp", path(&there)?, &nowhere])?.ending(1)?;
    // Of the archive that it had begun it logs how far it came, or ends before.
    let is_log = |line: &&str| line.starts_with("time=");
    refused.err = refused.err.lines().filter(|line| !is_log(line)).collect();
    said.push(refused);
    said.push(
        client
            .does(&["cp", path(&there)?, "no-such-container:/tmp/a"])?
            .ending(1)?,
    );
    client
        .front
        .say(&["exec", "--user", "0", web, "rm", "-rf", "/tmp/there", "/tmp/more"])?;
    // Each side has a folder of its own.
    let own = path(folder.path())?;
    for one in &mut said {
        for text in [&mut one.out, &mut one.err] {
            *text = text.replace(own, "FOLDER");
        }
    }
    Ok(said)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("it has a name in UTF-8")
}
