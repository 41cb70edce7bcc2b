//! The daemon as a process: how it starts, what it says to its manager, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)] // Outside of `#[test]` too, this is all tests.

mod checkpoint;
mod daemon;
mod fifty;
mod lifecycle;
mod tasks;
mod unit;
