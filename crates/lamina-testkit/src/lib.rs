//! Contract suites, fakes stricter than the real thing, builders of test input, crashes, and hostile
//! surroundings.
//!
//! For tests only: everything here panics when the test set-up itself is wrong.

// Test code fails by panicking; the lints that forbid it are for the product.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod containerd;
pub mod containers;
pub mod crash;
pub mod daemon;
pub mod disk;
pub mod env;
pub mod honest;
pub mod image;
pub mod layers;
pub mod peers;
pub mod pool;
pub mod proxy;
pub mod registry;
pub mod shim;
pub mod suite;
pub mod tar;
pub mod tree;
pub mod umoci;
