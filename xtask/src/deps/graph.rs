//! The workspace's dependencies as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// What a manifest declares and what the resolver makes of it.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Each workspace crate with what its manifest names, optional and platform-specific dependencies included.
    pub(super) declared: BTreeMap<String, Vec<Declared>>,
    /// Each workspace crate with every crate that a normal edge leads to, and the shortest way there.
    pub(super) reached: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Every package in the lock file's resolution.
    pub(super) packages: BTreeSet<String>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) in_workspace: bool,
    pub(super) dev: bool,
}

impl Graph {
    /// Runs `cargo metadata` in `workspace` with all features, so that no edge hides behind one.
    pub(super) fn read(workspace: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(workspace.join("Cargo.toml"))
            .features(cargo_metadata::CargoOpt::AllFeatures)
            .exec()
            .context("running cargo metadata")?;
        let members: BTreeSet<_> = metadata.workspace_members.iter().cloned().collect();
        let names: BTreeMap<_, _> = metadata
            .packages
            .iter()
            .map(|p| (p.id.clone(), p.name.to_string()))
            .collect();
        let member_names: BTreeSet<_> = members.iter().map(|id| names[id].clone()).collect();

        let mut graph = Self {
            packages: names.values().cloned().collect(),
            ..Self::default()
        };
        for package in metadata
            .packages
            .iter()
            .filter(|package| members.contains(&package.id))
        {
            let declared = package.dependencies.iter().map(|dependency| Declared {
                name: dependency.name.clone(),
                in_workspace: dependency.path.is_some() && member_names.contains(&dependency.name),
                dev: dependency.kind == DependencyKind::Development,
            });
            graph
                .declared
                .insert(package.name.to_string(), declared.collect());
        }

        // A procedural macro runs in the compiler: what it uses is not in the program.
        let macros: BTreeSet<_> = metadata
            .packages
            .iter()
            .filter(|package| package.targets.iter().any(|target| target.is_proc_macro()))
            .map(|package| &package.id)
            .collect();
        let resolve = metadata.resolve.context("cargo metadata gave no resolution")?;
        let mut edges = BTreeMap::new();
        for node in resolve.nodes.iter().filter(|node| !macros.contains(&node.id)) {
            let normal = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal));
            edges.insert(&node.id, normal.map(|dep| &dep.pkg).collect::<Vec<_>>());
        }
        for member in &members {
            // Breadth first, so that the way recorded is a shortest one.
            let mut ways = BTreeMap::from([(member, vec![names[member].clone()])]);
            let mut queue = std::collections::VecDeque::from([member]);
            while let Some(at) = queue.pop_front() {
                for next in edges.get(at).into_iter().flatten().copied() {
                    if !ways.contains_key(next) {
                        let mut way = ways[at].clone();
                        way.push(names[next].clone());
                        ways.insert(next, way);
                        queue.push_back(next);
                    }
                }
            }
            let reached = ways.into_iter().map(|(id, way)| (names[id].clone(), way));
            graph.reached.insert(names[member].clone(), reached.collect());
        }
        Ok(graph)
    }
}
