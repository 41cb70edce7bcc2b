//! Running containers behind [`lamina_core::TaskService`]: shims (runtime v2), the bundles they work in,
//! and what becomes of both.
//!
//! A shim is a program of somebody else that holds one task or several. It outlives whoever started
//! it, and everything needed to reach it again lies in its bundle: [`Runtime::tasks`] therefore works
//! in a process that never saw the task made. Start reading at `tasks.rs`, which has the verbs.
//!
//! [`spec`] says what to run, as an OCI spec.
//!
//! Nothing is read from the environment here, and no task outlives [`Runtime::close`].

mod bundle;
mod checkpoint;
mod create;
mod exits;
mod kill;
mod log;
pub mod metrics;
mod reload;
pub mod runc;
mod runtime;
mod shim;
pub mod spec;
mod task;
mod tasks;

pub use reload::Loaded;
pub use runtime::{Config, Runtime, Timeouts};
pub use shim::name as shim_name;
