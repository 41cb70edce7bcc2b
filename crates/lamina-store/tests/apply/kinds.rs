//! Every kind of entry, its attributes, and what it replaces.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lamina_core::Kind;
use lamina_store::diff::apply::{Target, apply};
use lamina_store::snapshot::driver::Whiteouts;
use lamina_testkit::tar::{Entry, TarBuilder};
use lamina_testkit::tree::{NodeKind, Tree};

use crate::support::{World, need_root, options};

#[test]
fn files_dirs_and_links() {
    let world = World::new();
    let tree = world.laid([
        Entry::dir("dir").mode(0o1770).mtime(1_000_000_000, 123_456_789),
        Entry::file("dir/file", b"content").mode(0o640).mtime(-5, 500_000_000),
        Entry::file("dir/empty", b""),
        Entry::symlink("dir/link", "../any//where/").mtime(7, 8),
        Entry::hard_link("also", "dir/file"),
        Entry::hard_link("link", "dir/link"),
        Entry::fifo("fifo").mode(0o622),
    ]);
    assert_eq!(tree.at("dir").mode, 0o1770);
    assert_eq!(tree.at("dir").mtime, (1_000_000_000, 123_456_789), "set after its entries");
    assert_eq!(tree.at("dir/file").mode, 0o640);
    assert_eq!(tree.at("dir/file").mtime, (-5, 500_000_000));
    assert!(matches!(tree.at("dir/file").kind, NodeKind::File { size: 7, .. }));
    assert!(matches!(tree.at("dir/empty").kind, NodeKind::File { size: 0, .. }));
    assert_eq!(tree.at("dir/link").kind, NodeKind::Symlink("../any//where/".into()));
    assert_eq!(tree.at("dir/link").mtime, (7, 8));
    assert_eq!(tree.at("dir/file").same_as, Some(PathBuf::from("also")));
    assert_eq!(tree.at("link").same_as, tree.at("dir/link").same_as);
    assert_eq!(tree.at("fifo").kind, NodeKind::Fifo);
    assert_eq!(tree.at("fifo").mode, 0o622);
}

#[test]
fn the_time_of_access_is_never_before_that_of_modification() {
    let world = World::new();
    let layer = TarBuilder::archive([
        Entry::file("later", b"").mtime(100, 0).pax("atime", "200.5"),
        Entry::file("earlier", b"").mtime(100, 0).pax("atime", "50"),
        Entry::file("unsaid", b"").mtime(100, 7),
    ]);
    world.lay(&layer).unwrap();
    for (name, time) in [("later", (200, 500_000_000)), ("earlier", (100, 0)), ("unsaid", (100, 7))]
    {
        let found = std::fs::metadata(world.root().join(name)).unwrap();
        assert_eq!((found.atime(), found.atime_nsec()), time, "{name}");
    }
}

#[test]
fn the_umask_does_not_count() {
    // Any usual umask hides write bits that are set here.
    let world = World::new();
    let tree = world.laid([
        Entry::dir("dir").mode(0o777),
        Entry::file("file", b"").mode(0o666),
        Entry::fifo("fifo").mode(0o666),
        Entry::file("implied/file", b""),
    ]);
    let modes = ["dir", "file", "fifo", "implied"].map(|path| tree.at(path).mode);
    assert_eq!(modes, [0o777, 0o666, 0o666, 0o755]);
}

#[test]
fn privileged_owners_modes_xattrs_and_capabilities() {
    need_root!("privileged_owners_modes_xattrs_and_capabilities");
    let world = World::new();
    let cap: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tree = world.laid([
        Entry::file("setuid", b"x")
            .mode(0o6755)
            .owner(1000, 2000)
            .xattr("security.capability", cap),
        Entry::hard_link("linked", "setuid").mode(0o6755).owner(1000, 2000),
        Entry::symlink("symlink", "setuid").owner(4_000_000_000, 5).xattr("user.no", b"x"),
        Entry::dir("dir").mode(0o2777).owner(0, 7).xattr("user.dir", b"\0=\n"),
        Entry::file("dir/file", b"").owner(1, 2),
        Entry::file("trusted", b"").xattr("trusted.overlay.opaque", b"y").xattr("unknown.ns", b"x"),
    ]);
    let setuid = tree.at("setuid");
    assert_eq!((setuid.mode, setuid.owner), (0o6755, (1000, 2000)));
    assert_eq!(setuid.xattrs["security.capability"], cap);
    assert_eq!(tree.at("linked").xattrs, setuid.xattrs, "a hard link changes nothing");
    assert_eq!(tree.at("symlink").owner, (4_000_000_000, 5));
    assert!(tree.at("symlink").xattrs.is_empty());
    assert_eq!((tree.at("dir").mode, tree.at("dir").owner), (0o2777, (0, 7)));
    assert_eq!(tree.at("dir").xattrs["user.dir"], b"\0=\n");
    assert_eq!(tree.at("dir/file").owner, (1, 2), "not the setgid directory's");
    assert!(tree.at("trusted").xattrs.is_empty());
}

