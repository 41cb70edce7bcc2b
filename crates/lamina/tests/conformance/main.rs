//! Clients and suites that others wrote, against daemons: `ctr` of two generations, and containerd's Go
//! client. Each runs first against containerd itself, so that a failure against Lamina is Lamina's.
//!
//! What holds of each RPC and each command of `ctr` is in docs/compatibility.md, which these tests check.

#![allow(clippy::unwrap_used, clippy::panic)] // Outside of `#[test]` too, this is all tests.

mod client;
mod ctr;
mod nerdctl;
mod rpc;
mod served;
mod subject;
mod table;
