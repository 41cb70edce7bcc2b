//! Files and directories by descriptor.
//!
//! Rules that hold for every function below:
//! - A name is one path component unless the function says otherwise; the last component is
//!   never followed if it is a symbolic link.
//! - Functions that take a descriptor accept `O_PATH` handles too where Linux can do the
//!   operation on one at all (through `AT_EMPTY_PATH` or `/proc/self/fd`).
//! - Every descriptor is opened close-on-exec.

pub mod attr;
pub mod data;
pub mod dir;
pub mod entry;
pub mod extents;
pub mod lock;
pub mod open;
pub mod space;
pub mod sync;
pub mod xattr;

pub use attr::{
    FileKind, Stat, Time, Times, set_mode, set_mode_at, set_owner, set_owner_at, set_times,
    set_times_at, stat, stat_at,
};
pub use data::{
    Advice, advise, allocate, copy_range, next_data, next_hole, punch_hole, reflink,
    start_writeback, truncate,
};
pub use dir::{DirEntry, ReadDir, read_dir};
pub use entry::{
    exchange, link, link_fd, make_dir, make_node, make_symlink, read_link, remove_dir, remove_file,
    rename, rename_noreplace,
};
pub use lock::{lock_exclusive, lock_shared, try_lock_exclusive, try_lock_shared, unlock};
pub use open::{
    OFlags, create_file, fd_path, make_tmpfile, open_at, open_dir, open_dir_at, open_handle,
    open_handle_at, open_in_root, open_same_mount, reopen,
};
pub use space::{FsInfo, fs_info, fs_info_of};
pub use sync::{sync_data, sync_file, sync_filesystem};
