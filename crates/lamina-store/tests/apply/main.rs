//! Laying layers down, from the outside: tar in, a tree out.

// What the modules of a test share is public to nobody else; tests fail by panicking.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod deletions;
mod escapes;
mod faults;
mod forms;
mod kinds;
mod model;
mod peers;
mod support;
