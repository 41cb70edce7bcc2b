use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use lamina_core::labels::{SNAPSHOT_GID_MAP, SNAPSHOT_UID_MAP};
use lamina_testkit::env::unknown_dtype::{UnknownFuse, unknown_dtype};
use lamina_testkit::or_skip;
use tempfile::TempDir;

use super::super::testing::{commit, make, snapshot, stage};
use super::*;

const PLAIN: Facts =
    Facts { in_user_namespace: false, needs_user_xattr: false, has_index: true, id_mapped: true };

fn open(dir: &TempDir, options: &[&str], facts: Facts) -> Overlay {
    let mount_options = options.iter().map(|option| (*option).to_owned()).collect();
    let config = Config { mount_options, ..Config::default() };
    Overlay::new(Overlay::open_dirs(dir.path()).unwrap(), &config, facts).unwrap()
}

/// The one mount of a snapshot as text, with `R` for the directory of snapshots.
fn shown(dir: &TempDir, driver: &Overlay, snapshot: &Snapshot) -> String {
    let [mount] = &driver.mounts(snapshot).unwrap()[..] else { panic!("not one mount") };
    assert_eq!(mount.target, "");
    let text = format!("{} {} {}", mount.kind, mount.source, mount.options.join(" "));
    text.replace(dir.path().join("snapshots").to_str().unwrap(), "R")
}

fn mapped(mut snapshot: Snapshot, uids: Option<&str>, gids: Option<&str>) -> Snapshot {
    for (label, map) in [(SNAPSHOT_UID_MAP, uids), (SNAPSHOT_GID_MAP, gids)] {
        snapshot.labels.extend(map.map(|map| (label.to_owned(), map.to_owned())));
    }
    snapshot
}

#[test]
fn mounts_are_containerds() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[], PLAIN);
    let cases = [
        (snapshot(1, Kind::Active, &[]), "bind R/1/fs rw rbind"),
        (snapshot(2, Kind::View, &[]), "bind R/2/fs ro rbind"),
        (snapshot(3, Kind::View, &[1]), "bind R/1/fs ro rbind"),
        (
            snapshot(4, Kind::Active, &[1]),
            "overlay overlay workdir=R/4/work upperdir=R/4/fs lowerdir=R/1/fs index=off",
        ),
        (
            snapshot(6, Kind::Active, &[5, 4, 1]),
            "overlay overlay workdir=R/6/work upperdir=R/6/fs lowerdir=R/5/fs:R/4/fs:R/1/fs index=off",
        ),
        (snapshot(7, Kind::View, &[5, 1]), "overlay overlay lowerdir=R/5/fs:R/1/fs index=off"),
    ];
    for (snapshot, want) in &cases {
        assert_eq!(shown(&dir, &driver, snapshot), *want);
    }
    // No list is shared between answers.
    for (snapshot, want) in &cases {
        assert_eq!(shown(&dir, &driver, snapshot), *want);
    }
}

#[test]
fn configured_options_follow_the_layers() {
    let dir = tempfile::tempdir().unwrap();
    let user = Facts { in_user_namespace: true, needs_user_xattr: true, ..PLAIN };
    let old = Facts { has_index: false, id_mapped: false, ..PLAIN };
    let cases: &[(&[&str], Facts, &str)] = &[
        (&[], PLAIN, "index=off"),
        (&[], old, ""),
        (&["volatile"], PLAIN, "volatile index=off"),
        (&["index=on"], PLAIN, "index=on"),
        (&["index"], PLAIN, "index"),
        (&["a,index=on"], PLAIN, "a,index=on"),
        (&["indexes=1"], PLAIN, "indexes=1 index=off"),
        (&[], user, "userxattr index=off"),
        (&["userxattr", "volatile"], user, "userxattr volatile index=off"),
    ];
    for (options, facts, want) in cases {
        let driver = open(&dir, options, *facts);
        let text = shown(&dir, &driver, &snapshot(3, Kind::View, &[2, 1]));
        assert_eq!(text, format!("overlay overlay lowerdir=R/2/fs:R/1/fs {want}").trim_end());
        let bind = shown(&dir, &driver, &snapshot(3, Kind::View, &[2]));
        assert_eq!(bind, "bind R/2/fs ro rbind");
    }
}

