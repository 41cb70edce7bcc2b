//! `cargo xtask bench SCENARIO`: figures, in release. No figure decides whether tests pass.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::process;
use crate::repo::Repo;

/// Runs the scenario named, or all.
pub(crate) fn run(_: &Repo, args: &[String]) -> Result<ExitCode> {
    match args {
        [] => {}
        [name] if name == "group-commit" => {}
        _ => bail!("usage: cargo xtask bench [group-commit]"),
    }
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--package", "lamina-store", "--example", "group_commit"]);
    process::run(&mut command)?;
    Ok(ExitCode::SUCCESS)
}
