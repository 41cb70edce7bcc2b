//! The crate graph, read from the manifests: who may depend on whom, and on what.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::tree::{File, Finding, Tree};

/// Which of our crates a crate may depend on. The arrows of `ARCHITECTURE.md` as data.
const EDGES: &[(&str, &[&str])] = &[
    ("lamina-core", &[]),
    ("lamina-sys", &[]),
    ("lamina-api", &["lamina-core"]),
    ("lamina-store", &["lamina-core", "lamina-sys"]),
    ("lamina-image", &["lamina-core"]),
    ("lamina-runtime", &["lamina-api", "lamina-core", "lamina-sys"]),
    ("lamina-client", &["lamina-api", "lamina-core"]),
    (
        "lamina-server",
        &[
            "lamina-api",
            "lamina-client",
            "lamina-core",
            "lamina-image",
            "lamina-runtime",
            "lamina-store",
        ],
    ),
    (
        "lamina",
        &[
            "lamina-client",
            "lamina-core",
            "lamina-image",
            "lamina-runtime",
            "lamina-server",
            "lamina-store",
        ],
    ),
    ("lamina-testkit", &["lamina-core", "lamina-sys"]),
    ("xtask", &["lamina-testkit"]),
];

/// Crates that know nothing of the wire, in tests either.
const DOMAIN: &[&str] = &["lamina-core", "lamina-sys", "lamina-store", "lamina-image"];

/// A library, by the beginning of its name, and the crates that must not depend on it.
struct Foreign {
    prefixes: &'static [&'static str],
    barred: Barred,
    says: &'static str,
}

enum Barred {
    From(&'static [&'static str]),
    FromAllBut(&'static [&'static str]),
}

const FOREIGN: &[Foreign] = &[
    Foreign {
        prefixes: &["tonic", "prost", "ttrpc", "protobuf"],
        barred: Barred::From(DOMAIN),
        says: "the domain crates know nothing of the wire",
    },
    Foreign {
        prefixes: &[
            "containerd",
            "protox",
            "prost-build",
            "prost-reflect",
            "tonic-build",
            "tonic-prost-build",
        ],
        barred: Barred::FromAllBut(&["lamina-api"]),
        says: "only lamina-api makes code from descriptions of the wire",
    },
    Foreign {
        prefixes: &["rusqlite", "libsqlite3", "sqlx", "diesel"],
        barred: Barred::FromAllBut(&["lamina-store"]),
        says: "only lamina-store speaks to the database",
    },
    Foreign {
        prefixes: &["tokio", "reqwest", "hyper", "rustix", "libc"],
        barred: Barred::From(&["lamina-core"]),
        says: "the vocabulary has no I/O and no executor",
    },
    Foreign {
        prefixes: &["tokio", "reqwest", "hyper"],
        barred: Barred::From(&["lamina-sys"]),
        says: "lamina-sys is synchronous, one syscall a function",
    },
];

/// `lamina-core` depends on none of ours, and so on: see [`EDGES`]. For tests a crate may use more,
/// but a domain crate still not the wire.
pub(crate) fn check_edges(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for manifest in manifests(tree)? {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == manifest.name) else {
            let message =
                format!("crate {} is not in the table of tidy/graph.rs; add it", manifest.name);
            findings.push(Finding::error(&manifest.file.path, 0, message));
            continue;
        };
        for dependency in manifest.dependencies.iter().filter(|d| is_ours(&d.name)) {
            let (name, of) = (dependency.name.as_str(), &manifest.name);
            if dependency.dev {
                if DOMAIN.contains(&of.as_str()) && WIRE_CRATES.contains(&name) {
                    let message = format!("{of} must not know {name}, in its tests either");
                    findings.push(manifest.finding(name, message));
                }
            } else if !allowed.contains(&name) {
                let message = match *allowed {
                    [] => format!("{of} must depend on none of our crates, but names {name}"),
                    some => format!("{of} may depend on {} only, not on {name}", some.join(", ")),
                };
                findings.push(manifest.finding(name, message));
            }
        }
    }
    Ok(findings)
}

