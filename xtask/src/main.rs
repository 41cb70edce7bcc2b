//! `cargo xtask`: the development commands of this repository.
//!
//! One file (or folder) a subcommand, listed in [`COMMANDS`]; what several of them need lies beside
//! it: [`cache`] keeps built tools, [`peers`] are made into it, [`process`] runs and echoes programs, [`repo`] finds the checkout and its files, [`setup`]
//! installs Debian packages, [`ui`] colours output. Nothing here is shipped.

mod bench;
mod cache;
mod demo;
mod peers;
mod process;
mod repo;
mod setup;
mod test;
mod tidy;
mod ui;
mod vm;

use std::process::ExitCode;

use anyhow::Result;

use crate::repo::Repo;

/// One subcommand.
struct Command {
    name: &'static str,
    /// The arguments it takes, as shown in the usage text.
    args: &'static str,
    about: &'static str,
    run: fn(&Repo, &[String]) -> Result<ExitCode>,
}

/// Every subcommand, in the order of the usage text. A new one is a module and a line here.
const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        args: "[--tier TIER]... [--no-install]",
        about: "set the machine up, then run every tier of tests (or only the named ones)",
        run: test::run,
    },
    Command {
        name: "vm",
        args: "[--package CRATE]... [--whole EXECUTABLE]... [TEST]...",
        about: "boot a kernel with device-mapper and zfs, and run the tests vm_* in it",
        run: vm::run,
    },
    Command {
        name: "peers",
        args: "",
        about: "make what the conformance tier compares with, and print the variable that says where",
        run: peers::run,
    },
    Command {
        name: "demo",
        args: "",
        about: "make an image of Debian's packages, pull it, and walk through its snapshots",
        run: demo::run,
    },
    Command {
        name: "tidy",
        args: "",
        about: "check the repository's own rules: crate graph, invariants, file sizes, links",
        run: tidy::run,
    },
    Command {
        name: "bench",
        args: "[SCENARIO…] [--peer SOCKET|auto] [--quick] [--json] [--pairs N] [--images DIR] \
               [--lamina PROGRAM]",
        about: "measure Lamina beside containerd, in release; figures decide nothing",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("xtask: no such command: {name}\n\n{}", usage());
        return ExitCode::from(2);
    };
    match Repo::find().and_then(|repo| (command.run)(&repo, rest)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND\n\n");
    for command in COMMANDS {
        let call = format!("{} {}", command.name, command.args);
        text.push_str(&format!("  {}\n      {}\n", call.trim_end(), command.about));
    }
    text
}
