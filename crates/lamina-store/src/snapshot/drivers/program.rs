//! Programs that back ends run.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::{Command, Output};

use lamina_core::{Error, Result};

/// Runs a program of the system to its end, in English. Services may have no `/sbin` in their path.
pub(super) fn run<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Result<Output> {
    for folder in ["", "/usr/sbin/", "/sbin/"] {
        let mut command = Command::new(format!("{folder}{program}"));
        match command.args(args).env("LC_ALL", "C").output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            output => {
                return output.map_err(|error| {
                    Error::internal(format!("start {program}")).with_source(error)
                });
            }
        }
    }
    Err(Error::failed_precondition(format!("there is no program {program}")))
}
