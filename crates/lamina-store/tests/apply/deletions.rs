//! Whiteouts and opaque directories, carried out and written for overlayfs.

use lamina_core::Kind;
use lamina_store::diff::apply::{Target, apply};
use lamina_store::snapshot::driver::Whiteouts;
use lamina_testkit::tar::{Entry, TarBuilder};
use lamina_testkit::tree::{NodeKind, Tree};

use crate::support::{Overlay, World, every_way_gives_one_tree, need_root, options};

fn below() -> Vec<Entry> {
    vec![
        Entry::dir("d").mtime(1, 0),
        Entry::file("d/file", b"low"),
        Entry::dir("d/sub").mode(0o711).mtime(2, 0),
        Entry::file("d/sub/low", b"low"),
        Entry::dir("d/sub/sub"),
        Entry::file("d/sub/sub/low", b"low"),
        Entry::symlink("link", "d"),
        Entry::file("file", b"low"),
    ]
}

fn paths(layer: Vec<Entry>) -> Vec<String> {
    let world = World::new();
    world.laid(below());
    world.laid(layer).paths()
}

/// Paths of a list, for what should be left.
fn list(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_string).collect()
}

#[test]
fn whiteouts_delete_what_they_name() {
    for (name, layer, left) in [
        (
            "file",
            vec![Entry::whiteout("file")],
            "d d/file d/sub d/sub/low d/sub/sub d/sub/sub/low link",
        ),
        ("dir", vec![Entry::whiteout("d")], "file link"),
        (
            "link, not its target",
            vec![Entry::whiteout("link")],
            "d d/file d/sub d/sub/low d/sub/sub d/sub/sub/low file",
        ),
        ("through a link", vec![Entry::whiteout("link/sub")], "d d/file file link"),
        ("missing", vec![Entry::whiteout("none"), Entry::whiteout("d/sub")], "d d/file file link"),
        ("twice", vec![Entry::whiteout("d/sub"), Entry::whiteout("d/sub")], "d d/file file link"),
        ("as a directory", vec![Entry::dir("d/.wh.sub")], "d d/file file link"),
        (
            "not a whiteout",
            vec![Entry::whiteout("d"), Entry::file(".wh.x/y", b"")],
            ".wh.x .wh.x/y file link",
        ),
        (
            "what this layer laid before",
            vec![Entry::file("d/sub/new", b""), Entry::whiteout("d/sub")],
            "d d/file file link",
        ),
        ("then again", vec![Entry::whiteout("d"), Entry::file("d/new", b"")], "d d/new file link"),
    ] {
        assert_eq!(paths(layer), list(left), "{name}");
    }
}

#[test]
fn opaque_directories_keep_only_this_layers_entries() {
    let marker = || Entry::opaque("d");
    for (name, layer, left) in [
        ("first", vec![marker(), Entry::file("d/new", b"")], "d d/new file link"),
        ("late", vec![Entry::file("d/new", b""), marker()], "d d/new file link"),
        (
            "late, through the directories below",
            vec![Entry::file("d/sub/sub/new", b""), marker()],
            "d d/sub d/sub/sub d/sub/sub/new file link",
        ),
        (
            "late, over what it replaced",
            vec![Entry::file("d/file", b"new"), marker()],
            "d d/file file link",
        ),
        (
            "late, over a directory it names",
            vec![Entry::dir("d/sub"), marker()],
            "d d/sub file link",
        ),
        (
            "late, laid through a link",
            vec![Entry::file("link/sub/new", b""), marker()],
            "d d/sub d/sub/new file link",
        ),
        ("through a link", vec![Entry::opaque("link")], "d file link"),
        ("twice", vec![marker(), Entry::file("d/new", b""), marker()], "d d/new file link"),
        (
            "of a directory that is not there",
            vec![Entry::opaque("new")],
            "d d/file d/sub d/sub/low d/sub/sub d/sub/sub/low file link new",
        ),
        ("of the root", vec![Entry::file("new", b""), Entry::opaque("")], "new"),
    ] {
        assert_eq!(paths(layer), list(left), "{name}");
    }
}

