//! From the command line to an exit code: what was typed ([`Cli`]) becomes what is meant
//! ([`Settings`]), the verb runs, and its error becomes text with a hint.
//!
//! Exit codes: 0 it was done; 1 it failed; 2 the command line itself is wrong; 129, 130 or 143 it was
//! interrupted by SIGHUP, SIGINT or SIGTERM. A reader of our output who leaves early is no failure.

mod chosen;
mod context;
pub(crate) mod date;
mod failure;
mod globals;
mod interrupt;
pub(crate) mod labels;
mod session;
mod settings;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use lamina_core::{Error, Result};

use context::Looked;
pub(crate) use context::{Context, Runs};
pub(crate) use failure::{Exited, each};
use globals::Globals;
pub(crate) use interrupt::{ignored, until_interrupted};
pub(crate) use session::{Daemon, Session, root_of};
pub(crate) use settings::{Durability, Settings, absolute};

use crate::out::Out;
use crate::verb::Verb;

/// Keeps and shows the images and snapshots of this host.
///
/// Words and columns follow ctr. A command asks the daemon, if one runs; without one it opens the
/// store itself and holds its lock while it runs.
#[derive(Debug, Parser)]
#[command(name = "lamina", version = crate::verb::version::LINE, max_term_width = 100)]
#[command(propagate_version = false, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(logger) = cli.verb.logger() {
        let failed = |error| failure::report(&error, None, Looked::Host, Runs::Nothing);
        return logger.run().err().map_or(ExitCode::SUCCESS, failed);
    }
    let mut out = Out::stdout();
    let settings = match Settings::resolve(&cli.globals) {
        Ok(settings) => settings,
        Err(error) => return failure::report(&error, None, Looked::Host, Runs::Nothing),
    };
    match (cli.globals.debug, cli.verb.serves()) {
        (true, _) => log_to_stderr("debug"),
        (false, true) => log_to_stderr(settings.config.log_level.name()),
        (false, false) => {}
    }
    for warning in &settings.warnings {
        eprintln!("warning: {warning}");
    }
    let mut context = Context::new(&settings, &mut out);
    let runtime = match cli.verb.serves() {
        true => tokio::runtime::Builder::new_multi_thread(),
        // A command does one thing after the other; the store's own work runs on blocking threads.
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let result = block_on(runtime, cli.verb.run(&mut context));
    let (looked, runs) = (context.looked(), context.runs());
    match result.and(out.finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, Some(&settings), looked, runs),
    }
}

fn block_on(
    mut runtime: tokio::runtime::Builder,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| Error::internal("start the async runtime").with_source(error))?;
    runtime.block_on(work)
}

fn log_to_stderr(level: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("LAMINA_LOG").unwrap_or_else(|_| {
        // It complains of every shim that ends before it has its answer, as they do.
        EnvFilter::new(format!("{level},ttrpc::asynchronous::server=off"))
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for people: in a file or a journal they are noise.
    if std::io::stderr().is_terminal() { log.init() } else { log.with_ansi(false).init() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
