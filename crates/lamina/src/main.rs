//! The command `lamina`: images, snapshots and containers of one host.
//!
//! Only this crate and the server read the environment, the configuration file and the current
//! directory; what the crates below need is passed in. `cli` is what was typed and what it means,
//! `verb` has one file a verb, `out` is how things are printed.

mod cli;
mod out;
mod verb;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
