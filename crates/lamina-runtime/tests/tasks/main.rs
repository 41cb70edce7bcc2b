//! The task service over real shims, and over programs that pretend to be one.

// Test code fails by panicking; the lints that forbid it are for the product.
#![allow(clippy::unwrap_used, clippy::panic)]

mod busybox;
mod host;
mod lab;
mod liars;
mod real;
mod speakers;
mod verbs;
