//! A parent given at commit.

use lamina_core::Kind as Class;

use super::lab::{Lab, class};
use super::tree::Op;

/// A layer that was laid down without its parent shows the parent's files after the commit.
pub fn rebase(lab: &Lab<'_>) {
    lab.layer("base", "", &[Op::File("base", "b", 0o644), Op::File("both", "below", 0o644)]);
    lab.write(
        &lab.prepare("alone", ""),
        &[Op::File("alone", "a", 0o644), Op::File("both", "above", 0o644)],
    );
    let committed = lab.try_commit("top", "alone", Some("base"));
    if !lab.facts().rebase {
        assert_eq!(class(committed), Class::FailedPrecondition);
        assert!(!lab.is_there("top"));
        assert_eq!(lab.stat("alone").parent, "", "the active is as it was");
        return;
    }
    committed.unwrap();
    assert_eq!(lab.stat("top").parent, "base");
    let seen = lab.look("top");
    let names: Vec<_> = seen.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["", "alone", "base", "both"]);
    lab.attached(&lab.view("look", "top"), |root| {
        assert_eq!(std::fs::read(root.join("both")).unwrap(), b"above");
    });
    lab.remove("look");
    assert_eq!(class(lab.try_remove("base")), Class::FailedPrecondition, "it has a child now");
    lab.remove("top");
    lab.remove("base");
}

/// Which parents a commit may name.
pub fn rebase_refused(lab: &Lab<'_>) {
    lab.layer("p", "", &[]);
    lab.layer("q", "", &[]);
    lab.prepare("active", "");
    // What the active has: its own parent, or none, can be said again.
    for (number, (has, says)) in
        [("", None), ("", Some("")), ("p", None), ("p", Some("")), ("p", Some("p"))]
            .iter()
            .enumerate()
    {
        let (key, name) = (format!("key-{number}"), format!("name-{number}"));
        lab.prepare(&key, has);
        lab.try_commit(&name, &key, *says).unwrap();
        assert_eq!(lab.stat(&name).parent, *has, "{has:?} {says:?}");
    }
    lab.prepare("on-p", "p");
    let before = lab.walk(&[]);
    for (key, says, want) in [
        ("on-p", "q", Class::InvalidArgument),
        ("on-p", "absent", Class::InvalidArgument),
        ("active", "absent", Class::NotFound),
        ("active", "on-p", Class::FailedPrecondition),
        ("active", "active", Class::FailedPrecondition),
    ] {
        assert_eq!(class(lab.try_commit("new", key, Some(says))), want, "{key} on {says}");
    }
    assert_eq!(lab.walk(&[]), before);
}
