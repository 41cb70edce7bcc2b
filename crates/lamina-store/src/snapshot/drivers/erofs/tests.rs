use std::os::unix::fs::{MetadataExt, chown};

use lamina_core::labels::{SNAPSHOT_GID_MAP, SNAPSHOT_UID_MAP};
use tempfile::TempDir;

use super::super::testing::{commit, layer, make, snapshot};
use super::*;

/// One that does not ask whether the kernel can mount what it makes.
fn open(dir: &TempDir, options: &[&str]) -> Erofs {
    let ovl_mount_options = options.iter().map(|option| (*option).to_owned()).collect();
    let config = Config { ovl_mount_options, ..Config::default() };
    let mut driver = Erofs::new(dir.path(), &config).unwrap();
    driver.facts = Facts {
        in_user_namespace: false,
        needs_user_xattr: false,
        has_index: true,
        id_mapped: true,
    };
    driver.options = MountOptions::new(&config.ovl_mount_options, &driver.facts);
    driver
}

/// The mounts of a snapshot as text, with `R` for the directory of snapshots.
fn shown(dir: &TempDir, driver: &Erofs, snapshot: &Snapshot) -> String {
    let line = |mount: &Mount| {
        assert_eq!(mount.target, "");
        format!("{} {} {}", mount.kind, mount.source, mount.options.join(" "))
    };
    let lines: Vec<String> = driver.mounts(snapshot).unwrap().iter().map(line).collect();
    lines.join("; ").replace(dir.path().join("snapshots").to_str().unwrap(), "R")
}

#[test]
fn mounts_are_containerds() {
    let dir = tempfile::tempdir().unwrap();
    let e = |id: u64| format!("erofs R/{id}/layer.erofs ro loop; ");
    let overlay = "format/mkdir/overlay overlay";
    for (options, last) in
        [(&[][..], "index=off"), (&["volatile", "index=on"], "volatile index=on")]
    {
        let driver = open(&dir, options);
        for (snapshot, want) in [
            (snapshot(1, Kind::Active, &[]), "bind R/1/fs rw rbind".to_owned()),
            (snapshot(2, Kind::View, &[]), "bind R/2/fs ro rbind".to_owned()),
            (snapshot(3, Kind::View, &[1]), "erofs R/1/layer.erofs ro loop".to_owned()),
            (
                snapshot(4, Kind::Active, &[1]),
                format!(
                    "{}{overlay} workdir=R/4/work upperdir=R/4/fs lowerdir={{{{ mount 0 }}}} {last}",
                    e(1)
                ),
            ),
            (
                snapshot(6, Kind::Active, &[5, 4, 1]),
                format!(
                    "{}{}{}{overlay} workdir=R/6/work upperdir=R/6/fs \
                     lowerdir={{{{ overlay 0 2 }}}} {last}",
                    e(5),
                    e(4),
                    e(1)
                ),
            ),
            (
                snapshot(7, Kind::View, &[5, 1]),
                format!("{}{}{overlay} lowerdir={{{{ overlay 0 1 }}}} {last}", e(5), e(1)),
            ),
        ] {
            assert_eq!(shown(&dir, &driver, &snapshot), want);
        }
    }
}

#[test]
fn id_maps_are_the_overlays() {
    let dir = tempfile::tempdir().unwrap();
    let mut driver = open(&dir, &[]);
    let mapped = |kind, parents: &[u64]| {
        let mut snapshot = snapshot(9, kind, parents);
        for label in [SNAPSHOT_UID_MAP, SNAPSHOT_GID_MAP] {
            snapshot.labels.insert(label.to_owned(), "0:1000:65536".to_owned());
        }
        snapshot
    };
    let active = shown(&dir, &driver, &mapped(Kind::Active, &[1]));
    let maps = "uidmap=0:1000:65536 gidmap=0:1000:65536 ";
    assert!(active.contains(&format!("upperdir=R/9/fs {maps}lowerdir=")), "{active}");
    for (kind, parents) in [(Kind::Active, &[][..]), (Kind::View, &[1])] {
        assert!(!shown(&dir, &driver, &mapped(kind, parents)).contains("uidmap="));
    }
    driver.facts.id_mapped = false;
    assert_eq!(shown(&dir, &driver, &mapped(Kind::Active, &[1])), active.replace(maps, ""));
    assert!(!driver.capabilities().remap_ids);
}

