//! Hostile surroundings: a disk that is full, a root that cannot be written, a file system that does
//! not tell what its entries are.
//!
//! Each is a guard: made by the test, undone when dropped, also when the test panics. What a machine
//! lacks is a reason, for [`or_skip!`](crate::or_skip):
//!
//! ```text
//! #[test]
//! fn privileged_a_full_disk_is_named() {
//!     let disk = or_skip!("privileged_a_full_disk_is_named", TinyFs::disk("ext4", 32 << 20));
//!     let store = open(disk.path());
//!     disk.fill(0);
//!     assert_eq!(prepare(&store).unwrap_err().kind(), Kind::ResourceExhausted);
//!     disk.free();
//!     prepare(&store).unwrap();
//! }
//! ```
//!
//! Everything is mounted in directories of its own, so tests may run side by side. File systems of
//! any kind and options are made by [`Disk`](crate::disk::Disk).

pub mod readonly;
pub mod skip;
pub mod tinyfs;
pub mod unknown_dtype;
