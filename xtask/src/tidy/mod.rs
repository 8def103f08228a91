//! House rules that no compiler knows: short files, no file that nobody compiles, no path of somebody's machine.

mod modules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Longest Rust file, tests apart.
const LINE_LIMIT: usize = 700;

/// Fails with everything untidy in the workspace.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let files = listed_files(workspace)?;
    let mut untidy = Vec::new();
    for path in &files {
        let Ok(text) = fs::read_to_string(workspace.join(path)) else {
            continue;
        };
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(lines) = too_long(path, &text)
        {
            untidy.push(format!(
                "{}: {lines} lines, the limit is {LINE_LIMIT}; split it by concept",
                path.display()
            ));
        }
        if path.extension().is_some_and(|extension| extension == "rs") {
            for number in unexplained_ignores(&text) {
                untidy.push(format!(
                    "{}:{number}: say why it is ignored: #[ignore = \"...\"]",
                    path.display()
                ));
            }
            if let Some(number) = stray_target(path, &text) {
                untidy.push(format!(
                    "{}:{number}: a fuzz target stands in a module `fuzz`, or `prove fuzz` does not find it",
                    path.display()
                ));
            }
        }
        for (number, found) in machine_paths(&text, &own_paths(workspace)) {
            untidy.push(format!(
                "{}:{number}: names a path of this machine, {found}",
                path.display()
            ));
        }
    }
    for path in modules::uncompiled(workspace, &files)? {
        untidy.push(format!(
            "{}: no target compiles it; declare it with `mod`, or delete it",
            path.display()
        ));
    }
    if untidy.is_empty() {
        return Ok(());
    }
    for line in &untidy {
        eprintln!("  {line}");
    }
    bail!("{} untidy places", untidy.len())
}

/// The files git knows or would add, relative to the workspace.
fn listed_files(workspace: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .current_dir(workspace)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("running git ls-files")?;
    if !output.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let paths = text
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from);
    Ok(paths.filter(|path| workspace.join(path).is_file()).collect())
}

fn too_long(path: &Path, text: &str) -> Option<usize> {
    let is_test = path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests");
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    (!is_test && lines > LINE_LIMIT).then_some(lines)
}

/// The lines that ignore a test without a reason.
fn unexplained_ignores(text: &str) -> Vec<usize> {
    let bare = |line: &str| line.trim() == "#[ignore]";
    text.lines()
        .enumerate()
        .filter(|(_, line)| bare(line))
        .map(|(index, _)| index + 1)
        .collect()
}

/// Where hostile inputs are made outside a module for fuzz targets.
fn stray_target(path: &Path, text: &str) -> Option<usize> {
    let is_module = path
        .components()
        .any(|part| Path::new(part.as_os_str()).file_stem() == Some("fuzz".as_ref()));
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()));
    // A module in the file itself comes before what it uses.
    let (number, found) =
        lines.find(|(_, line)| *line == "mod fuzz {" || *line == "use verger_fuzz::Damaged;")?;
    (!is_module && found != "mod fuzz {").then_some(number)
}

/// The paths that mean this machine and no other: where the workspace and the toolchain's homes lie.
fn own_paths(workspace: &Path) -> Vec<String> {
    let homes = ["CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME"]
        .iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let below_home = home
        .iter()
        .flat_map(|home| [".cargo", ".cache", ".rustup"].map(|dir| home.join(dir)));
    std::iter::once(workspace.to_path_buf())
        .chain(homes)
        .chain(below_home)
        .filter(|path| path.is_absolute() && path.components().count() > 2)
        .map(|path| path.display().to_string())
        .collect()
}

fn machine_paths<'a>(text: &str, own: &'a [String]) -> Vec<(usize, &'a str)> {
    let hits = |line: &str| own.iter().map(String::as_str).find(|path| names_path(line, path));
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, hits(line)?)))
        .collect()
}

/// Tells whether `line` holds `path` as a whole: a longer name that begins with it does not count.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let next = line[at + path.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_')
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fuzz_targets_that_prove_would_not_find_are_told() {
        let used = "use bolero::check;\nuse verger_fuzz::Damaged;\n";
        assert_eq!(stray_target(Path::new("a/src/floor.rs"), used), Some(2));
        for path in ["a/src/fuzz.rs", "a/src/x/fuzz/kinds.rs"] {
            assert_eq!(stray_target(Path::new(path), used), None, "{path}");
        }
        let inside = format!("mod tests {{\n    mod fuzz {{\n{used}");
        assert_eq!(stray_target(Path::new("a/src/floor.rs"), &inside), None);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "x\n".repeat(701);
        let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{long}}}\n", "x\n".repeat(700));
        assert_eq!(too_long(Path::new("a/src/lib.rs"), &long), Some(701));
        assert_eq!(too_long(Path::new("a/src/lib.rs"), &with_tests), None);
        assert_eq!(too_long(Path::new("a/tests/it/long.rs"), &long), None);
    }

    #[test]
    fn an_ignored_test_without_reason_is_found() {
        assert_eq!(
            unexplained_ignores("#[test]\n#[ignore = \"slow\"]\n#[test]\n    #[ignore]\n"),
            [4]
        );
    }

    #[test]
    fn a_machine_path_is_found_with_its_line() {
        let own = vec!["/opt/somebody/checkout".to_owned()];
        assert_eq!(
            machine_paths("a\nb /opt/somebody/checkout/src\n", &own),
            [(2, own[0].as_str())]
        );
        assert_eq!(machine_paths("/opt/somebody/checkouts\n/opt/other\n", &own), []);
    }
}