#[test]
fn a_late_marker_leaves_attributes_alone() {
    let world = World::new();
    world.laid(below());
    let tree = world.laid([Entry::file("d/sub/new", b""), Entry::opaque("d")]);
    assert_eq!((tree.at("d").mtime, tree.at("d/sub").mtime), ((1, 0), (2, 0)));
    assert_eq!(tree.at("d/sub").mode, 0o711);
}

#[test]
fn whiteouts_of_the_directory_itself_are_refused() {
    for name in ["d/.wh.", "d/.wh..", "d/.wh...", ".wh..", ".wh..."] {
        for overlay in [false, true] {
            let world = World::new();
            let tar = TarBuilder::archive([Entry::dir("d"), Entry::file(name, b"")]);
            let result = if overlay { world.lay_overlay(&tar) } else { world.lay(&tar) };
            let error = result.unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{name}");
            assert!(error.message().contains(name), "{error}");
        }
    }
}

#[test]
fn privileged_overlay_form() {
    need_root!("privileged_overlay_form");
    let world = World::new();
    world
        .lay_overlay(&TarBuilder::archive([
            Entry::whiteout("gone").owner(5, 6),
            Entry::whiteout("dir/gone"),
            Entry::opaque("opaque"),
            Entry::file("opaque/file", b""),
            Entry::file("was", b""),
            Entry::whiteout("was"),
        ]))
        .unwrap();
    let tree = world.tree();
    assert_eq!(tree.paths(), list("dir dir/gone gone opaque opaque/file was"));
    for path in ["gone", "dir/gone", "was"] {
        assert_eq!(tree.at(path).kind, NodeKind::Char(0, 0), "{path}");
        assert_eq!(tree.at(path).mode, 0, "{path}");
    }
    assert_eq!(tree.at("gone").owner, (5, 6));
    assert_eq!(tree.at("opaque").xattrs["trusted.overlay.opaque"], b"y");
    assert!(tree.at("dir").xattrs.is_empty());
}

/// What overlayfs shows of a layer in overlay form must be what carrying it out gives.
#[test]
fn privileged_both_forms_give_one_tree() {
    need_root!("privileged_both_forms_give_one_tree");
    let layers = [
        vec![Entry::whiteout("d"), Entry::whiteout("file")],
        vec![Entry::whiteout("d/sub"), Entry::file("d/new", b"")],
        vec![Entry::opaque("d"), Entry::file("d/sub/new", b"")],
        // A directory where something of this layer hid what lies below.
        vec![Entry::whiteout("d"), Entry::dir("d"), Entry::file("d/new", b"")],
        vec![Entry::whiteout("d"), Entry::file("d/sub/new", b"")],
        vec![Entry::file("d", b""), Entry::dir("d").mode(0o700)],
        vec![Entry::symlink("d", "x"), Entry::whiteout("d"), Entry::file("d/sub/new", b"")],
        vec![Entry::file("d/sub/implied/new", b"")],
        vec![Entry::file("d/sub", b"now a file"), Entry::dir("file")],
    ];
    for (at, layer) in layers.into_iter().enumerate() {
        let tar = TarBuilder::archive(layer);
        let plain = World::new();
        plain.laid(below());
        plain.lay(&tar).unwrap();

        let world = World::new();
        let lower = Target::open(&world.path("lower"), Whiteouts::Delete, NONE).unwrap();
        apply(&TarBuilder::archive(below())[..], &lower, &options()).unwrap();
        let target =
            Target::open(&world.root(), Whiteouts::Overlay, &[world.path("lower")]).unwrap();
        apply(&tar[..], &target, &options()).unwrap();
        let Some(merged) = Overlay::mount(&world, &[world.root(), world.path("lower")]) else {
            return;
        };
        let shown = Tree::read(&merged.0).without_root();
        plain.tree().assert_same(&shown, &format!("layer {at}"));
    }
}

