//! What clients and the machine do to a daemon: what is no message, what is too large, what goes away
//! in the middle, too many at once, and a kill under load.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)] // Outside of `#[test]` too, this is all tests.

mod calls;
mod client;
#[allow(dead_code, reason = "the other target needs all of it")]
#[path = "../serve/daemon.rs"]
mod daemon;
mod gone;
mod junk;
mod killed;
mod many;
mod process;
mod sizes;
mod slow;
mod work;
