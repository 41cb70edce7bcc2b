//! Views cannot be written to; the root of a tree is everybody's to enter.

use std::os::unix::fs::PermissionsExt;

use super::lab::Lab;
use super::tree::Op;

/// Nothing can be written through the mounts of a view, of one layer or more, and the parent does
/// not change.
pub fn view_is_read_only(lab: &Lab<'_>) {
    lab.layer("one", "", &[Op::File("f", "kept", 0o666), Op::Dir("d", 0o777)]);
    lab.layer("two", "one", &[Op::File("g", "kept", 0o666)]);
    for parent in ["one", "two"] {
        let before = lab.look(parent);
        let mounts = lab.view("view", parent);
        if lab.facts().mounts {
            lab.attached(&mounts, |root| {
                for path in ["f", "new", "d/new"] {
                    let error = std::fs::write(root.join(path), "x").expect_err(path);
                    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{path}");
                }
                assert!(std::fs::create_dir(root.join("dir")).is_err());
                assert!(std::fs::remove_file(root.join("f")).is_err());
                let open = std::fs::Permissions::from_mode(0o777);
                assert!(std::fs::set_permissions(root.join("f"), open).is_err());
            });
        }
        lab.remove("view");
        assert!(lab.look(parent) == before);
    }
    if lab.facts().mounts {
        lab.attached(&lab.view("empty", ""), |root| {
            assert!(std::fs::write(root.join("f"), "x").is_err(), "an empty view");
        });
        lab.remove("empty");
    }
    lab.remove("two");
    lab.remove("one");
}

/// The root of a new tree is 0755, whatever the umask.
pub fn root_is_0755(lab: &Lab<'_>) {
    let mode = |root: &std::path::Path| root.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(lab.attached(&lab.prepare("active", ""), mode), 0o755);
    assert_eq!(lab.attached(&lab.view("view", ""), mode), 0o755);
    lab.commit("base", "active");
    assert_eq!(lab.attached(&lab.prepare("child", "base"), mode), 0o755);
    assert_eq!(lab.attached(&lab.view("of-base", "base"), mode), 0o755);
}
