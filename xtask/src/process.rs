//! Runs programs, and says which.
//!
//! Every command that does something is echoed first (`$ cargo fmt --all --check`), so that a log
//! can be replayed by hand. Commands that only ask something are run silently.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Echoes and runs `command` with our own output; whether it succeeded.
///
/// # Errors
/// Only when it could not be started.
pub(crate) fn status(command: &mut Command) -> Result<bool> {
    echo(command);
    let status =
        command.status().with_context(|| format!("cannot start {}", show_program(command)))?;
    Ok(status.success())
}

/// Echoes and runs `command`, which talks much; shows what it said only if it failed. Returns
/// whether it succeeded.
pub(crate) fn status_quietly(command: &mut Command) -> Result<bool> {
    echo(command);
    match ask(command) {
        Ok(_) => Ok(true),
        Err(error) => {
            println!("{error:#}");
            Ok(false)
        }
    }
}

/// Echoes and runs `command`; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    if !status(command)? {
        bail!("failed: {}", show(command));
    }
    Ok(())
}

/// Runs `command` without echo and without input, and returns what it printed on stdout.
pub(crate) fn ask(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", show_program(command)))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        bail!("{} failed ({status}): {}", show(command), said.trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Prints the command line, quoted where a shell would need it.
pub(crate) fn echo(command: &Command) {
    println!("$ {}", show(command));
}

/// The path of `program`, looked up in `PATH` and the system directories that a plain user's
/// `PATH` lacks (`mkfs.xfs` and friends live in `/usr/sbin`).
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

fn show(command: &Command) -> String {
    let mut words = vec![show_program(command)];
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

/// The program without its folder, as one would type it.
fn show_program(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_pasted_into_a_shell() {
        let mut command = Command::new("printf");
        command.args(["%s\n", "it's", "a=b", ""]);
        assert_eq!(show(&command), "printf '%s\n' 'it'\\''s' a=b ''");
    }

    #[test]
    fn a_failing_question_carries_what_the_program_said() {
        let error = ask(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }
}
