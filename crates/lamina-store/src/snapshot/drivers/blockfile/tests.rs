//! What only `blockfile` does.

use std::os::unix::fs::{FileExt, MetadataExt};

use lamina_core::Kind as ErrorKind;
use lamina_testkit::disk::{Disk, Mounted, scratch_image};
use lamina_testkit::or_skip;

use super::super::testing::{commit, make, snapshot, stage};
use super::*;
use crate::mount::{self, How};

const SIZE: u64 = 16 << 20;

fn config(dir: &Path) -> Result<Config, String> {
    let scratch = dir.join("empty.img");
    scratch_image(&scratch, SIZE)?;
    Ok(Config { scratch_file: Some(scratch), ..Config::default() })
}

/// Mounted for as long as the test needs it, whatever becomes of the test.
fn mounted(driver: &Blockfile, snapshot: &Snapshot, at: &Path) -> Result<Mounted, String> {
    if !lamina_sys::kernel::is_root() {
        return Err("needs root".to_owned());
    }
    std::fs::create_dir_all(at).unwrap();
    mount::all(&driver.mounts(snapshot).unwrap(), at).map_err(|error| error.chain())?;
    Ok(Mounted(at.to_owned()))
}

fn open_error(root: &Path, config: &Config) -> OpenError {
    Blockfile::open(root, config).unwrap_err()
}

#[test]
fn mounts_are_containerds() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("scratch"), "").unwrap();
    for (configured, fs_type, want) in [
        (&["loop"][..], "ext4", &["loop"][..]),
        (&[], "", &["loop"]),
        (&["noatime", "discard"], "xfs", &["noatime", "discard", "loop"]),
        (&["loop,direct-io", "sync"], "ext4", &["loop,direct-io", "sync"]),
    ] {
        let config = Config {
            mount_options: configured.iter().map(|&option| option.to_owned()).collect(),
            fs_type: fs_type.to_owned(),
            ..Config::default()
        };
        let driver = Blockfile::open(dir.path(), &config).unwrap();
        for (kind, parents, shown, access) in [
            (Kind::Active, &[][..], 9, "rw"),
            (Kind::Active, &[2, 1], 9, "rw"),
            (Kind::View, &[], 9, "ro"),
            (Kind::View, &[1], 1, "ro"),
            (Kind::View, &[2, 1], 2, "ro"),
        ] {
            let source = dir.path().join(format!("snapshots/{shown}"));
            let options = want.iter().copied().chain([access]);
            let fs_type = if fs_type.is_empty() { "ext4" } else { fs_type };
            let want = Mount::new(fs_type, source.to_str().unwrap(), options);
            assert_eq!(driver.mounts(&snapshot(9, kind, parents)).unwrap(), [want]);
        }
        let committed = driver.mounts(&snapshot(9, Kind::Committed, &[])).unwrap_err();
        assert_eq!(committed.kind(), ErrorKind::FailedPrecondition);
    }
}