#[test]
fn id_maps_come_first_where_mounts_can_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[], PLAIN);
    let both = |s| mapped(s, Some("0:1000:65536"), Some("0:2000:65536"));
    let u = "uidmap=0:1000:65536 gidmap=0:2000:65536";
    for (kind, parents, want) in [
        (Kind::Active, &[][..], format!("bind R/9/fs {u} rw rbind")),
        (Kind::View, &[], format!("bind R/9/fs {u} ro rbind")),
        (Kind::View, &[1], format!("bind R/1/fs {u} ro rbind")),
        (Kind::View, &[2, 1], format!("overlay overlay {u} lowerdir=R/2/fs:R/1/fs index=off")),
        (
            Kind::Active,
            &[1],
            format!(
                "overlay overlay {u} workdir=R/9/work upperdir=R/9/fs lowerdir=R/1/fs index=off"
            ),
        ),
    ] {
        assert_eq!(shown(&dir, &driver, &both(snapshot(9, kind, parents))), want);
    }
    let one = mapped(snapshot(9, Kind::Active, &[]), None, Some("0:5:1"));
    assert_eq!(shown(&dir, &driver, &one), "bind R/9/fs gidmap=0:5:1 rw rbind");
    let cannot = open(&dir, &[], Facts { id_mapped: false, ..PLAIN });
    assert_eq!(shown(&dir, &cannot, &one), "bind R/9/fs rw rbind");
}

#[test]
fn layout_and_modes() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[], PLAIN);
    make(&driver, &snapshot(1, Kind::Active, &[]));
    make(&driver, &snapshot(2, Kind::View, &[]));
    let mode = |path: &str| {
        dir.path().join("snapshots").join(path).metadata().ok().map(|m| m.mode() & 0o7777)
    };
    assert_eq!(mode("1"), Some(0o700));
    assert_eq!(mode("1/fs"), Some(0o755));
    assert_eq!(mode("1/work"), Some(0o711));
    assert_eq!(mode("2/fs"), Some(0o755));
    assert_eq!(mode("2/work"), None);
    std::fs::remove_dir(dir.path().join("snapshots/1/work")).unwrap();
    assert!(!driver.exists(&snapshot(1, Kind::Active, &[])).unwrap());
    assert!(driver.exists(&snapshot(1, Kind::Committed, &[])).unwrap());
}

#[test]
fn targets() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[], PLAIN);
    let layer = |id: u64| dir.path().join(format!("snapshots/{id}/fs"));
    for (parents, place, whiteouts) in [
        (&[][..], Place::Bottom, Whiteouts::Delete),
        (&[], Place::Above, Whiteouts::Overlay),
        (&[2, 1], Place::Above, Whiteouts::Overlay),
        (&[2, 1], Place::Bottom, Whiteouts::Overlay),
    ] {
        let lowers = parents.iter().map(|id| layer(*id)).collect();
        let target = driver.target(&snapshot(9, Kind::Active, parents), place).unwrap();
        assert_eq!(target, Target::Dir { path: layer(9), whiteouts, lowers });
    }
    let user = Facts { in_user_namespace: true, ..PLAIN };
    for driver in [open(&dir, &[], user), open(&dir, &["userxattr"], PLAIN)] {
        let target = driver.target(&snapshot(9, Kind::Active, &[]), Place::Bottom).unwrap();
        assert_eq!(target, Target::Mount);
    }
}

#[test]
fn capabilities() {
    let dir = tempfile::tempdir().unwrap();
    let words = |facts, slow_chown| {
        let config = Config { slow_chown, ..Config::default() };
        let dirs = Overlay::open_dirs(dir.path()).unwrap();
        Overlay::new(dirs, &config, facts).unwrap().capabilities().words()
    };
    assert_eq!(words(PLAIN, false), ["remap-ids", "only-remap-ids", "rebase"]);
    assert_eq!(words(PLAIN, true), ["remap-ids", "rebase"]);
    let poor = Facts { in_user_namespace: true, id_mapped: false, ..PLAIN };
    assert_eq!(words(poor, false), ["only-remap-ids"]);
    assert_eq!(words(poor, true), [""; 0]);
}

