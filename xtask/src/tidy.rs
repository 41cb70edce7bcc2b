//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! The rules are a list in [`rules`]; most are [`patterns`] over Rust source that [`source`] took
//! apart, the others look at manifests ([`graph`]), [`sizes`], [`programs`],
//! [`docs`] and the page about [`security`]. They see the files that
//! git knows or would add, so a file must be saved but not committed.

mod docs;
mod graph;
mod patterns;
mod programs;
mod rules;
mod security;
mod sizes;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::rules::RULES;
use self::tree::{Finding, Tree, Weight};
use crate::repo::Repo;
use crate::ui;

/// `cargo xtask tidy`.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<ExitCode> {
    if !args.is_empty() {
        bail!("tidy takes no arguments");
    }
    let broken = check(repo)?.into_iter().any(|verdict| !verdict.holds);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What became of one rule.
pub(crate) struct Verdict {
    pub(crate) rule: &'static str,
    pub(crate) holds: bool,
}

/// Checks and prints every rule.
///
/// # Errors
/// When the repository cannot be read, or a manifest cannot be parsed.
pub(crate) fn check(repo: &Repo) -> Result<Vec<Verdict>> {
    let tree = Tree::read(repo)?;
    let mut verdicts = Vec::new();
    for rule in RULES {
        let mut findings = rule.check(&tree)?;
        findings.sort();
        let holds = findings.iter().all(|finding| finding.weight == Weight::Note);
        let sign = if holds { ui::green("ok    ") } else { ui::red("BROKEN") };
        println!("{sign} {}: {}", rule.name, rule.holds);
        for finding in &findings {
            println!("       {}", describe(finding));
        }
        verdicts.push(Verdict { rule: rule.name, holds });
    }
    Ok(verdicts)
}

fn describe(finding: &Finding) -> String {
    match finding.weight {
        Weight::Error => ui::red(&finding.to_string()),
        Weight::Note => ui::yellow(&format!("note: {finding}")),
    }
}
