//! The policy that is changed all the time, and the containers it is about.

use anyhow::{Context as _, Result, ensure};
use verger_policy::draft;
use verger_policy::model::PolicyObject;

use crate::scene::{Docker, Scene};

/// The workload whose requirements flip.
const WORKLOAD: &str = "kill/web";
/// Containers it is about.
const CONTAINERS: usize = 3;

/// Starts the containers and gives their image's digest. Of no workload yet.
pub(super) fn stage(scene: &Scene, docker: &Docker) -> Result<String> {
    for number in 0..CONTAINERS {
        let name = docker.name(&format!("kill-{number}"));
        docker.run(&name, &["verger-test/app"])?;
        scene.judged(&name, |row| row["image"] != "")?;
    }
    let image = docker.say(&["image", "inspect", "--format", "{{.Id}}", "verger-test/app"])?;
    ensure!(
        image.starts_with("sha256:"),
        "an image's id is a digest: {image:?}"
    );
    Ok(image)
}

/// The object of write number `number`: requirements that the containers meet or not, in turn, in four fields. The same
/// in none that follow each other, so that every write is a change.
pub(super) fn object(image: &str, number: u64) -> Result<PolicyObject> {
    let either = |bit: u64, right: &'static str, wrong: &'static str| {
        if (number >> bit) & 1 == 0 { right } else { wrong }
    };
    let text = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata:\n  name: {WORKLOAD}\n  labels: {{ write: \"{number}\" }}\nspec:\n  match:\n    \
         container: {{ image: verger-test/app }}\n  config:\n    images: [ {image} ]\n    command: {command}\n    user: {user}\n    \
         workingDir: {dir}\n    rootfs: {rootfs}\n",
        command = either(0, "[ /bin/sh, -c, \"exec sleep 3600\" ]", "[ /bin/other ]"),
        user = either(1, "{ uid: 65534, gid: 65534 }", "{ uid: 7, gid: 65534 }"),
        dir = either(2, "/srv", "/other"),
        rootfs = either(3, "writable", "readOnly"),
    );
    let mut objects = draft::read("kill.yaml", text.as_bytes())
        .map_err(|problems| anyhow::anyhow!("the policy is wrong: {problems:?}"))?;
    objects.pop().context("one document is one object")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn writes_that_follow_each_other_differ_and_are_valid() {
        let image = format!("sha256:{}", "a".repeat(64));
        let objects: Vec<PolicyObject> = (0..20).map(|number| object(&image, number).unwrap()).collect();
        assert!(objects.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(objects.iter().all(|object| object.key() == objects[0].key()));
    }
}
