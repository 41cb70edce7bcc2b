//! Running containers. [`spec`] says what to run.

pub mod spec;
