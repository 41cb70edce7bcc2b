//! What every [`Snapshotter`](lamina_core::Snapshotter) must do, whatever is behind it.
//!
//! A [`Harness`] gives each case a fresh, empty snapshotter and mounts what that answers. A case is a
//! plain function over a [`Lab`]; it panics when the contract is broken. The cases are listed by
//! [`for_each_snapshot_case`](crate::for_each_snapshot_case), so that each is a test of its own
//! wherever the suite is run.
//!
//! | module | asks |
//! |---|---|
//! | `life` | prepare, commit, stat, remove, close |
//! | `errors` | which class of error a wrong call gets, and that it changes nothing |
//! | `update`, `walk`, `labels` | what is known besides files |
//! | `rebase` | parents given at commit |
//! | `layers`, `many` | files: what a stack of layers shows |
//! | `views`, `usage`, `mounts` | read-only views, disk space, mount lists |

mod errors;
mod harness;
mod lab;
mod labels;
mod layers;
mod life;
mod many;
mod mounts;
mod rebase;
mod tree;
mod update;
mod usage;
mod views;
mod walk;

pub use errors::*;
pub use harness::{Facts, Harness, State};
pub use lab::Lab;
pub use labels::*;
pub use layers::*;
pub use life::*;
pub use many::*;
pub use mounts::*;
pub use rebase::*;
pub use update::*;
pub use usage::*;
pub use views::*;
pub use walk::*;

/// Calls the macro `$each` with every case as `name privileged_name`: the function in
/// [`suite::snapshots`](crate::suite::snapshots), and the name its test has where it mounts.
#[macro_export]
macro_rules! for_each_snapshot_case {
    ($each:ident) => {
        $each! {
            basic privileged_basic,
            stat_of_an_active privileged_stat_of_an_active,
            stat_of_a_committed privileged_stat_of_a_committed,
            parents_of_parents privileged_parents_of_parents,
            keys_are_taken_once privileged_keys_are_taken_once,
            keys_can_be_used_again privileged_keys_can_be_used_again,
            close_twice privileged_close_twice,
            remove_intermediate privileged_remove_intermediate,
            times privileged_times,
            absent_things privileged_absent_things,
            bad_parents privileged_bad_parents,
            bad_keys privileged_bad_keys,
            bad_commits privileged_bad_commits,
            bad_labels privileged_bad_labels,
            update_labels privileged_update_labels,
            update_of_other_fields privileged_update_of_other_fields,
            walk_with_filters privileged_walk_with_filters,
            walk_in_key_order privileged_walk_in_key_order,
            stat_in_walk privileged_stat_in_walk,
            labels_of_a_commit privileged_labels_of_a_commit,
            target_that_exists privileged_target_that_exists,
            rebase privileged_rebase,
            rebase_refused privileged_rebase_refused,
            file_update privileged_file_update,
            directory_in_lower_layer privileged_directory_in_lower_layer,
            chown_in_upper_layer privileged_chown_in_upper_layer,
            directory_permissions privileged_directory_permissions,
            deleted_file_stays_deleted privileged_deleted_file_stays_deleted,
            file_moved_from_lower_layer privileged_file_moved_from_lower_layer,
            renames privileged_renames,
            kinds_of_files privileged_kinds_of_files,
            many_layers privileged_many_layers,
            view_is_read_only privileged_view_is_read_only,
            root_is_0755 privileged_root_is_0755,
            usage_of_an_active privileged_usage_of_an_active,
            usage_of_a_committed privileged_usage_of_a_committed,
            mount_lists privileged_mount_lists,
            mounts_of_committed privileged_mounts_of_committed,
        }
    };
}
