//! The registry client against a registry that misbehaves: every fault has its error kind and a
//! message that says what came from where, and no fault costs a byte twice or shows a secret to a
//! stranger.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod auth;
mod blobs;
mod documents;
mod hosts;
mod redirects;
mod resolving;
mod setup;
