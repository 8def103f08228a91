//! Small static programs in C: what they do apart from each other, no safe Rust does.

use std::path::Path;
use std::process::Command;

use bollard::models::ContainerCreateBody;

/// A program in a folder of its own, which containers can be given.
pub struct Program(tempfile::TempDir);

impl Program {
    /// Compiles `source`.
    pub fn compile(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program.c");
        std::fs::write(&file, source).unwrap();
        let made = Command::new("cc")
            .args(["-static", "-O1", "-pthread", "-o"])
            .arg(folder.path().join("program"))
            .arg(&file)
            .output()
            .expect("cc is installed, for Rust itself links with it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        Self(folder)
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Makes it the first process of a container.
    pub fn first(&self, arguments: &[&str], body: &mut ContainerCreateBody) {
        let host = body.host_config.as_mut().unwrap();
        host.binds = Some(vec![format!("{}:/program:ro", self.folder().display())]);
        let argv = std::iter::once("/program/program").chain(arguments.iter().copied());
        body.cmd = Some(argv.map(str::to_owned).collect());
    }
}
