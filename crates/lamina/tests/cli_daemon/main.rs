//! The tests of the target `cli` once more, with a daemon that has the store: what a user sees is the
//! same. `environment::EMBEDDED` names those that keep to the store itself, and why.

#![allow(clippy::unwrap_used, clippy::panic)] // Outside of `#[test]` too, this is all tests.

/// Each test's store is a daemon's.
pub(crate) const DAEMON: bool = true;

#[path = "../cli/archives.rs"]
mod archives;
#[path = "../cli/config.rs"]
mod config;
#[path = "../cli/content.rs"]
mod content;
mod daemon;
#[path = "../cli/docs.rs"]
mod docs;
#[path = "../cli/environment.rs"]
mod environment;
#[path = "../cli/faults.rs"]
mod faults;
#[path = "../cli/general.rs"]
mod general;
#[path = "../cli/host.rs"]
mod host;
#[path = "../cli/image.rs"]
mod image;
#[path = "../cli/image_mount.rs"]
mod image_mount;
#[path = "../cli/image_state.rs"]
mod image_state;
#[path = "../cli/image_unpack.rs"]
mod image_unpack;
#[path = "../cli/lab.rs"]
mod lab;
#[path = "../cli/lease.rs"]
mod lease;
#[path = "../cli/namespace.rs"]
mod namespace;
#[path = "../cli/pull_access.rs"]
mod pull_access;
#[path = "../cli/pull_terminal.rs"]
mod pull_terminal;
mod restart;
#[path = "../cli/run.rs"]
mod run;
#[path = "../cli/run_each.rs"]
mod run_each;
#[path = "../cli/run_faults.rs"]
mod run_faults;
#[path = "../cli/run_host.rs"]
mod run_host;
#[path = "../cli/run_logs.rs"]
mod run_logs;
#[path = "../cli/run_terminal.rs"]
mod run_terminal;
#[path = "../cli/run_verbs.rs"]
mod run_verbs;
#[path = "../cli/snapshot.rs"]
mod snapshot;
#[path = "../cli/snapshot_diff.rs"]
mod snapshot_diff;
#[path = "../cli/untrusted.rs"]
mod untrusted;