#[test]
fn layout_and_modes() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[]);
    let base = snapshot(1, Kind::Active, &[]);
    make(&driver, &base);
    make(&driver, &snapshot(2, Kind::View, &[]));
    let mode = |path: &str| {
        dir.path().join("snapshots").join(path).metadata().ok().map(|m| m.mode() & 0o7777)
    };
    let modes = ["1", "1/fs", "1/work", "2/fs", "2/work", "1/layer.erofs"].map(mode);
    assert_eq!(modes, [Some(0o700), Some(0o755), Some(0o711), Some(0o755), None, None]);
    std::fs::write(layer(&driver, &base).join("file"), "x").unwrap();
    let committed = Snapshot { kind: Kind::Committed, ..base.clone() };
    assert!(!driver.exists(&committed).unwrap());

    driver.seal(&base).unwrap();
    // Still usable, and what comes later counts.
    std::fs::write(layer(&driver, &base).join("large"), vec![1; 100_000]).unwrap();
    std::fs::write(dir.path().join("snapshots/1/layer.erofs.new"), "of a crash").unwrap();
    assert!(commit(&driver, &base).size >= 100_000);
    assert_eq!(mode("1/layer.erofs"), Some(0o600));
    let left = std::fs::read_dir(dir.path().join("snapshots/1")).unwrap();
    assert_eq!(left.count(), 3, "fs, work and the image");
    assert_eq!(std::fs::read_dir(layer(&driver, &base)).unwrap().count(), 0);
    assert!(driver.exists(&committed).unwrap());

    // One that lost its end is no image any more.
    let image = dir.path().join("snapshots/1/layer.erofs");
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.set_len(image.metadata().unwrap().len() - 1).unwrap();
    assert!(!driver.exists(&committed).unwrap());
    std::fs::remove_file(&image).unwrap();
    assert!(!driver.exists(&committed).unwrap());
}

