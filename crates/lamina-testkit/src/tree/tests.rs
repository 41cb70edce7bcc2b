//! A tree is read as it is, and every change of it is seen.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use super::*;

fn make(root: &Path) {
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), b"content").unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/b/also")).unwrap();
    symlink("nowhere", root.join("a/link")).unwrap();
}

#[test]
fn everything_is_listed() {
    let temp = tempfile::tempdir().unwrap();
    make(temp.path());
    let tree = Tree::read(temp.path());
    assert_eq!(tree.paths(), ["a", "a/b", "a/b/also", "a/file", "a/link"]);
    assert_eq!(tree.at("a/link").kind, NodeKind::Symlink("nowhere".into()));
    assert_eq!(tree.at("a/file").same_as.as_deref(), Some(Path::new("a/b/also")));
    assert_eq!(tree.at("a/b").same_as, None);
    tree.assert_same(&Tree::read(temp.path()), "read twice");
}

#[test]
fn every_change_is_a_difference() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("kind: ", |root| fs::write(root.join("a/file"), b"contents").unwrap()),
        ("mode: ", |root| {
            fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
        }),
        ("mtime: ", |root| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_001);
            fs::File::open(root.join("a/file")).unwrap().set_modified(time).unwrap();
        }),
        ("- \"a/link\"", |root| fs::remove_file(root.join("a/link")).unwrap()),
        ("+ \"a/new\"", |root| fs::write(root.join("a/new"), b"").unwrap()),
        ("same as: ", |root| {
            fs::copy(root.join("a/file"), root.join("copy")).unwrap();
            fs::rename(root.join("copy"), root.join("a/b/also")).unwrap();
        }),
    ];
    for (expected, change) in changes {
        let temp = tempfile::tempdir().unwrap();
        make(temp.path());
        let before = Tree::read(temp.path());
        change(temp.path());
        let lines = before.differences(&Tree::read(temp.path())).join("\n");
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
}
