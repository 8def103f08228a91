//! Follows `mod` declarations from every target's root, to find Rust files that nobody compiles.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// Lists the Rust files among `files` that no target of the workspace reaches. Paths are relative to `workspace`.
pub(super) fn uncompiled(workspace: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("running cargo metadata")?;
    let mut compiled = BTreeSet::new();
    for target in metadata.packages.iter().flat_map(|package| &package.targets) {
        follow(target.src_path.as_std_path(), true, &mut compiled);
    }
    let is_rust = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    Ok(files
        .iter()
        .filter(is_rust)
        .filter(|path| !compiled.contains(&workspace.join(path)))
        .cloned()
        .collect())
}

/// Adds `file` and every file its declarations lead to. A root, like `mod.rs`, has its modules beside it.
fn follow(file: &Path, root: bool, compiled: &mut BTreeSet<PathBuf>) {
    let Ok(text) = fs::read_to_string(file) else {
        return;
    };
    if !compiled.insert(file.to_path_buf()) {
        return;
    }
    let Some(folder) = file.parent() else { return };
    let beside = root || file.file_name().is_some_and(|name| name == "mod.rs");
    let base = if beside {
        folder.to_path_buf()
    } else {
        file.with_extension("")
    };
    let declared = declarations(&text);
    for included in &declared.included {
        follow(&folder.join(included), false, compiled);
    }
    for path in &declared.at_path {
        follow(&straightened(&folder.join(path)), true, compiled);
    }
    // A module inside an inline module lies one folder deeper.
    let bases = std::iter::once(base.clone()).chain(declared.inline.iter().map(|name| base.join(name)));
    for base in bases {
        for name in &declared.named {
            follow(&base.join(format!("{name}.rs")), false, compiled);
            follow(&base.join(name).join("mod.rs"), false, compiled);
        }
    }
}

/// The same path without `..`, by its words alone.
fn straightened(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                straight.pop();
            }
            part => straight.push(part),
        }
    }
    straight
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Declarations {
    named: Vec<String>,
    inline: Vec<String>,
    at_path: Vec<String>,
    included: Vec<String>,
}

/// Reads the module declarations of a file, one per line as rustfmt writes them.
fn declarations(text: &str) -> Declarations {
    let mut found = Declarations::default();
    let mut path = None;
    for line in text.lines().map(str::trim) {
        if let Some(quoted) = line
            .strip_prefix("#[path = \"")
            .and_then(|rest| rest.split('"').next())
        {
            path = Some(quoted.to_owned());
            continue;
        }
        if let Some(quoted) = line
            .split("include!(\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
        {
            found.included.push(quoted.to_owned());
        }
        let Some(declared) = module_of(line) else {
            if !line.starts_with("#[") {
                path = None;
            }
            continue;
        };
        match (declared, path.take()) {
            ((_, false), Some(path)) => found.at_path.push(path),
            ((name, false), None) => found.named.push(name.to_owned()),
            ((name, true), _) => found.inline.push(name.to_owned()),
        }
    }
    found
}

/// Splits `pub(crate) mod name;` or `mod name {` into the name and whether the module is inline.
fn module_of(line: &str) -> Option<(&str, bool)> {
    let line = line.strip_prefix("#[cfg(test)]").map_or(line, str::trim_start);
    let rest = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let rest = rest.strip_prefix("mod ")?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    let (name, tail) = rest.split_at(end);
    match tail.trim_start().chars().next()? {
        ';' => Some((name, false)),
        '{' => Some((name, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_form_of_declaration_is_read() {
        let found = declarations(
            "mod a;\npub(crate) mod b;\n#[cfg(test)]\nmod tests;\nmod inner {\n    pub mod c;\n}\n\
             #[path = \"odd/place.rs\"]\nmod d;\ninclude!(\"list.rs\");\nlet model = 1; // mod x;\n",
        );
        assert_eq!(found.named, ["a", "b", "tests", "c"]);
        assert_eq!(found.inline, ["inner"]);
        assert_eq!(found.at_path, ["odd/place.rs"]);
        assert_eq!(found.included, ["list.rs"]);
    }

    #[test]
    fn a_test_file_without_declaration_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            (
                "Cargo.toml",
                "[package]\nname = \"probe\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
            ),
            ("src/lib.rs", "mod used;\n"),
            ("src/used.rs", "mod deep;\n"),
            ("src/used/deep.rs", ""),
            (
                "tests/it/main.rs",
                "mod known;\n#[path = \"../beside/mod.rs\"]\nmod beside;\n",
            ),
            ("tests/beside/mod.rs", ""),
            ("tests/it/known.rs", ""),
            ("tests/it/forgotten.rs", ""),
        ];
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let listed: Vec<_> = files.iter().map(|(name, _)| PathBuf::from(name)).collect();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(
            uncompiled(&root, &listed).unwrap(),
            [PathBuf::from("tests/it/forgotten.rs")]
        );
    }
}
