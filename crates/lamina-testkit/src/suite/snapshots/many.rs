//! More layers than the options of one mount have room for.

use super::lab::Lab;
use super::tree::{self, Op, assert_same};

/// Stacks layers as high as the facts say; each active shows what is below it before and after it is
/// written to, and a view on top shows all.
pub fn many_layers(lab: &Lab<'_>) {
    let flat = tempfile::tempdir().unwrap();
    tree::apply(flat.path(), &[Op::Mode("", 0o755)]);
    let mut parent = String::new();
    for number in 1..=lab.facts().layers {
        let ops = [
            Op::Written("bottom".into(), format!("layer {number}")),
            Op::Written(format!("file-{number}"), format!("of {number}")),
        ];
        let key = format!("prepared-{number}");
        let mounts = lab.prepare(&key, &parent);
        lab.attached(&mounts, |root| {
            assert_same(&tree::read(root), &tree::read(flat.path()), "before");
            tree::apply(root, &ops);
            tree::apply(flat.path(), &ops);
            assert_same(&tree::read(root), &tree::read(flat.path()), "after");
        });
        let name = format!("layer-{number}");
        lab.commit(&name, &key);
        parent = name;
    }
    assert_same(&lab.look(&parent), &tree::read(flat.path()), "the view on top");
    for number in (1..=lab.facts().layers).rev() {
        lab.remove(&format!("layer-{number}"));
    }
}
