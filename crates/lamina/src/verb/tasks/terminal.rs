//! Our own terminal, when a container's program is to have it: what is typed goes to the program as
//! it is, and the program's terminal is as large as ours.

use std::io::{IsTerminal as _, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, Once, PoisonError};

use lamina_core::{Error, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// How the terminal was, while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal gives every key to us: no echo, no lines, no signals. It is as it was when this is
/// dropped, and also when the process panics, which ends it without drops in a release.
#[derive(Debug)]
pub(in crate::verb) struct Raw(());

impl Raw {
    /// # Errors
    /// FailedPrecondition if standard input is no terminal.
    pub(in crate::verb) fn enter() -> Result<Raw> {
        let input = stdin();
        let failed = |error: rustix::io::Errno| {
            Error::failed_precondition("standard input is no terminal that can be set up")
                .with_source(error)
        };
        let before = tcgetattr(&input).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let told = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                told(panic);
            }));
        });
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let entered = Raw(());
        // What was typed ahead is the program's, too.
        tcsetattr(&input, OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(entered)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // Nobody holds the lock for longer than a moment, but a panic must not wait for itself.
    let before = BEFORE.try_lock().ok().and_then(|mut before| before.take());
    if let Some(before) = before {
        // Of a terminal that has gone, nobody sees how it is.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &before);
    }
}

/// Whether what is typed can be had.
///
/// # Errors
/// FailedPrecondition if it cannot.
pub(in crate::verb) fn check_input() -> Result<()> {
    if stdin().is_terminal() {
        return Ok(());
    }
    Err(Error::failed_precondition("--tty with --interactive: standard input is no terminal"))
}

/// Width and height of our terminal in characters; none if we have none, or one without a size.
pub(in crate::verb) fn size() -> Option<(u32, u32)> {
    fn of(stream: BorrowedFd<'_>) -> Option<(u32, u32)> {
        let size = tcgetwinsize(stream).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
    }
    let (out, input, err) = (stdout(), stdin(), stderr());
    of(out.as_fd()).or_else(|| of(input.as_fd())).or_else(|| of(err.as_fd()))
}