/// Those of our crates that bring the wire with them.
const WIRE_CRATES: &[&str] =
    &["lamina-api", "lamina-client", "lamina-runtime", "lamina-server", "lamina"];

/// No dependency, in tests either, on a library that the layer must not know: see [`FOREIGN`].
pub(crate) fn check_foreign(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for manifest in manifests(tree)? {
        for foreign in FOREIGN {
            let barred = match foreign.barred {
                Barred::From(crates) => crates.contains(&manifest.name.as_str()),
                Barred::FromAllBut(crates) => !crates.contains(&manifest.name.as_str()),
            };
            if !barred {
                continue;
            }
            for dependency in &manifest.dependencies {
                if foreign.prefixes.iter().any(|prefix| dependency.name.starts_with(prefix)) {
                    let message = format!(
                        "{} must not use {}: {}",
                        manifest.name, dependency.name, foreign.says
                    );
                    findings.push(manifest.finding(&dependency.name, message));
                }
            }
        }
    }
    Ok(findings)
}

/// `[lints] workspace = true` (lamina-sys, which allows unsafe, spells its lints out), and one
/// version of each dependency, in the workspace's manifest.
pub(crate) fn check_manifests(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for manifest in manifests(tree)? {
        let inherits = manifest.table.get("lints").and_then(|lints| lints.get("workspace"));
        if manifest.name != "lamina-sys" && inherits != Some(&Value::Boolean(true)) {
            let message = "add `[lints] workspace = true`";
            findings.push(Finding::error(&manifest.file.path, 0, message));
        }
        for dependency in manifest.dependencies.iter().filter(|d| !d.inherited) {
            let message = format!(
                "{} has a version of its own: put it into [workspace.dependencies]",
                dependency.name
            );
            findings.push(manifest.finding(&dependency.name, message));
        }
    }
    Ok(findings)
}

struct Manifest<'a> {
    file: &'a File,
    name: String,
    table: Table,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    dev: bool,
    /// Its version is the workspace's.
    inherited: bool,
}

impl Manifest<'_> {
    /// A finding at the line that names the dependency.
    fn finding(&self, dependency: &str, message: String) -> Finding {
        let names_it = |line: &str| {
            let rest = line.trim_start().trim_start_matches('"').strip_prefix(dependency);
            rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=', '"']))
        };
        let line = self.file.text.lines().position(names_it).map_or(0, |index| index + 1);
        Finding::error(&self.file.path, line, message)
    }
}

fn manifests(tree: &Tree) -> Result<Vec<Manifest<'_>>> {
    tree.files()
        .filter(|file| file.krate().is_some() && file.path.ends_with("/Cargo.toml"))
        .map(|file| {
            let table: Table = file.text.parse().with_context(|| file.path.clone())?;
            let name = table.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
            let name = name.with_context(|| format!("{} has no package name", file.path))?;
            Ok(Manifest { file, name: name.to_owned(), dependencies: dependencies(&table), table })
        })
        .collect()
}

/// Every dependency of a manifest: plain, for builds, for tests, and for one target.
fn dependencies(table: &Table) -> Vec<Dependency> {
    let mut found = Vec::new();
    let targets = table.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(|t| t.values()).filter_map(Value::as_table);
    for table in std::iter::once(table).chain(targets) {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let entries = table.get(section).and_then(Value::as_table);
            for (key, value) in entries.into_iter().flatten() {
                let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
                let inherited = value.get("workspace") == Some(&Value::Boolean(true));
                let dev = section == "dev-dependencies";
                found.push(Dependency { name: name.to_owned(), dev, inherited });
            }
        }
    }
    found
}

fn is_ours(name: &str) -> bool {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    ours.contains(name) || name.starts_with("lamina-")
}