#[test]
fn the_upper_directory_shows_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(&dir, &[], PLAIN).synthetic_labels(SnapshotId(5)).is_empty());
    let config = Config { upperdir_label: true, ..Config::default() };
    let driver = Overlay::new(Overlay::open_dirs(dir.path()).unwrap(), &config, PLAIN).unwrap();
    let labels = driver.synthetic_labels(SnapshotId(5));
    let want = dir.path().join("snapshots/5/fs");
    assert_eq!(labels["containerd.io/snapshot/overlay.upperdir"], want.to_str().unwrap());
}

#[test]
fn removal_waits_for_the_deletion_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    for sync_remove in [false, true] {
        let config = Config { sync_remove, ..Config::default() };
        let driver = Overlay::new(Overlay::open_dirs(dir.path()).unwrap(), &config, PLAIN).unwrap();
        make(&driver, &snapshot(1, Kind::Active, &[]));
        assert_eq!(driver.remove(SnapshotId(1)).unwrap(), Removed::Gone);
        assert_eq!(driver.list().unwrap().unwrap().len(), 0);
        let trash = std::fs::read_dir(dir.path().join("trash")).unwrap().count();
        assert_eq!(trash, usize::from(!sync_remove));
        driver.empty_trash().unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("trash")).unwrap().count(), 0);
    }
}

#[test]
fn a_bad_map_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[], PLAIN);
    let bad = mapped(snapshot(1, Kind::Active, &[]), Some("1:1000:5"), None);
    let error = driver.create(&bad, &stage("new-1")).unwrap_err();
    assert_eq!(error.kind(), lamina_core::Kind::InvalidArgument);
    assert_eq!(std::fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 0);
}

#[test]
fn privileged_layers_belong_to_whom_they_should() {
    if !lamina_sys::kernel::is_root() {
        eprintln!("SKIP privileged_layers_belong_to_whom_they_should: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[], PLAIN);
    let owner = |id: u64| {
        let found = dir.path().join(format!("snapshots/{id}/fs")).metadata().unwrap();
        (found.uid(), found.gid())
    };
    make(&driver, &snapshot(1, Kind::Active, &[]));
    assert_eq!(owner(1), (0, 0));
    chown(dir.path().join("snapshots/1/fs"), Some(70), Some(71)).unwrap();
    commit(&driver, &snapshot(1, Kind::Active, &[]));
    make(&driver, &snapshot(2, Kind::Active, &[1]));
    assert_eq!(owner(2), (70, 71), "the parent's");
    make(&driver, &mapped(snapshot(3, Kind::Active, &[1]), Some("0:1000:1"), None));
    assert_eq!(owner(3), (1000, 0), "the map's; the other one maps nothing");
    make(&driver, &mapped(snapshot(4, Kind::View, &[]), Some("0:1000:1"), Some("0:5:9")));
    assert_eq!(owner(4), (1000, 5));
}

fn refused_for_entry_types(dir: &Path) {
    let root = dir.join("root");
    let error = Overlay::open(&root, &Config::default()).unwrap_err();
    assert_eq!(error.kind(), lamina_core::Kind::FailedPrecondition);
    assert!(error.message().contains(root.to_str().unwrap()), "{error}");
    assert!(error.message().contains("d_type"), "{error}");
}

#[test]
fn privileged_ext4_without_entry_types_is_refused() {
    let disk = or_skip!("privileged_ext4_without_entry_types_is_refused", unknown_dtype());
    refused_for_entry_types(disk.path());
}

#[test]
fn privileged_fuse_without_entry_types_is_refused() {
    let fuse = or_skip!("privileged_fuse_without_entry_types_is_refused", UnknownFuse::new());
    refused_for_entry_types(fuse.path());
}

#[test]
fn privileged_probes_leave_nothing_behind() {
    if !lamina_sys::kernel::is_root() {
        eprintln!("SKIP privileged_probes_leave_nothing_behind: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dirs = Overlay::open_dirs(dir.path()).unwrap();
    let facts = Facts::probe(dir.path(), dirs.root());
    assert_eq!(facts.has_index, Path::new("/sys/module/overlay/parameters/index").exists());
    assert_eq!(probe::trials(dir.path(), dirs.root()), (facts.id_mapped, true));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "snapshots and trash");
}