/// A late marker removes what lies beside the way to this layer's entries. The directories on that
/// way keep the times they had, though no entry speaks of them and none was opened before.
#[test]
fn a_directory_that_a_late_marker_spares_keeps_its_times() {
    let (below, layer) = late_marker();
    let world = World::new();
    world.laid(below);
    let tree = world.laid(layer);
    assert_eq!(tree.paths(), list("a a/b a/b/c a/b/c/d a/b/c/d/new"));
    let times = ["a", "a/b", "a/b/c", "a/b/c/d"].map(|path| tree.at(path).mtime.0);
    assert_eq!(times, [10, 20, 30, 40]);
}

#[test]
fn privileged_a_late_marker_gives_one_tree_in_every_way() {
    need_root!("privileged_a_late_marker_gives_one_tree_in_every_way");
    let (below, layer) = late_marker();
    every_way_gives_one_tree(&[TarBuilder::archive(below), TarBuilder::archive(layer)]);
    // What the random layers of `model.rs` came upon: the way is implied in both layers.
    every_way_gives_one_tree(&[
        TarBuilder::archive([Entry::opaque("a/a/c"), Entry::dir("a/a/a")]),
        TarBuilder::archive([Entry::file("a/a/c/a", b""), Entry::opaque("a")]),
    ]);
}

/// overlayfs lists whiteouts in a directory that only one layer has, as names that are not there.
#[test]
fn privileged_whiteouts_that_hide_nothing_are_not_seen() {
    need_root!("privileged_whiteouts_that_hide_nothing_are_not_seen");
    let below = || {
        TarBuilder::archive([
            Entry::dir("usr/lib").mtime(1, 0),
            Entry::file("usr/lib/one", b""),
            Entry::file("usr/lib/two", b""),
            Entry::symlink("lib", "usr/lib"),
        ])
    };
    for layer in [
        vec![Entry::dir("new").mtime(9, 0), Entry::whiteout("new/one")],
        vec![Entry::whiteout("new/deep/one"), Entry::file("new/deep/two", b"")],
        vec![Entry::whiteout("usr/lib/one"), Entry::opaque("usr/lib")],
        vec![Entry::whiteout("usr/lib/one"), Entry::opaque("usr")],
        // By way of a link of this layer, into a directory that is below.
        vec![Entry::symlink("way", "usr/lib"), Entry::whiteout("way/one")],
    ] {
        every_way_gives_one_tree(&[below(), TarBuilder::archive(layer)]);
    }
}

#[test]
fn a_hard_link_to_itself_leaves_the_file() {
    let tree = World::new().laid([Entry::file("a", b"x"), Entry::hard_link("a", "./a")]);
    let same = World::new().laid([Entry::file("a", b"x"), Entry::hard_link("a", "a")]);
    tree.assert_same(&same, "in other words");
    for overlay in [false, true] {
        let world = World::new();
        let tar = TarBuilder::archive([Entry::hard_link("a", "a")]);
        let result = if overlay { world.lay_overlay(&tar) } else { world.lay(&tar) };
        assert_eq!(result.unwrap_err().kind(), Kind::InvalidArgument, "nothing is there");
    }
}

#[test]
fn a_hard_link_to_what_the_layer_deletes_is_refused() {
    let world = World::new();
    let layer = [Entry::dir("a"), Entry::whiteout("a/one"), Entry::hard_link("a/two", "a/one")];
    for result in [
        world.lay(&TarBuilder::archive(layer.clone())),
        world.lay_overlay(&TarBuilder::archive(layer)),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.chain().contains("hard link to \"a/one\""), "{}", error.chain());
    }
}

fn late_marker() -> (Vec<Entry>, Vec<Entry>) {
    let below = vec![
        Entry::dir("a").mtime(10, 0),
        Entry::dir("a/b").mtime(20, 0),
        Entry::dir("a/b/c").mtime(30, 0),
        Entry::dir("a/b/c/d").mtime(40, 0),
        Entry::file("a/gone", b""),
        Entry::file("a/b/gone", b""),
        Entry::file("a/b/c/gone", b""),
        Entry::file("a/b/c/d/gone", b""),
    ];
    (below, vec![Entry::file("a/b/c/d/new", b""), Entry::opaque("a")])
}

const NONE: &[std::path::PathBuf] = &[];
