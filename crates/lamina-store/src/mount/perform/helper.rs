//! By a program, for FUSE: it stays behind and serves the file system.

use std::path::Path;
use std::process::{Command, Stdio};

use lamina_core::{Error, Result};

use super::place::Place;
use crate::mount::plan::Helper;

/// Runs the program, which returns when the file system is mounted.
///
/// # Errors
/// FailedPrecondition when it is not installed, Internal with what it printed when it fails.
pub(super) fn run(helper: &Helper, place: &Place, dir: Option<&Path>) -> Result<()> {
    let program = dir.map_or_else(|| helper.program.into(), |dir| dir.join(helper.program));
    let mut command = Command::new(&program);
    command.arg(&helper.source).arg(place.path());
    for option in &helper.options {
        command.args(["-o", option]);
    }
    command.args(["-t", &helper.kind]).stdin(Stdio::null());
    let what =
        || format!("mount {} ({}) at {place} by {}", helper.kind, helper.source, helper.program);
    let output = command.output().map_err(|error| {
        Error::failed_precondition(format!("{}: cannot run it", what())).with_source(error)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::internal(format!("{}: {}: {}", what(), output.status, said.trim())))
}
