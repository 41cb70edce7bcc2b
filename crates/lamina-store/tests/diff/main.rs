//! Making layers, from the outside: two trees in, tar out.

// What the modules of a test share is public to nobody else; tests fail by panicking.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod model;
mod rules;
mod service;
mod support;
