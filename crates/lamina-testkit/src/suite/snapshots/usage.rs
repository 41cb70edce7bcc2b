//! Disk space.

use lamina_core::snapshot::Usage;

use super::lab::Lab;
use super::tree::Op;

const LARGE: i64 = 1 << 20;

fn large(path: &str) -> Op {
    Op::Written(path.to_owned(), "x".repeat(LARGE as usize))
}

/// An active is measured when it is asked about: what is in it, each inode once.
pub fn usage_of_an_active(lab: &Lab<'_>) {
    let mounts = lab.prepare("active", "");
    let empty = lab.usage("active").unwrap();
    if lab.facts().images {
        lab.write(&mounts, &[large("one"), Op::Link("one", "two")]);
        let full = lab.usage("active").unwrap();
        assert_eq!((empty.inodes, full.inodes), (1, 1));
        assert!(full.size >= empty.size + LARGE, "{empty:?} {full:?}");
        return;
    }
    assert!(empty.inodes <= 1 && empty.size < LARGE / 4, "{empty:?}");
    lab.write(&mounts, &[large("one"), Op::Link("one", "two"), Op::Dir("dir", 0o755)]);
    let full = lab.usage("active").unwrap();
    assert_eq!(full.inodes, 3, "the root, the file under two names, the directory");
    assert!((LARGE..LARGE + LARGE / 2).contains(&full.size), "{full:?}");
    lab.write(&mounts, &[Op::Remove("one"), Op::Remove("two")]);
    assert!(lab.usage("active").unwrap().size < LARGE / 2);
}

/// A commit keeps the numbers; a view has none; what the parent has is counted as the facts say.
pub fn usage_of_a_committed(lab: &Lab<'_>) {
    let mounts = lab.prepare("active", "");
    lab.write(&mounts, &[large("one")]);
    lab.commit("base", "active");
    let base = lab.usage("base").unwrap();
    if lab.facts().images {
        assert!(base.inodes == 1 && base.size >= LARGE, "{base:?}");
        lab.view("view", "base");
        assert_eq!(lab.usage("view").unwrap(), Usage::default());
        let mounts = lab.prepare("active", "base");
        let fresh = lab.usage("active").unwrap();
        lab.write(&mounts, &[large("two")]);
        lab.commit("top", "active");
        let top = lab.usage("top").unwrap();
        assert!(top.size >= fresh.size + LARGE, "{fresh:?} {top:?}");
        assert_eq!(lab.usage("base").unwrap(), base, "stored, not measured");
        return;
    }
    let counted = |inodes| if lab.facts().packs { 1 } else { inodes };
    let in_range = (LARGE..LARGE + LARGE / 2).contains(&base.size);
    assert!(in_range && base.inodes == counted(2), "{base:?}");
    lab.view("view", "base");
    assert_eq!(lab.usage("view").unwrap(), Usage::default());

    let mounts = lab.prepare("active", "base");
    let shared = if lab.facts().usage_includes_parent { LARGE } else { 0 };
    let fresh = lab.usage("active").unwrap();
    assert!((shared..shared + LARGE / 2).contains(&fresh.size), "{fresh:?}");
    lab.write(&mounts, &[large("two")]);
    lab.commit("top", "active");
    let top = lab.usage("top").unwrap();
    assert!((shared + LARGE..shared + LARGE * 3 / 2).contains(&top.size), "{top:?}");
    let inodes = if lab.facts().usage_includes_parent { 3 } else { 2 };
    assert_eq!(top.inodes, counted(inodes));
    assert_eq!(lab.usage("base").unwrap(), base, "stored, not measured");
}
