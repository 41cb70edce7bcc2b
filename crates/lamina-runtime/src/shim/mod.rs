//! The shim: how its program is found, started and asked.

pub(crate) mod answer;
pub(crate) mod client;
pub mod name;
pub(crate) mod start;
