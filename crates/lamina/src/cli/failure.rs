//! Errors for people: what failed and why on one line, what to do about it on the next.

use std::error::Error as _;
use std::process::ExitCode;

use lamina_core::{Error, Kind, Result};

use super::Settings;
use super::context::{Looked, Runs};
use super::interrupt::Interrupted;
use super::settings::DEFAULT_ROOT;

/// The exit code of somebody else's program, which has said itself what went wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exited(u8);

impl Exited {
    /// What a verb answers that ran a program which exited with `status`.
    ///
    /// # Errors
    /// The status as an error of its own, which nothing is printed for, unless it is 0.
    pub(crate) fn check(status: u32) -> Result<()> {
        match status {
            0 => Ok(()),
            _ => {
                let code = u8::try_from(status).unwrap_or(u8::MAX);
                Err(Error::new(Kind::Unknown, "the program failed").with_source(Exited(code)))
            }
        }
    }
}

impl std::fmt::Display for Exited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit status {}", self.0)
    }
}

impl std::error::Error for Exited {}

/// Prints an error with its hints. Returns the exit code of a command that failed.
pub(super) fn report(
    error: &Error,
    settings: Option<&Settings>,
    looked: Looked,
    runs: Runs,
) -> ExitCode {
    if let Some(Exited(code)) = error.source().and_then(|by| by.downcast_ref::<Exited>()) {
        return ExitCode::from(*code);
    }
    eprintln!("error: {}", line(error));
    for hint in hints(error, settings, looked) {
        eprintln!("hint: {hint}");
    }
    let mut cause = error.source();
    while let Some(by) = cause {
        if let Some(signal) = by.downcast_ref::<Interrupted>() {
            return ExitCode::from(signal.exit_code());
        }
        cause = by.source();
    }
    match runs {
        Runs::Nothing => ExitCode::FAILURE,
        Runs::InContainer => not_run(&error.chain()).map_or(ExitCode::FAILURE, ExitCode::from),
        Runs::Container => ExitCode::from(not_run(&error.chain()).unwrap_or(NOT_MADE)),
    }
}

/// What came in the way of the program was not the program.
const NOT_MADE: u8 = 125;

/// The exit code for a program that is there and cannot be run, or is not there, by what runc says of it.
fn not_run(text: &str) -> Option<u8> {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if !says(&["container process"]) || !says(&["exec: \""]) {
        return None;
    }
    if says(&["executable file not found", "no such file or directory"]) {
        return Some(127);
    }
    says(&["permission denied", "is a directory", "exec format error"]).then_some(126)
}

/// Does something to each of several things, all of them even if one fails.
///
/// # Errors
/// The only error as it is; of several, one that counts them, each having been printed.
pub(crate) async fn each<T>(
    things: impl IntoIterator<Item = T>,
    mut act: impl AsyncFnMut(T) -> Result<()>,
) -> Result<()> {
    let mut errors = Vec::new();
    let mut count = 0;
    for thing in things {
        count += 1;
        if let Err(error) = act(thing).await {
            errors.push(error);
        }
    }
    if errors.len() <= 1 {
        return errors.pop().map_or(Ok(()), Err);
    }
    for error in &errors {
        eprintln!("error: {}", line(error));
    }
    let kind = errors.first().map_or(Kind::Unknown, Error::kind);
    Err(Error::new(kind, format!("{} of {count} failed", errors.len())))
}

/// The whole chain. Where the class is all that went wrong, messages name no more than the thing.
fn line(error: &Error) -> String {
    let mut text = error.chain();
    let class = error.kind().text();
    let alone = matches!(error.kind(), Kind::NotFound | Kind::AlreadyExists);
    if alone && !text.contains(class) && !text.contains("No such file") {
        text.push_str(": ");
        text.push_str(class);
    }
    text
}