#[test]
fn privileged_the_owner_of_a_root_is_its_parents() {
    let test = "privileged_the_owner_of_a_root_is_its_parents";
    if !lamina_sys::kernel::is_root() {
        return println!("SKIP {test}: needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[]);
    let base = snapshot(1, Kind::Active, &[]);
    make(&driver, &base);
    chown(layer(&driver, &base), Some(1234), Some(567)).unwrap();
    commit(&driver, &base);
    for (id, kind) in [(2, Kind::Active), (3, Kind::View)] {
        let child = snapshot(id, kind, &[1]);
        make(&driver, &child);
        let found = dir.path().join(format!("snapshots/{id}/fs")).metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (1234, 567));
    }
    let mut mapped = snapshot(4, Kind::Active, &[1]);
    mapped.labels.insert(SNAPSHOT_UID_MAP.to_owned(), "0:7000:10".to_owned());
    make(&driver, &mapped);
    let found = layer(&driver, &mapped).metadata().unwrap();
    assert_eq!((found.uid(), found.gid()), (7000, 0));
}

#[test]
fn privileged_deletions_mean_nothing_at_the_bottom() {
    let test = "privileged_deletions_mean_nothing_at_the_bottom";
    if !lamina_sys::kernel::is_root() {
        return println!("SKIP {test}: needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[]);
    let extracted = |snapshot: &Snapshot| {
        make(&driver, snapshot);
        let at = layer(&driver, snapshot);
        let handle = fs::open_dir(&at).unwrap();
        fs::make_node(&handle, "gone", fs::FileKind::CharDevice, 0, (0, 0)).unwrap();
        std::fs::create_dir(at.join("opaque")).unwrap();
        let opaque = fs::open_dir(at.join("opaque")).unwrap();
        fs::xattr::set(&opaque, "trusted.overlay.opaque", b"y").unwrap();
        commit(&driver, snapshot);
        let tree = crate::mount::Mounter::default().image(&driver.image(snapshot.id)).unwrap();
        let root = fs::open_dir_at(&tree, ".").unwrap();
        let opaque = fs::open_dir_at(&root, "opaque").unwrap();
        let mark = fs::xattr::get(&opaque, "trusted.overlay.opaque").unwrap();
        (fs::stat_at(&root, "gone").is_ok(), mark.is_some())
    };
    if let Err(OpenError::Skip(why)) = Erofs::open(dir.path(), &Config::default()) {
        return println!("SKIP {test}: {why}");
    }
    assert_eq!(extracted(&snapshot(1, Kind::Active, &[])), (false, false));
    assert_eq!(extracted(&snapshot(2, Kind::Active, &[1])), (true, true));
}

/// A file in `fs` that stays empty, and its content, through what takes it.
fn lay(driver: &Erofs, snapshot: &Snapshot, contents: &dyn Contents, name: &str, bytes: &[u8]) {
    let file = std::fs::File::create(layer(driver, snapshot).join(name)).unwrap();
    contents.begin(fs::stat(&file).unwrap().identity()).unwrap();
    bytes.chunks(3000).for_each(|part| contents.append(part).unwrap());
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> lamina_core::Kind {
    result.unwrap_err().kind()
}

#[test]
fn content_goes_into_the_image_while_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[]);
    let base = snapshot(1, Kind::Active, &[]);
    make(&driver, &base);
    let contents = driver.contents(&base).unwrap().unwrap();
    lay(&driver, &base, &*contents, "a", &[7; 100_000]);
    lay(&driver, &base, &*contents, "b", b"b");
    // Nobody sees the empty files.
    assert_eq!(kind(driver.mounts(&base)), lamina_core::Kind::FailedPrecondition);
    assert_eq!(kind(driver.seal(&base)), lamina_core::Kind::FailedPrecondition);
    contents.finish();
    assert_eq!(kind(driver.mounts(&base)), lamina_core::Kind::FailedPrecondition);
    assert!(driver.seal(&base).unwrap().size >= 100_000);
    let image = std::fs::read(driver.image(base.id)).unwrap();
    assert!(commit(&driver, &base).size >= 100_000);
    assert!(std::fs::read(driver.image(base.id)).unwrap() == image, "packed once");
    let mut left: Vec<_> = std::fs::read_dir(dir.path().join("snapshots/1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["fs", "layer.erofs", "work"]);
    let file = std::fs::File::open(driver.image(base.id)).unwrap();
    assert!(crate::erofs::root_of(&file).unwrap().is_some());
}

#[test]
fn a_layer_that_broke_off_is_never_committed() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir, &[]);
    let (given_up, forgotten) = (snapshot(1, Kind::Active, &[]), snapshot(2, Kind::Active, &[]));
    let unfinished = |id: u64| dir.path().join(format!("snapshots/{id}/layer.erofs.new"));
    for it in [&given_up, &forgotten] {
        make(&driver, it);
        let contents = driver.contents(it).unwrap().unwrap();
        lay(&driver, it, &*contents, "a", &[7; 1_000_000]);
        if it.id == forgotten.id {
            contents.finish();
        }
    }
    assert_eq!(unfinished(1).metadata().unwrap().len(), 0, "its room is given back");
    // As after a crash: what was known of it is gone.
    drop(driver);
    let driver = open(&dir, &[]);
    driver.recover(&BTreeSet::from([SnapshotId(1), SnapshotId(2)]), SnapshotId(3)).unwrap();
    for it in [&given_up, &forgotten] {
        assert_eq!(kind(driver.seal(it)), lamina_core::Kind::FailedPrecondition);
        assert_eq!(kind(driver.mounts(it)), lamina_core::Kind::FailedPrecondition);
        driver.shrink(it).unwrap();
        assert!(!unfinished(it.id.0).exists());
        assert_eq!(driver.remove(it.id).unwrap(), Removed::Gone);
    }
}
