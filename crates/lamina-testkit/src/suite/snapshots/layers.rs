//! Files: a stack of layers shows what the same changes make of a plain directory.

use std::path::Path;

use super::lab::Lab;
use super::tree::{self, Op, assert_same};

/// Commits the layers on each other; after each one a view must show what a plain directory shows
/// to which the same was done.
fn check(lab: &Lab<'_>, layers: &[&[Op]]) {
    let flat = flat();
    let mut parent = String::new();
    for (number, ops) in layers.iter().enumerate() {
        let name = format!("layer-{number}");
        lab.layer(&name, &parent, ops);
        tree::apply(flat.path(), ops);
        assert_same(&lab.look(&name), &tree::read(flat.path()), &name);
        parent = name;
    }
}

fn flat() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tree::apply(dir.path(), &[Op::Mode("", 0o755)]);
    dir
}

/// What is written in an upper layer shows, also when neither size nor the second changed.
pub fn file_update(lab: &Lab<'_>) {
    for round in 0..5 {
        let name = |layer: &str| format!("{layer}-{round}");
        let old = Op::Written("etc/f".into(), format!("old{round}"));
        lab.layer(&name("one"), "", &[Op::Dir("etc", 0o700), old, Op::File("m", "", 0o777)]);
        let new = Op::Written("etc/f".into(), format!("new{round}"));
        lab.layer(&name("two"), &name("one"), &[new, Op::Mode("m", 0o600)]);
        let flat = flat();
        tree::apply(
            flat.path(),
            &[
                Op::Dir("etc", 0o700),
                Op::Written("etc/f".into(), format!("new{round}")),
                Op::File("m", "", 0o600),
            ],
        );
        assert_same(&lab.look(&name("two")), &tree::read(flat.path()), &name("two"));
    }
}

/// A directory that is made anew does not show what it had below.
pub fn directory_in_lower_layer(lab: &Lab<'_>) {
    check(
        lab,
        &[
            &[Op::Dir("dir", 0o700), Op::Dir("dir/sub", 0o700), Op::File("dir/f", "1", 0o600)],
            &[Op::Remove("dir"), Op::Dir("dir", 0o700), Op::File("dir/f2", "2", 0o600)],
            &[Op::File("dir/f3", "3", 0o600)],
            &[Op::Remove("dir")],
            &[Op::Dir("dir", 0o711)],
        ],
    );
}

/// Owners that change in an upper layer stay changed.
pub fn chown_in_upper_layer(lab: &Lab<'_>) {
    check(
        lab,
        &[
            &[
                Op::Dir("opt", 0o700),
                Op::Dir("opt/a", 0o700),
                Op::Dir("opt/a/b", 0o755),
                Op::File("opt/a/b/f", "hello", 0o644),
                Op::Symlink("f", "opt/a/b/l"),
            ],
            &[
                Op::Owner("opt", 1, 1),
                Op::Owner("opt/a", 1, 1),
                Op::Owner("opt/a/b", 1, 1),
                Op::Owner("opt/a/b/f", 1, 2),
                Op::Owner("opt/a/b/l", 3, 4),
            ],
        ],
    );
}

/// Owner and mode of directories stay what they were set to, over three layers.
pub fn directory_permissions(lab: &Lab<'_>) {
    check(
        lab,
        &[
            &[
                Op::Dir("d1", 0o700),
                Op::Dir("d2", 0o700),
                Op::Owner("d2", 1, 2),
                Op::Dir("d3", 0o700),
                Op::Owner("d3", 1, 2),
                Op::Dir("d4", 0o1777),
                Op::Dir("d5", 0o755),
            ],
            &[
                Op::Owner("d1", 5, 6),
                Op::File("d1/f", "", 0o600),
                Op::Remove("d2"),
                Op::Dir("d2", 0o755),
                Op::Mode("d4", 0o2755),
                Op::File("d5/f", "", 0o600),
            ],
            &[
                Op::File("d2/f", "", 0o600),
                Op::Owner("d3", 7, 8),
                Op::Mode("d3", 0o711),
                Op::Remove("d5/f"),
            ],
        ],
    );
}

/// What an upper layer deleted does not come back in an empty one on it.
pub fn deleted_file_stays_deleted(lab: &Lab<'_>) {
    check(
        lab,
        &[
            &[Op::File("foo", "", 0o777), Op::File("bar", "", 0o777), Op::Dir("d", 0o755)],
            &[Op::Remove("foo"), Op::Remove("d")],
            &[],
            &[Op::File("foo", "again", 0o777)],
        ],
    );
}

/// A file of a lower layer keeps its content and its links when its first name goes.
pub fn file_moved_from_lower_layer(lab: &Lab<'_>) {
    check(
        lab,
        &[
            &[Op::Dir("dir1", 0o700), Op::File("dir1/f1", "hello", 0o644), Op::Dir("dir2", 0o700)],
            &[
                Op::Dir("dir3", 0o700),
                Op::Link("dir1/f1", "dir3/f1"),
                Op::Remove("dir1/f1"),
                Op::Remove("dir1"),
            ],
            &[Op::Link("dir3/f1", "dir2/f1"), Op::File("dir2/f1", "written", 0o644)],
        ],
    );
}

/// Renames of what lies in lower layers.
pub fn renames(lab: &Lab<'_>) {
    let base = [
        Op::Dir("d", 0o755),
        Op::File("d/f1", "one", 0o644),
        Op::File("d/f2", "two", 0o600),
        Op::Dir("e", 0o700),
        Op::File("e/deep", "x", 0o644),
    ];
    let mut upper = vec![
        Op::Rename("d/f1", "d/f2"),
        Op::File("d/f3", "three", 0o644),
        Op::Rename("d/f3", "f4"),
        Op::Rename("e/deep", "d/f1"),
    ];
    if lab.facts().renames_directories {
        upper.push(Op::Rename("d", "renamed"));
        upper.push(Op::Rename("e", "d"));
    }
    check(lab, &[&base, &upper, &[Op::File("f4", "last", 0o600)]]);
}

/// Everything a tree can hold, through two layers.
pub fn kinds_of_files(lab: &Lab<'_>) {
    check(
        lab,
        &[
            &[
                Op::File("file", "content", 0o4755),
                Op::File("empty", "", 0o642),
                Op::Link("file", "hard"),
                Op::Symlink("/absolute/nowhere", "soft"),
                Op::Symlink("../../..", "up"),
                Op::Fifo("fifo"),
                Op::Device("null", 1, 3),
                Op::Written(".wh.file".into(), "an ordinary name in a tree".into()),
                Op::Written("name with \n and \u{fffd}".into(), "x".into()),
            ],
            // The linked file is not written to: overlayfs takes one name of it up, not both.
            &[
                Op::File("empty", "changed", 0o4755),
                Op::Remove("soft"),
                Op::Dir("soft", 0o755),
                Op::Remove("fifo"),
                Op::Symlink("file", "fifo"),
            ],
        ],
    );
    let large: String = "0123456789abcdef".repeat(70_000);
    lab.layer("large", "layer-1", &[Op::Written("large".into(), large.clone())]);
    lab.attached(&lab.view("look", "large"), |root: &Path| {
        assert!(std::fs::read_to_string(root.join("large")).unwrap() == large);
    });
}
