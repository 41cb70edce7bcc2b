//! Records: namespaces, images, containers, sandboxes and leases. Rows and nothing else; what they refer to is
//! kept or dropped by the collector.

mod containers;
mod images;
mod leases;
mod namespaces;
mod sandboxes;

pub use containers::Containers;
pub use images::Images;
pub use leases::Leases;
pub use namespaces::Namespaces;
pub use sandboxes::Sandboxes;