#[test]
fn the_scratch_image_is_copied_once_or_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    let skipped = open_error(&root, &Config::default());
    assert!(matches!(&skipped, OpenError::Skip(why) if why.contains("scratch_file")), "{skipped}");
    assert!(!root.exists(), "nothing is made for what is skipped");

    let scratch = || std::fs::read_to_string(root.join("scratch")).unwrap();
    let config = Config { scratch_file: Some(image.clone()), ..Config::default() };
    let missing = open_error(&root, &config);
    assert!(missing.to_string().contains(image.to_str().unwrap()), "{missing}");
    std::fs::write(&image, "one").unwrap();
    Blockfile::open(&root, &config).unwrap();
    std::fs::write(&image, "two").unwrap();
    Blockfile::open(&root, &config).unwrap();
    assert_eq!(scratch(), "one");
    Blockfile::open(&root, &Config { recreate_scratch: true, ..config.clone() }).unwrap();
    assert_eq!(scratch(), "two");
    // What is there is enough; to make it anew takes what it is made of.
    Blockfile::open(&root, &Config::default()).unwrap();
    let anew = Config { recreate_scratch: true, ..Config::default() };
    assert!(matches!(open_error(&root, &anew), OpenError::Skip(_)));
    for bad in ["relative", dir.path().to_str().unwrap()] {
        let config = Config { scratch_file: Some(bad.into()), ..anew.clone() };
        let OpenError::Failed(error) = open_error(&root, &config) else { panic!("{bad}") };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    assert_eq!(scratch(), "two");
    assert_eq!(root.join("scratch").metadata().unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn images_live_and_go() {
    let test = "images_live_and_go";
    let dir = tempfile::tempdir().unwrap();
    let config = or_skip!(test, config(dir.path()));
    let root = dir.path().join("root");
    let driver = Blockfile::open(&root, &config).unwrap();
    let image = |id: u64| root.join(format!("snapshots/{id}"));
    let base = snapshot(1, Kind::Active, &[]);
    driver.create(&base, &stage("new-1")).unwrap();
    assert!(!driver.exists(&base).unwrap());
    driver.discard(&stage("new-1")).unwrap();
    make(&driver, &base);
    // A file system with nothing in it has holes, and a copy has them too.
    let meta = image(1).metadata().unwrap();
    assert!(meta.len() == SIZE && meta.blocks() * 512 < SIZE / 2, "{} blocks", meta.blocks());
    assert_eq!(meta.mode() & 0o7777, 0o600);
    let usage = commit(&driver, &base);
    assert!(usage.inodes == 1 && usage.size < SIZE as i64 / 2, "{usage:?}");

    let (child, view) = (snapshot(2, Kind::Active, &[1]), snapshot(3, Kind::View, &[1]));
    make(&driver, &child);
    make(&driver, &view);
    assert!(driver.exists(&child).unwrap() && driver.exists(&view).unwrap());
    assert!(!image(3).exists(), "a view of a parent has no image");
    assert_eq!(driver.usage(&view, &|| false).unwrap(), Usage::default());
    assert!(driver.usage(&child, &|| true).is_err());
    std::fs::OpenOptions::new().write(true).open(image(2)).unwrap().write_at(b"x", 99).unwrap();
    assert_ne!(std::fs::read(image(1)).unwrap(), std::fs::read(image(2)).unwrap());

    // A crash: a stage and an id without a row.
    driver.create(&snapshot(9, Kind::Active, &[1]), &stage("new-9")).unwrap();
    drop(driver);
    let driver = Blockfile::open(&root, &config).unwrap();
    driver.recover(&BTreeSet::from([SnapshotId(1)]), SnapshotId(10)).unwrap();
    driver.empty_trash().unwrap();
    assert_eq!(driver.list().unwrap().unwrap(), BTreeSet::from([SnapshotId(1)]));
    for id in [3, 2, 1, 1] {
        assert_eq!(driver.remove(SnapshotId(id)).unwrap(), Removed::Gone);
    }
    driver.empty_trash().unwrap();
    for dir in ["snapshots", "trash"] {
        assert_eq!(std::fs::read_dir(root.join(dir)).unwrap().count(), 0);
    }
}

#[test]
fn privileged_what_is_mounted_is_not_committed() {
    let test = "privileged_what_is_mounted_is_not_committed";
    let dir = tempfile::tempdir().unwrap();
    let driver = Blockfile::open(&dir.path().join("root"), &or_skip!(test, config(dir.path())));
    let (driver, at) = (driver.unwrap(), dir.path().join("mnt").canonicalize());
    let at = at.unwrap_or_else(|_| dir.path().canonicalize().unwrap().join("mnt"));
    let base = snapshot(1, Kind::Active, &[]);
    make(&driver, &base);
    let held = or_skip!(test, mounted(&driver, &base, &at));
    std::fs::write(at.join("file"), "kept").unwrap();
    let error = driver.seal(&base).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.message().contains(at.to_str().unwrap()), "{error}");
    mount::unmount_all(&at, How::Plain).unwrap();
    drop(held);
    commit(&driver, &base);

    // A view shows it, and cannot be written to.
    let _held = mounted(&driver, &snapshot(2, Kind::View, &[1]), &at).unwrap();
    assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "kept");
    assert!(std::fs::write(at.join("file"), "x").is_err());
    driver.seal(&base).unwrap();
}

/// The image of a host that lost its power, which only a mount that may write can use.
#[test]
fn privileged_a_journal_is_replayed_before_a_commit() {
    let test = "privileged_a_journal_is_replayed_before_a_commit";
    let dir = tempfile::tempdir().unwrap();
    let config = or_skip!(test, config(dir.path()));
    let driver = Blockfile::open(&dir.path().join("root"), &config).unwrap();
    let at = dir.path().canonicalize().unwrap().join("mnt");
    let (base, torn) = (snapshot(1, Kind::Active, &[]), snapshot(2, Kind::Active, &[]));
    make(&driver, &base);
    make(&driver, &torn);
    let held = or_skip!(test, mounted(&driver, &base, &at));
    std::fs::write(at.join("file"), "kept").unwrap();
    fs::sync_filesystem(fs::open_dir(&at).unwrap()).unwrap();
    // As it is on disk while it is mounted.
    let image = |id: u64| dir.path().join(format!("root/snapshots/{id}"));
    std::fs::copy(image(1), image(2)).unwrap();
    mount::unmount_all(&at, How::Plain).unwrap();
    drop(held);
    let open = || driver.dirs.open_file(SnapshotId(2), OFlags::RDONLY).unwrap();
    assert_eq!(extfs::state(open()).unwrap(), Some(extfs::State::NeedsReplay));
    commit(&driver, &torn);
    assert_eq!(extfs::state(open()).unwrap(), Some(extfs::State::Clean));
    let _held = mounted(&driver, &snapshot(3, Kind::View, &[2]), &at).unwrap();
    assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "kept");
}

#[test]
fn privileged_images_are_clones_where_the_file_system_can() {
    let test = "privileged_images_are_clones_where_the_file_system_can";
    for fs_type in ["btrfs", "xfs"] {
        let disk = or_skip!(test, Disk::new(fs_type, 512 << 20, &[]));
        let config = or_skip!(test, config(disk.path()));
        let driver = Blockfile::open(&disk.path().join("root"), &config).unwrap();
        let (base, child) = (snapshot(1, Kind::Active, &[]), snapshot(2, Kind::Active, &[1]));
        make(&driver, &base);
        let image = driver.dirs.open_file(base.id, OFlags::RDWR).unwrap();
        std::fs::File::from(image).write_all_at(&vec![7; 8 << 20], 4 << 20).unwrap();
        assert!(driver.measure(base.id).unwrap().size >= 8 << 20, "{fs_type}");
        make(&driver, &child);
        let size = driver.usage(&child, &|| false).unwrap().size;
        assert!(size < 1 << 20, "{fs_type}: {size} bytes that the parent has too");
    }
}
