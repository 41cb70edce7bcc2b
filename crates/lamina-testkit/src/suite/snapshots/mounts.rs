//! Mount lists: the same each time, exactly as specified.

use lamina_core::Kind as Class;
use lamina_core::snapshot::Kind;

use super::harness::State;
use super::lab::{Lab, class};

/// The list of every state, from the call that makes it and asked for again.
pub fn mount_lists(lab: &Lab<'_>) {
    let check = |kind: Kind, key: &str, parent: &str, id: u64, parents: &[u64]| {
        let made = match kind {
            Kind::View => lab.view(key, parent),
            _ => lab.prepare(key, parent),
        };
        let state = State { kind, id, parents: parents.to_vec() };
        if let Some(want) = lab.harness().mount_list(&state) {
            assert_eq!(made, want, "{state:?}");
        }
        for _ in 0..2 {
            assert_eq!(lab.mounts(key).unwrap(), made, "{state:?}");
        }
        assert!(made.iter().all(|mount| mount.target.is_empty()), "{made:?}");
        assert_eq!(made.last().unwrap().is_read_only(), kind == Kind::View, "{made:?}");
    };
    check(Kind::Active, "active-0", "", 1, &[]);
    check(Kind::View, "view-0", "", 2, &[]);
    lab.commit("one", "active-0");
    check(Kind::Active, "active-1", "one", 3, &[1]);
    check(Kind::View, "view-1", "one", 4, &[1]);
    lab.commit("two", "active-1");
    check(Kind::Active, "active-2", "two", 5, &[3, 1]);
    check(Kind::View, "view-2", "two", 6, &[3, 1]);
    lab.commit("three", "active-2");
    check(Kind::Active, "active-3", "three", 7, &[5, 3, 1]);
    check(Kind::View, "view-3", "three", 8, &[5, 3, 1]);
}

/// A committed snapshot is not mounted itself.
pub fn mounts_of_committed(lab: &Lab<'_>) {
    lab.layer("base", "", &[]);
    assert_eq!(class(lab.mounts("base")), Class::FailedPrecondition);
}
