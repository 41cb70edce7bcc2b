//! Mounts: carried out, undone, held for a moment, and managed.
//!
//! A [`Mount`](lamina_core::Mount) is data; this module is what the kernel is told because of it.
//! [`all`] mounts a list at one place, by the new mount API where the kernel has it and by
//! `mount(2)` where not, and undoes what it did when one of the list fails. [`unmount_all`] and its
//! kin are the way back. [`temp`] holds mounts for the time of an operation and clears what a crash
//! left; [`manager`] is the mount manager that clients see.
//!
//! Everything here blocks, and nothing here knows namespaces but the manager.
//!
//! | module | owns |
//! |---|---|
//! | `options`, `layers`, `rewrite` | option text: taken apart, put together, changed |
//! | `plan` | which of the ways to mount it is, and with what |
//! | `perform` | the ways to mount |
//! | `unmount`, `lookup` | the way back; what is mounted where |

mod error;
mod layers;
mod lookup;
pub mod manager;
mod options;
mod perform;
mod plan;
mod rewrite;
pub mod temp;
mod unmount;

pub use layers::escape as escape_layer;
pub(crate) use layers::{overlay_directories, plain_overlay};
pub use lookup::{is_mounted, lookup};
pub(crate) use options::parse_map as parse_id_map;
pub use perform::{Api, Mounter, all};
pub use rewrite::read_only;
pub use unmount::{How, unmount, unmount_all, unmount_mounts, unmount_recursive};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
