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

/// Past what captures the output of tests.
fn tell(module: &str, case: &str, time: std::time::Duration) {
    use std::io::Write;
    let mut out = std::io::stderr();
    writeln!(out, "{module} {case} {:.1} s", time.as_secs_f64()).unwrap();
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

/// One test for all cases, which says at once how far it is: the machine is slow.
macro_rules! in_the_vm {
    ($($case:ident $test:ident),* $(,)?) => {
        fn every_case() {
            $(
                let started = std::time::Instant::now();
                super::run(stringify!($case), harness(), lamina_testkit::suite::snapshots::$case);
                super::tell(module_path!(), stringify!($case), started.elapsed());
            )*
        }
    };
}

mod devmapper {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::devmapper("ext4")
    }

    for_each_snapshot_case!(in_the_vm);

    #[test]
    fn vm_contract_over_devmapper() {
        lamina_testkit::or_skip!("vm_contract_over_devmapper", harness());
        every_case();
    }
}

mod zfs {
    use super::*;

    fn harness() -> Result<StoreHarness, String> {
        StoreHarness::zfs()
    }

    for_each_snapshot_case!(in_the_vm);

    #[test]
    fn vm_contract_over_zfs() {
        lamina_testkit::or_skip!("vm_contract_over_zfs", harness());
        every_case();
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
