//! The binary as a user has it: every verb, its output and its mistakes.

#![allow(clippy::unwrap_used, clippy::panic)] // Outside of `#[test]` too, this is all tests.

/// Commands open the store themselves. The target `cli_daemon` runs the same tests with a daemon.
pub(crate) const DAEMON: bool = false;

mod archives;
mod config;
mod content;
mod docs;
mod environment;
mod faults;
mod general;
mod host;
mod image;
mod image_mount;
mod image_state;
mod image_unpack;
mod lab;
mod lease;
mod namespace;
mod pull_access;
mod pull_terminal;
mod run;
mod run_each;
mod run_faults;
mod run_host;
mod run_logs;
mod run_terminal;
mod run_verbs;
mod snapshot;
mod snapshot_diff;
mod snapshotters;
mod untrusted;
