//! Awkward images, and one made of Debian's packages, unpack to the tree that containerd and umoci
//! give, entry by entry; and to the same tree on every driver and in every order.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

mod across;
mod debian;
mod differences;
mod lab;
mod peers;
mod ways;