/// Gives a user rights on all that is made in the directory: version 2, then tag, rights and id.
fn default_acl() -> Vec<u8> {
    let entries =
        [(1, 7, u32::MAX), (2, 7, 1000), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        acl.extend(u16::to_le_bytes(tag));
        acl.extend(u16::to_le_bytes(rights));
        acl.extend(u32::to_le_bytes(id));
    }
    acl
}

/// What a directory says of new entries in it counts nothing: they get what their entry says.
#[test]
fn privileged_setgid_directories_and_default_acls_have_no_say() {
    need_root!("privileged_setgid_directories_and_default_acls_have_no_say");
    const ACL: &str = "system.posix_acl_default";
    let acl = default_acl();
    type Before = fn(&[u8]) -> Vec<Entry>;
    let dirs: [Before; 7] = [
        |_| vec![Entry::dir("in")],
        |_| vec![Entry::dir("in").mode(0o2755)],
        |_| vec![Entry::dir("in").mode(0o2775).owner(5, 7)],
        |_| vec![Entry::dir("in").owner(0, 7)],
        |acl| vec![Entry::dir("in").xattr(ACL, acl)],
        // What was said first may have been something else.
        |_| vec![Entry::dir("in"), Entry::dir("in").mode(0o2755)],
        |acl| vec![Entry::dir("in").xattr(ACL, acl), Entry::dir("in")],
    ];
    type Top = fn(&Path, &[u8]);
    let tops: [Top; 3] = [
        |_, _| {},
        |top, _| std::fs::set_permissions(top, std::fs::Permissions::from_mode(0o2755)).unwrap(),
        |top, acl| {
            let top = lamina_sys::fs::open_dir(top).unwrap();
            lamina_sys::fs::xattr::set(&top, ACL, acl).unwrap();
        },
    ];
    for (at, dir) in dirs.iter().enumerate() {
        for (top_at, top) in tops.iter().enumerate() {
            let world = World::new();
            top(&world.root(), &acl);
            let before = dir(&acl);
            let (mode, owner) = match at {
                1 | 5 => (0o2755, (0, 0)),
                2 => (0o2775, (5, 7)),
                3 => (0o755, (0, 7)),
                _ => (0o755, (0, 0)),
            };
            let mut entries = before;
            entries.extend([
                Entry::dir("in/dir").mode(0o755),
                Entry::file("in/dir/file", b"x").mode(0o644),
                Entry::file("in/dir/implied/file", b"").mode(0o600),
                Entry::file("in/program", b"x").mode(0o755),
                Entry::file("in/owned", b"").mode(0o640).owner(1, 2),
                Entry::dir("in/closed").mode(0),
                Entry::file("in/closed/setuid", b"").mode(0o4711),
                Entry::symlink("in/link", "program"),
                Entry::file("program", b"").mode(0o555),
            ]);
            let tree = world.laid(entries);
            let expected = [
                ("in", mode, owner),
                ("in/dir", 0o755, (0, 0)),
                ("in/dir/file", 0o644, (0, 0)),
                ("in/dir/implied", 0o755, (0, 0)),
                ("in/dir/implied/file", 0o600, (0, 0)),
                ("in/program", 0o755, (0, 0)),
                ("in/owned", 0o640, (1, 2)),
                ("in/closed", 0, (0, 0)),
                ("in/closed/setuid", 0o4711, (0, 0)),
                ("in/link", 0o777, (0, 0)),
                ("program", 0o555, (0, 0)),
            ];
            for (path, mode, owner) in expected {
                let found = tree.at(path);
                assert_eq!((found.mode, found.owner), (mode, owner), "{path}, {at} in {top_at}");
            }
        }
    }
}

#[test]
fn privileged_devices() {
    need_root!("privileged_devices");
    let world = World::new();
    let tree = world.laid([
        Entry::char_device("null", 1, 3).mode(0o666).mtime(9, 0),
        Entry::block_device("disk", 259, 1_048_575).mode(0o660).owner(0, 6),
    ]);
    assert_eq!(tree.at("null").kind, NodeKind::Char(1, 3));
    assert_eq!((tree.at("null").mode, tree.at("null").mtime), (0o666, (9, 0)));
    assert_eq!(tree.at("disk").kind, NodeKind::Block(259, 1_048_575));
    assert_eq!(tree.at("disk").owner, (0, 6));
    // Linux has 12 bits of major and 20 of minor number; what does not fit is another device.
    for (major, minor) in [(4096, 0), (0, 1 << 20)] {
        let error = world
            .lay(&TarBuilder::archive([Entry::char_device("large", major, minor)]))
            .unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
    }
}

#[test]
fn the_last_entry_of_a_name_counts() {
    let kinds: [fn(&str) -> Entry; 4] = [
        |path| Entry::file(path, b"file"),
        |path| Entry::symlink(path, "elsewhere"),
        |path| Entry::fifo(path),
        |path| Entry::dir(path),
    ];
    for first in kinds {
        for second in kinds {
            let world = World::new();
            let alone = World::new().laid([second("x")]);
            let tree = world.laid([first("x"), second("x")]);
            alone.assert_same(&tree, "replaced");
        }
    }
    let world = World::new();
    let tree = world.laid([
        Entry::dir("x"),
        Entry::file("x/deep/er/file", b""),
        Entry::file("x", b"now a file"),
        Entry::dir("merged").mode(0o700),
        Entry::file("merged/kept", b""),
        Entry::dir("merged").mode(0o711).mtime(3, 4),
    ]);
    assert_eq!(tree.paths(), ["merged", "merged/kept", "x"]);
    assert_eq!((tree.at("merged").mode, tree.at("merged").mtime), (0o711, (3, 4)));
}

