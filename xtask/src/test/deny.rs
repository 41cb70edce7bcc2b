//! `cargo deny`, at one version, compiled once per cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::report::Tally;
use crate::repo::Repo;
use crate::{cache, process};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Runs the checks of `deny.toml`. Those of the dependency graph always run; the one for known
/// vulnerabilities needs a database that is fetched by git, and is skipped where that fails.
pub(crate) fn run(repo: &Repo) -> Result<Tally> {
    let program = install(repo)?;
    let deny = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(repo.root()).args(args);
        command
    };
    let checks = ["check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    let mut tally =
        Tally::of_check("deny bans licenses sources", process::status(&mut deny(&checks))?);
    tally.add(match process::ask(deny(&["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0")) {
        Ok(_) => {
            let args = ["check", "--disable-fetch", "advisories"];
            Tally::of_check("deny advisories", process::status(&mut deny(&args))?)
        }
        Err(error) => {
            // The last line is git's own reason.
            let said = error.to_string();
            let reason = said.lines().map(str::trim).rfind(|line| !line.is_empty());
            let reason = reason.unwrap_or("cargo deny fetch does not say why");
            Tally::skip("deny-advisories", format!("no advisory database: {reason}"))
        }
    });
    Ok(tally)
}

/// The program, out of the cache; compiled into it first if need be, which takes minutes.
fn install(repo: &Repo) -> Result<PathBuf> {
    let cache = cache::folder()?;
    let root = cache.join(format!("tools/cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        println!("compiling cargo-deny into {}, once", cache.display());
        let build = cache.join("build/cargo-deny");
        let mut command = repo.cargo();
        command.args(["install", "cargo-deny", "--version", VERSION, "--locked", "--root"]);
        command.arg(&root).env("CARGO_TARGET_DIR", &build);
        process::run(&mut command)?;
        cache::remove(&build)?;
    }
    Ok(program)
}
