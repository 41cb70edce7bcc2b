//! The mount manager: turns mount lists into what a shim can mount.
//!
//! An *activation* has a name in a namespace. Of its list the manager mounts the front part, at
//! `<targets>/<id>/<n>`, and answers the rest, which may name what was mounted. Its row in the
//! database comes before the first mount and is completed after the last, and it goes after they
//! went: so every mount of ours has a row or, when the database is older than the mounts, a
//! directory that nothing knows; both are cleared at the next start. A mount lives as long as the
//! boot, and a row with another boot's id is void.
//!
//! | module | owns |
//! |---|---|
//! | `cut` | which part is ours (pure) |
//! | `transform` | `format/`, `mkdir/`, `mkfs/` |
//! | `handler`, `loops` | types that only we can mount |
//! | `targets` | the directories and what is mounted in them |
//! | `core` | the life of an activation |
//! | `names` | one call at a time for each name |
//! | `adapter` | the async trait |

mod adapter;
mod core;
mod cut;
mod handler;
mod loops;
mod names;
mod targets;
mod transform;

pub(crate) use self::core::TRANSIENT;
pub use self::core::{Manager, ManagerOptions};
pub use handler::{Handler, Handlers};
pub use loops::LoopHandler;

#[cfg(test)]
mod tests;