#[test]
fn a_link_in_place_of_a_directory_is_replaced_by_a_directory() {
    let world = World::new();
    let tree = world.laid([
        Entry::dir("real"),
        Entry::symlink("lib", "real"),
        Entry::file("lib/through", b""),
        Entry::dir("lib"),
        Entry::file("lib/own", b""),
    ]);
    assert_eq!(tree.paths(), ["lib", "lib/own", "real", "real/through"]);
}

#[test]
fn stale_directories_are_not_written_to() {
    // The directory an entry lay in is open from the last one; it was replaced meanwhile.
    let world = World::new();
    let tree = world.laid([
        Entry::dir("a"),
        Entry::dir("b"),
        Entry::file("a/one", b""),
        Entry::symlink("s", "a"),
        Entry::file("s/two", b""),
        Entry::symlink("s", "b"),
        Entry::file("s/three", b""),
        Entry::file("a", b"gone"),
        Entry::dir("a"),
        Entry::file("a/four", b""),
        Entry::whiteout("b"),
        Entry::file("b/five", b""),
    ]);
    assert_eq!(tree.paths(), ["a", "a/four", "b", "b/five", "s"]);
}

#[test]
fn directories_nobody_speaks_of_keep_their_times() {
    let world = World::new();
    world.laid([
        Entry::dir("kept").mtime(1, 2),
        Entry::dir("kept/sub").mtime(3, 4),
        Entry::file("kept/sub/old", b""),
        Entry::symlink("way", "kept/sub"),
    ]);
    let tree = world.laid([
        Entry::file("kept/new", b""),
        Entry::file("way/new", b""),
        Entry::whiteout("kept/sub/old"),
    ]);
    assert_eq!(tree.at("kept").mtime, (1, 2));
    assert_eq!(tree.at("kept/sub").mtime, (3, 4));
    assert_eq!(tree.paths(), ["kept", "kept/new", "kept/sub", "kept/sub/new", "way"]);
    // Through a link after the directory itself was named: the entry counts.
    let tree = world.laid([Entry::dir("kept/sub").mtime(5, 6), Entry::file("way/newer", b"")]);
    assert_eq!(tree.at("kept/sub").mtime, (5, 6));
}

#[test]
fn privileged_implied_directories_are_like_those_below() {
    need_root!("privileged_implied_directories_are_like_those_below");
    let world = World::new();
    let lower = Target::open::<&Path>(&world.path("lower"), Whiteouts::Delete, &[]).unwrap();
    let below = TarBuilder::archive([
        Entry::dir("a").mode(0o750).owner(1, 2).mtime(10, 20).xattr("user.a", b"x"),
        Entry::dir("a/b").mode(0o2711).owner(3, 4).mtime(30, 40),
        Entry::file("file", b""),
    ]);
    apply(&below[..], &lower, &options()).unwrap();
    let target = Target::open(
        &world.root(),
        Whiteouts::Overlay,
        &[world.path("outside"), world.path("lower")],
    )
    .unwrap();
    let layer = TarBuilder::archive([Entry::file("a/b/c/d", b""), Entry::file("file/x", b"")]);
    let applied = apply(&layer[..], &target, &options()).unwrap();
    let (lower, tree) = (Tree::read(world.path("lower")), world.tree());
    for path in ["a", "a/b"] {
        assert_eq!(tree.at(path), lower.at(path), "{path}");
    }
    for path in ["a/b/c", "file"] {
        assert_eq!((tree.at(path).mode, tree.at(path).owner), (0o755, (0, 0)), "{path}");
        assert_eq!(tree.at(path).mtime, (0, 0), "{path}");
    }
    assert_eq!(applied.implied, [PathBuf::from("a/b/c"), PathBuf::from("file")]);
}

#[test]
fn the_root_stays_what_it_is() {
    let world = World::new();
    std::fs::set_permissions(world.root(), std::fs::Permissions::from_mode(0o751)).unwrap();
    let before = std::fs::metadata(world.root()).unwrap();
    for spelling in [".", "./", "/", "a/..", ""] {
        world.laid([Entry::dir(spelling).mode(0o700).owner(5, 5).mtime(1, 1)]);
        for hostile in [
            Entry::symlink(spelling, "/etc"),
            Entry::file(spelling, b"x"),
            Entry::hard_link(spelling, "x"),
            Entry::fifo(spelling),
        ] {
            let error = world.lay(&TarBuilder::archive([hostile])).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{spelling:?}: {}", error.chain());
        }
    }
    let after = std::fs::metadata(world.root()).unwrap();
    assert!(after.is_dir());
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
}
