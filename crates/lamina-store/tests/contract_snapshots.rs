//! The contract suite of snapshotters over the store's engine and each of its back ends.

// Helpers of tests fail by panicking, and each program uses a part of the harness.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

#[path = "../examples/copying.rs"]
mod copying;
#[path = "support/fake_driver.rs"]
mod fake_driver;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/snapshot_harness.rs"]
mod snapshot_harness;

use lamina_testkit::for_each_snapshot_case;
use lamina_testkit::suite::snapshots::Lab;
use snapshot_harness::StoreHarness;

/// Runs a case on a fresh store, or says why it cannot.
fn run(test: &str, harness: Result<StoreHarness, String>, case: fn(&Lab<'_>)) {
    let harness = lamina_testkit::or_skip!(test, harness);
    case(&Lab::new(&harness));
    harness.store().close().unwrap_or_else(|error| panic!("{}", error.chain()));
}

macro_rules! privileged {
    ($($case:ident $test:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            super::run(stringify!($test), harness(), lamina_testkit::suite::snapshots::$case);
        })*
    };
}

macro_rules! unprivileged {
    ($($case:ident $test:ident),* $(,)?) => {
        $(#[test]
        fn $case() {
            super::run(stringify!($case), harness(), lamina_testkit::suite::snapshots::$case);
        })*
    };
}

mod overlayfs {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::overlayfs(Default::default())
    }

    for_each_snapshot_case!(privileged);
}

mod native {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::native()
    }

    for_each_snapshot_case!(privileged);
}

mod btrfs {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::btrfs()
    }

    for_each_snapshot_case!(privileged);
}

mod blockfile {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::blockfile()
    }

    for_each_snapshot_case!(privileged);
}

mod erofs {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::erofs()
    }

    for_each_snapshot_case!(privileged);
}

/// The one that docs/write-a-snapshotter.md makes.
mod written {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::of(vec![copying::source()], "copying")
    }

    for_each_snapshot_case!(privileged);

    #[test]
    fn the_page_shows_what_is_run_here() {
        let page = include_str!("../../../docs/write-a-snapshotter.md");
        let code = include_str!("../examples/copying.rs");
        assert!(page.contains(&format!("```rust\n{code}```\n")), "docs/write-a-snapshotter.md");
    }
}

mod fake {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::fake()
    }

    for_each_snapshot_case!(unprivileged);
}

mod remote {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::remote()
    }

    for_each_snapshot_case!(unprivileged);
}
