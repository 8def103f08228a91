//! What launched containers do first, and where it is counted: in a folder of the host, and by the kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::scene::{Docker, Namespace, PATIENCE, Scene, checked};

/// Where launched containers connect to on the daemon's host; nobody listens.
const PORT: u16 = 6_363;
/// Where more of what they do is said.
const MORE: &str = "more";
/// The rig's table.
const TABLE: &str = "verger_launch";

/// What a container does first, for others than this module: it says that it runs, under its name.
pub(crate) struct Act(Folder);

impl Act {
    pub(crate) fn new(scene: &Scene) -> Result<Self> {
        Folder::new(scene).map(Self)
    }

    /// For `--volume`.
    pub(crate) fn volume(&self) -> String {
        self.0.volume()
    }

    /// It, and then these lines of a shell, in which `$out` is the file that it wrote.
    pub(crate) fn then(&self, name: &str, lines: &str) -> String {
        format!("out=/out/{name}; echo ran > $out; {lines}")
    }

    /// Whether a container left its file, or one whose name ends so.
    pub(crate) fn has(&self, name: &str, end: &str) -> bool {
        self.0.has(&format!("{name}{end}"))
    }

    /// Waits for it.
    pub(crate) fn wait_for(&self, name: &str, end: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.has(name, end) {
            ensure!(
                Instant::now() < deadline,
                "{name} left no file within {PATIENCE:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn clear(&self) -> Result<()> {
        self.0.clear()
    }
}

/// Where containers say that they ran, and connect to.
pub(super) struct Out {
    folder: Folder,
    namespace: Namespace,
    host: String,
}

impl Out {
    pub(super) fn new(scene: &Scene, docker: &Docker) -> Result<Self> {
        let namespace = Namespace::at(docker.network_namespace());
        let shown =
            checked(&mut namespace.command(&["ip", "-json", "-4", "address", "show", "dev", "docker0"]))?;
        let shown: Value = serde_json::from_slice(&shown.stdout)?;
        let host = shown.pointer("/0/addr_info/0/local").and_then(Value::as_str);
        let out = Self {
            folder: Folder::new(scene)?,
            namespace,
            host: host.context("Docker's bridge has an address")?.to_owned(),
        };
        // Of bridges and of the host itself, before anybody's rules.
        let table = format!(
            "table inet {TABLE} {{\nchain sent {{\ntype filter hook prerouting priority raw\nip daddr {} tcp dport {PORT} counter\n}}\n}}\n",
            out.host
        );
        out.namespace.nft(&["-f", "-"], &table)?;
        Ok(out)
    }

    /// For `--volume`.
    pub(super) fn volume(&self) -> String {
        self.folder.volume()
    }

    /// It writes its id to the folder, connects out, does what else is said there, and stays. What a workload's command is, is blessed.
    pub(super) fn act(&self) -> String {
        format!(
            "id=$(grep -o 'containers/[0-9a-f]*' /proc/self/mountinfo | head -n 1); id=${{id#containers/}}; echo ran > /out/$id; echo | timeout 3 nc -w 1 {} {PORT}; [ ! -e /out/{MORE} ] || . /out/{MORE}; exec sleep 600",
            self.host
        )
    }

    /// From now on these lines of a shell are part of it; `$id` is the container's.
    pub(super) fn more(&self, lines: &str) -> Result<()> {
        Ok(fs::write(self.folder.0.join(MORE), lines)?)
    }

    /// How many packets have been sent to where containers connect to.
    pub(super) fn packets(&self) -> Result<u64> {
        let counts = self.namespace.counted("inet", TABLE)?;
        let [packets] = counts[..] else {
            anyhow::bail!("the counter is gone: {counts:?}");
        };
        Ok(packets)
    }

    /// Whether a container wrote anything.
    pub(super) fn has(&self, docker: &Docker, name: &str) -> Result<bool> {
        Ok(self.folder.has(&id(docker, name)?))
    }

    /// What it wrote in a file whose name ends so, once it is there.
    pub(super) fn said(&self, docker: &Docker, name: &str, end: &str) -> Result<Option<String>> {
        let path = self.folder.0.join(id(docker, name)? + end);
        let text = fs::read_to_string(path).unwrap_or_default();
        Ok((!text.is_empty()).then(|| text.trim().to_owned()))
    }

    pub(super) fn clear(&self) -> Result<()> {
        self.folder.clear()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // It goes with the daemon's namespace at the latest.
        let _ = self.namespace.nft(&["delete", "table", "inet", TABLE], "");
    }
}

fn id(docker: &Docker, name: &str) -> Result<String> {
    docker
        .say(&["inspect", "--format", "{{.Id}}", name])
        .with_context(|| name.to_owned())
}

/// Anybody may write to it.
struct Folder(PathBuf);

impl Folder {
    fn new(scene: &Scene) -> Result<Self> {
        let path = scene.path("out");
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(Self(path))
    }

    fn volume(&self) -> String {
        format!("{}:/out", self.0.display())
    }

    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.0)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}
