//! Builds every test executable once, and asks each for its tests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::tier::Tier;
use crate::process;
use crate::repo::Repo;

/// One test executable, and its tests by tier.
#[derive(Debug)]
pub(crate) struct Executable {
    path: PathBuf,
    /// What to call it: the crate, and the file under `tests/` if it is one.
    pub(crate) label: String,
    /// The crate's folder, where cargo would start it.
    folder: PathBuf,
    package: String,
    tests: BTreeMap<Tier, Vec<String>>,
    /// The workspace's programs, as cargo would name them in the environment.
    programs: Vec<(String, PathBuf)>,
}

impl Executable {
    pub(crate) fn tests(&self, tier: Tier) -> &[String] {
        self.tests.get(&tier).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn all_tests(&self) -> impl Iterator<Item = &String> {
        self.tests.values().flatten()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn programs(&self) -> &[(String, PathBuf)] {
        &self.programs
    }

    /// The command that runs exactly the tests of `tier`, with `temp` for temporary files.
    pub(crate) fn command(&self, tier: Tier, temp: &Path) -> Command {
        let mut command = self.bare();
        command.env("TMPDIR", temp).arg("--show-output");
        if self.tests.len() > 1 {
            command.arg("--exact").args(self.tests(tier));
        }
        command
    }

    /// The command that runs `tests` again, one after the other.
    pub(crate) fn again(&self, tests: &[String], temp: &Path) -> Command {
        let mut command = self.bare();
        command.env("TMPDIR", temp).args(["--show-output", "--test-threads=1", "--exact"]);
        command.args(tests);
        command
    }

    /// The command without arguments, in the environment that cargo gives its tests.
    fn bare(&self) -> Command {
        // A run in the background ignores signals, and tests hand that on to the programs they signal.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT,TERM").arg(&self.path);
        command.current_dir(&self.folder);
        command.env("CARGO_MANIFEST_DIR", &self.folder).env("CARGO_PKG_NAME", &self.package);
        command.envs(self.programs.iter().map(|(name, path)| (name, path)));
        command
    }

    fn list(&mut self, target: Option<&str>) -> Result<()> {
        let listing = process::ask(self.bare().args(["--list", "--format", "terse"]))?;
        for test in listing.lines().filter_map(|line| line.strip_suffix(": test")) {
            self.tests.entry(Tier::of(target, test)).or_default().push(test.to_owned());
        }
        Ok(())
    }
}

/// Builds the tests of `packages`, or of the whole workspace if none is named.
///
/// # Errors
/// When they do not compile; the compiler has said why by then.
pub(crate) fn build(repo: &Repo, packages: &[&str]) -> Result<Vec<Executable>> {
    let mut command = repo.cargo();
    command.args(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    if packages.is_empty() {
        command.arg("--workspace");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    process::echo(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut built = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        if line.starts_with('{') {
            let message: Value = serde_json::from_str(&line).context("cargo's message")?;
            built.extend(Artifact::from_message(&message));
        }
    }
    if !child.wait().context("cargo")?.success() {
        bail!("the tests do not compile");
    }
    executables(built)
}

/// An executable that cargo built.
#[derive(Debug)]
struct Artifact {
    path: PathBuf,
    manifest: PathBuf,
    target: String,
    kind: String,
    is_test: bool,
}

impl Artifact {
    fn from_message(message: &Value) -> Option<Artifact> {
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
        if text("/reason")? != "compiler-artifact" {
            return None;
        }
        Some(Artifact {
            path: text("/executable")?.into(),
            manifest: text("/manifest_path")?.into(),
            target: text("/target/name")?.to_owned(),
            kind: text("/target/kind/0")?.to_owned(),
            is_test: message.pointer("/profile/test")?.as_bool()?,
        })
    }
}

fn executables(built: Vec<Artifact>) -> Result<Vec<Executable>> {
    let (tests, programs): (Vec<Artifact>, Vec<Artifact>) =
        built.into_iter().partition(|artifact| artifact.is_test);
    let programs: Vec<(String, PathBuf)> = programs
        .into_iter()
        .filter(|artifact| artifact.kind == "bin")
        .map(|artifact| (format!("CARGO_BIN_EXE_{}", artifact.target), artifact.path))
        .collect();
    let mut found = Vec::new();
    for artifact in tests {
        let folder = artifact.manifest.parent().context("a manifest lies in a folder")?;
        let package = folder.file_name().context("a crate lies in a folder")?.to_string_lossy();
        let target = (artifact.kind == "test").then_some(artifact.target.as_str());
        let mut executable = Executable {
            label: target.map_or(package.to_string(), |target| format!("{package}/{target}")),
            path: artifact.path,
            folder: folder.to_owned(),
            package: package.into_owned(),
            tests: BTreeMap::new(),
            programs: programs.clone(),
        };
        executable.list(target)?;
        found.push(executable);
    }
    found.sort_by(|a, b| a.label.cmp(&b.label));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let message = serde_json::json!({
            "reason": "compiler-artifact", "executable": "/t/deps/crash-1",
            "manifest_path": "/r/crates/lamina-store/Cargo.toml",
            "target": { "name": "crash", "kind": ["test"] }, "profile": { "test": true },
        });
        let artifact = Artifact::from_message(&message).unwrap();
        assert_eq!((artifact.target.as_str(), artifact.kind.as_str()), ("crash", "test"));
        assert!(artifact.is_test);
        for other in [
            serde_json::json!({ "reason": "build-finished" }),
            serde_json::json!({ "reason": "compiler-artifact", "executable": null }),
        ] {
            assert!(Artifact::from_message(&other).is_none());
        }
    }
}
