//! containerd's Go client and suites, from `tests/conformance` at the root of the repository.

use std::process::{Command, Stdio};

use lamina_testkit::daemon::{Daemon, Program};
use lamina_testkit::disk::{Disk, scratch_image};
use lamina_testkit::{or_skip, peers};

use tempfile::TempDir;

use crate::subject::{self, Shelf};
use crate::table::{Section, Table};

/// One run of the Go program.
pub(crate) struct Run {
    pub(crate) output: String,
    pub(crate) passed: bool,
}

/// Runs those tests of the Go program whose names match.
pub(crate) fn run(daemon: &Daemon, tests: &str, args: &[&str]) -> Result<Run, String> {
    let mut command = Command::new(peers::conformance()?);
    command.arg("-address").arg(daemon.address()).arg("-remote").arg(daemon.remote());
    command.args(["-test.v", "-test.timeout=5m", "-test.run", tests]).args(args);
    command.current_dir(daemon.dir()).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("conformance.test: {error}"))?;
    let text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&text).into_owned();
    Ok(Run { output: output_text, passed: output.status.success() })
}

/// What of the Go program is asked of a daemon: a row of the page.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    /// The names of its tests, as a pattern.
    tests: &'static str,
    /// How many pass at least: a name that matches nothing must not pass.
    least: usize,
    snapshotter: &'static str,
}

/// Fails unless the page says how it goes: `passes`, or `fails`.
fn check(program: &Program, part: Part, column: &str) -> Result<(), String> {
    peers::conformance()?;
    let shelf = Shelf::open()?;
    let (_scratch, more) = settings(part)?;
    let disk = match part.snapshotter {
        "btrfs" => Some(Disk::new("btrfs", 1 << 30, &[])?),
        _ => None,
    };
    let parent = disk.as_ref().map_or_else(std::env::temp_dir, |disk| disk.path().to_owned());
    let daemon = Daemon::start_with(program, &parent, &more);
    let reference = shelf.reference();
    let busybox = shelf.busybox();
    let args = ["-image", &reference, "-busybox", &busybox, "-snapshotter", part.snapshotter];
    let run = run(&daemon, part.tests, &args)?;
    if run.passed {
        let passed = run.output.lines().filter(|line| line.contains("--- PASS")).count();
        assert!(passed >= part.least, "{passed} passed, not {}\n{}", part.least, run.output);
        assert!(!run.output.contains("--- SKIP"), "{}", run.output);
    }
    let state = if run.passed { "passes" } else { "fails" };
    Table::read(Section::Client).check_one(column, part.name, state, &run.output);
    Ok(())
}

/// What a snapshotter has to be told, and the file that this is about.
fn settings(part: Part) -> Result<(Option<TempDir>, String), String> {
    if part.snapshotter != "blockfile" {
        return Ok((None, String::new()));
    }
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    let image = dir.path().join("empty.img");
    scratch_image(&image, 16 << 20)?;
    let text = format!(
        "[plugins.\"io.containerd.snapshotter.v1.blockfile\"]\n\
         scratch_file = {image:?}\n\
         fs_type = \"ext4\"\n\
         mount_options = [\"loop\"]\n"
    );
    Ok((Some(dir), text))
}

/// The containerd that is asked for a part. The one that is made here has no btrfs, Debian's has.
fn containerd(part: Part) -> Result<Program, String> {
    if part.snapshotter == "btrfs" { subject::containerd16() } else { subject::containerd2() }
}

/// A test for each part and each daemon.
macro_rules! client_tests {
    ($($part:ident: $tests:literal, $least:literal, $snapshotter:literal;)*) => {
        const PARTS: &[Part] = &[$(Part {
            name: stringify!($part),
            tests: $tests,
            least: $least,
            snapshotter: $snapshotter,
        }),*];

        fn part(name: &str) -> Part {
            *PARTS.iter().find(|part| part.name == name).unwrap()
        }

        mod reference {
            use super::*;
            $(#[test]
            fn $part() {
                let name = concat!("client_reference_", stringify!($part));
                let part = part(stringify!($part));
                let program = or_skip!(name, containerd(part));
                or_skip!(name, check(&program, part, "containerd"));
            })*
        }

        mod lamina {
            use super::*;
            $(#[test]
            fn $part() {
                let name = concat!("client_lamina_", stringify!($part));
                let program = or_skip!(name, subject::lamina());
                or_skip!(name, check(&program, part(stringify!($part)), "Lamina"));
            })*
        }
    };
}

client_tests! {
    snapshotter_suite_overlayfs: "^TestSnapshotterSuite$", 20, "overlayfs";
    snapshotter_suite_native: "^TestSnapshotterSuite$", 20, "native";
    snapshotter_suite_btrfs: "^TestSnapshotterSuite$", 20, "btrfs";
    content_suite: "^TestContent", 14, "overlayfs";
    images: "^(TestPull|TestUnpack)", 3, "overlayfs";
    collection: "^TestCollection$", 1, "overlayfs";
    namespaces: "^TestNamespaces$", 1, "overlayfs";
    events: "^TestEvents$", 1, "overlayfs";
    errors: "^TestErrors$", 35, "overlayfs";
    remote_snapshotter: "^TestRemoteSnapshotter$", 1, "overlayfs";
    containers: "^TestContainer$", 1, "overlayfs";
    containers_native: "^TestContainer$", 1, "native";
}

/// Only ours: containerd commits images that the kernel still writes to, and now and then finds them
/// damaged, so that what its daemon makes of the suite is chance.
const BLOCKFILE: Part = Part {
    name: "snapshotter_suite_blockfile",
    tests: "^TestSnapshotterSuite$",
    least: 20,
    snapshotter: "blockfile",
};

/// Only ours, to save time: each layer is a mount of its own, and the suite stacks 128.
const EROFS: Part = Part {
    name: "snapshotter_suite_erofs",
    tests: "^TestSnapshotterSuite$",
    least: 20,
    snapshotter: "erofs",
};

/// The client unpacks, which names the images and what is over them to the daemon's differ.
const EROFS_IMAGES: Part =
    Part { name: "images_erofs", tests: "^(TestPull|TestUnpack)", least: 3, ..EROFS };

#[test]
fn client_lamina_snapshotter_suite_erofs() {
    let name = "client_lamina_snapshotter_suite_erofs";
    let program = or_skip!(name, subject::lamina());
    let kernel = std::fs::read_to_string("/proc/filesystems").unwrap();
    if !kernel.lines().any(|line| line.ends_with("\terofs")) {
        return println!("SKIP {name}: this kernel has no erofs");
    }
    or_skip!(name, check(&program, EROFS, "Lamina"));
    or_skip!(name, check(&program, EROFS_IMAGES, "Lamina"));
}

#[test]
fn client_lamina_snapshotter_suite_blockfile() {
    let name = "client_lamina_snapshotter_suite_blockfile";
    let program = or_skip!(name, subject::lamina());
    or_skip!(name, check(&program, BLOCKFILE, "Lamina"));
}

#[test]
fn the_table_has_every_part() {
    let table = Table::read(Section::Client);
    assert_eq!(
        table.names(),
        PARTS
            .iter()
            .chain([&BLOCKFILE, &EROFS, &EROFS_IMAGES])
            .map(|part| part.name)
            .collect::<Vec<_>>()
    );
    // containerd passes, or the test asks for something that is not so.
    assert_eq!(table.remarks("containerd", "fails"), []);
    for (part, remark) in table.remarks("Lamina", "fails") {
        assert!(!remark.is_empty(), "{part} fails, and nothing says why");
    }
}