fn hints(error: &Error, settings: Option<&Settings>, looked: Looked) -> Vec<String> {
    let Some(settings) = settings else { return Vec::new() };
    let text = error.chain();
    let root = settings.config.root.display();
    let mut hints = Vec::new();
    let denied = error.kind() == Kind::PermissionDenied
        || text.contains("Permission denied")
        || text.contains("Operation not permitted");
    if text.contains("Read-only file system") {
        hints.push(format!(
            "the file system of {root} is mounted read-only; make it writable, or keep the store \
             elsewhere with --root DIR"
        ));
    } else if denied && !rustix::process::geteuid().is_root() {
        hints.extend(not_root(settings));
    } else if error.kind() == Kind::ResourceExhausted && is_of_limit(&text) {
        hints
            .push("what input may have is set under [limits] in the configuration file".to_owned());
    } else if error.kind() == Kind::ResourceExhausted {
        hints.push(
            "`lamina df` shows what takes the space, `lamina prune` frees what nothing refers to"
                .to_owned(),
        );
    }
    match error.kind() {
        Kind::Unavailable if text.contains("in use by another process") => hints.push(format!(
            "one process at a time may have {root} open; try again when that one has ended"
        )),
        Kind::FailedPrecondition if text.contains("for the owner of the store") => hints.push(
            "stop the daemon (`systemctl stop lamina`), run this again, and start the daemon again"
                .to_owned(),
        ),
        Kind::NotFound | Kind::Unavailable if text.contains(" socket ") => hints.push(
            "start a daemon with `lamina serve`, or leave out --address and LAMINA_ADDRESS to work \
             on the store directly"
                .to_owned(),
        ),
        Kind::DeadlineExceeded if text.starts_with("the daemon has it: the shim") => hints.push(
            "end the shim, a process that has the container's identifier after -id; the daemon \
             cleans up after it then"
                .to_owned(),
        ),
        _ if no_runtime(&text) => hints.push(
            "containers need runc and containerd's containerd-shim-runc-v2; Debian has them as \
             packages runc and containerd"
                .to_owned(),
        ),
        Kind::FailedPrecondition if text.starts_with("process ") && text.ends_with(" is running") => {
            hints.push("`lamina stop` asks it to end, and -f kills it".to_owned());
        }
        // It is in an image; another namespace would not have it either.
        Kind::NotFound if text.contains(" of the root file system ") => {}
        Kind::NotFound if looked == Looked::Snapshotter => hints.push(format!(
            "this looked in namespace {:?} and snapshotter {:?}; choose others with -n and \
             --snapshotter",
            settings.namespace.as_str(),
            settings.snapshotter.as_str()
        )),
        Kind::NotFound if looked == Looked::Namespace => hints.push(format!(
            "this looked in namespace {:?}; choose another with -n",
            settings.namespace.as_str()
        )),
        Kind::Cancelled if text.starts_with("pull ") => hints.push(
            "what was received is kept, and the same command goes on where this one was".to_owned(),
        ),
        Kind::DataLoss if !text.contains("database") => {
            hints.push("`lamina fsck` checks everything that is stored".to_owned());
        }
        _ => {}
    }
    hints
}

/// Whether a program is missing that containers need.
fn no_runtime(text: &str) -> bool {
    text.contains("is not installed: there is no containerd-shim-")
        || text.contains("exec: \"runc\": executable file not found")
}

/// Whether input was over a limit of ours, rather than something used up.
fn is_of_limit(text: &str) -> bool {
    ["limit of", "at most", "more than", "allowed"].iter().any(|part| text.contains(part))
}

/// What an ordinary user can do, and what not.
fn not_root(settings: &Settings) -> Vec<String> {
    let mut hints = Vec::new();
    if settings.config.root.starts_with(DEFAULT_ROOT) || settings.config.state.starts_with("/run") {
        hints.push(format!(
            "{} and {} belong to root: run this as root, or have a store of your own with \
             --root DIR --state DIR",
            settings.config.root.display(),
            settings.config.state.display()
        ));
    }
    hints.push(
        "in a store of your own, content, namespaces, leases and listings need no root; mounting \
         snapshots, device nodes and files of other owners do"
            .to_owned(),
    );
    hints
}
