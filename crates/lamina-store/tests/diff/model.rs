//! Trees changed at random by programs' calls on real overlays: the upper directory by itself says
//! what the mounted tree says, and the layer made of it makes the one tree of the other.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use lamina_store::diff::apply::{ApplyOptions, Target, apply};
use lamina_store::diff::create::{CreateOptions, Form};
use lamina_store::snapshot::driver::Whiteouts;
use lamina_sys::fs::xattr;
use lamina_sys::tree::{XattrErrors, copy_tree};
use lamina_testkit::tar::list;
use lamina_testkit::tree::{NodeKind, Tree};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{
    CAPABILITY, UPPER, World, handle, made, make_char, make_fifo, need_root, set_time, trees,
};

/// One call of a program; what it cannot do it does not do. Links lead nowhere, and so not out.
#[derive(Clone, Debug)]
enum Op {
    Write(PathBuf, Vec<u8>),
    Append(PathBuf),
    Dir(PathBuf),
    Symlink(PathBuf, String),
    Link(PathBuf, PathBuf),
    Fifo(PathBuf),
    Device(PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Mode(PathBuf, u32),
    Owner(PathBuf, u32),
    Time(PathBuf, i64),
    Capability(PathBuf),
    /// Opened for writing and left as it is: overlayfs copies it up.
    Open(PathBuf),
}

impl Op {
    fn act(&self, root: &Path) {
        let at = |path: &PathBuf| root.join(path);
        let done: std::io::Result<()> = match self {
            // Whoever opens a pipe waits for the other end.
            Op::Write(path, _) | Op::Append(path) if is_other(&at(path)) => Ok(()),
            Op::Write(path, content) => std::fs::write(at(path), content),
            Op::Append(path) => std::fs::File::options()
                .append(true)
                .open(at(path))
                .and_then(|mut file| std::io::Write::write_all(&mut file, b"more")),
            Op::Dir(path) => std::fs::create_dir(at(path)),
            Op::Symlink(path, text) => symlink(text, at(path)),
            Op::Link(from, to) => std::fs::hard_link(at(from), at(to)),
            Op::Fifo(path) => {
                if at(path).symlink_metadata().is_err() && at(path).parent().unwrap().is_dir() {
                    make_fifo(&at(path));
                }
                Ok(())
            }
            Op::Device(path) => make_char(&at(path), 5, 6).map_err(Into::into),
            Op::Remove(path) => match at(path).symlink_metadata() {
                Ok(found) if found.is_dir() => std::fs::remove_dir_all(at(path)),
                _ => std::fs::remove_file(at(path)),
            },
            Op::Rename(from, to) => std::fs::rename(at(from), at(to)),
            Op::Mode(path, mode) => match at(path).symlink_metadata() {
                Ok(found) if !found.is_symlink() => {
                    std::fs::set_permissions(at(path), PermissionsExt::from_mode(*mode))
                }
                _ => Ok(()),
            },
            Op::Owner(path, uid) => std::os::unix::fs::lchown(at(path), Some(*uid), Some(3)),
            Op::Time(path, sec) => {
                if at(path).symlink_metadata().is_ok() {
                    set_time(at(path), (*sec, 0));
                }
                Ok(())
            }
            Op::Capability(path) => {
                if at(path).symlink_metadata().is_ok_and(|found| found.is_file()) {
                    xattr::set(handle(&at(path)), "security.capability", CAPABILITY).unwrap();
                }
                Ok(())
            }
            Op::Open(path) => match at(path).symlink_metadata() {
                Ok(found) if found.is_file() => {
                    std::fs::File::options().write(true).open(at(path)).map(drop)
                }
                _ => Ok(()),
            },
        };
        // A path that is not there, a directory in the way: nothing to do.
        drop(done);
    }
}

/// Whether something else than a file is there.
fn is_other(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| !found.is_file())
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = prop_oneof![
        6 => "[abc]",
        1 => Just("a-".to_owned()),
        1 => Just("a.b".to_owned()),
        1 => Just("n\nl".to_owned()),
        1 => Just("l".repeat(140)),
    ];
    prop::collection::vec(name, 1..4).prop_map(|names| names.iter().collect())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (path(), prop::collection::vec(any::<u8>(), 0..3000))
            .prop_map(|(path, content)| Op::Write(path, content)),
        1 => path().prop_map(Op::Append),
        5 => path().prop_map(Op::Dir),
        1 => (path(), "[a-c]{4}(/x)?").prop_map(|(path, text)| Op::Symlink(path, text)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        1 => path().prop_map(Op::Fifo),
        1 => path().prop_map(Op::Device),
        3 => path().prop_map(Op::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => (path(), 0u32..0o10000).prop_map(|(path, mode)| Op::Mode(path, mode)),
        1 => (path(), 0u32..100_000).prop_map(|(path, uid)| Op::Owner(path, uid)),
        1 => (path(), -10i64..2_000_000_000).prop_map(|(path, sec)| Op::Time(path, sec)),
        1 => path().prop_map(Op::Capability),
        1 => path().prop_map(Op::Open),
    ]
}

/// What a layer says of a tree: no fractions of seconds, no attributes but capabilities; directories
/// whose own time alone differs are left out of it.
fn told(mut tree: Tree) -> Tree {
    for node in tree.0.values_mut() {
        node.mtime.1 = 0;
        if node.kind == NodeKind::Dir {
            node.mtime.0 = 0;
        }
        node.xattrs.retain(|name, _| name == "security.capability");
    }
    tree.without_root()
}

/// Names that are one file in the tree are one file in what was laid. (Not the other way round: that
/// an unchanged file has lost a name to a copy of its own is no change.)
fn check_links(tree: &Tree, laid: &Tree) {
    for (path, node) in &tree.0 {
        if let Some(first) = &node.same_as {
            let (one, other) = (&laid.0[path].same_as, &laid.0[first].same_as);
            assert!(one.is_some() && one == other, "{path:?} and {first:?} are no longer one file");
        }
    }
}

fn without_links(mut tree: Tree) -> Tree {
    tree.0.values_mut().for_each(|node| node.same_as = None);
    tree
}

fn check(layers: &[Vec<Op>; 3]) {
    let world = World::new();
    let [first, second, third] = layers;
    let lower = world.path("lower");
    first.iter().for_each(|op| op.act(&lower));
    // A layer between, as overlayfs writes it.
    let merged = world.overlay("merged", std::slice::from_ref(&lower), Some("middle"));
    second.iter().for_each(|op| op.act(&merged.0));
    drop(merged);
    let below = [world.path("middle"), lower];
    let merged = world.overlay("merged", &below, Some("top"));
    third.iter().for_each(|op| op.act(&merged.0));
    drop(merged);

    let old = world.overlay("old", &below, None);
    let new = world.overlay("new", &[&[world.path("top")], &below[..]].concat(), None);
    let options = CreateOptions::new();
    let walked = made(trees(Some(&old.0), &new.0, Form::Merged), &options).unwrap();
    let fast = made(trees(Some(&old.0), &world.path("top"), UPPER), &options).unwrap();
    assert!(fast == walked, "{:#?}\n{:#?}", list(&fast), list(&walked));

    let laid = world.path("laid");
    std::fs::create_dir(&laid).unwrap();
    let open = |path: &Path| lamina_sys::fs::open_dir(path).unwrap();
    copy_tree(open(&old.0), open(&laid), XattrErrors::Ignore, &mut || false).unwrap();
    let target = Target::open::<&Path>(&laid, Whiteouts::Delete, &[]).unwrap();
    apply(&fast[..], &target, &ApplyOptions::new()).unwrap();
    let (want, found) = (told(Tree::read(&new.0)), told(Tree::read(&laid)));
    check_links(&want, &found);
    without_links(want).assert_same(&without_links(found), "what the layer makes");
}

#[test]
fn privileged_an_upper_directory_a_walk_and_a_layer_agree() {
    need_root!("privileged_an_upper_directory_a_walk_and_a_layer_agree");
    let default = ProptestConfig::default();
    // As many as asked for in proportion to proptest's own 256.
    let cases = (u64::from(default.cases) * 60 / 256).max(1) as u32;
    let config = ProptestConfig { cases, failure_persistence: None, ..default };
    let ops = || prop::collection::vec(op(), 0..25);
    let strategy = [ops().boxed(), ops().boxed(), ops().boxed()];
    let outcome = TestRunner::new(config).run(&strategy, |layers| {
        check(&layers);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
