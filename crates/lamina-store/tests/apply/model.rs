//! Random layers against a model small enough to be seen through, and overlayfs against both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lamina_testkit::tar::{Entry, TarBuilder};
use lamina_testkit::tree::{NodeKind, Tree};
use proptest::prelude::*;

use crate::support::{World, cases, every_way_gives_one_tree, is_root, need_root};

#[derive(Clone, Debug)]
enum Op {
    File(String, u8),
    Dir(String, u32),
    Whiteout(String),
    Opaque(String),
    /// A new name, and which of the files there are it links to.
    Link(String, usize),
}

impl Op {
    fn entry(&self, link: Option<&str>) -> Entry {
        match self {
            Op::File(path, byte) => Entry::file(path, [*byte]).mtime(i64::from(*byte), 0),
            Op::Dir(path, mode) => Entry::dir(path).mode(*mode).mtime(i64::from(*mode), 0),
            Op::Whiteout(path) => Entry::whiteout(path),
            Op::Opaque(path) => Entry::opaque(path),
            Op::Link(path, _) => Entry::hard_link(path, link.unwrap_or_default()),
        }
    }
}

/// What is at a path, and whether the layer being laid put it there.
#[derive(Clone, Debug)]
struct Item {
    file: Option<u8>,
    laid: bool,
}

#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<PathBuf, Item>);

impl Model {
    /// Does what an entry says; `None` if no tree could.
    fn lay(&self, op: &Op, files: &[String]) -> Option<(Model, Entry)> {
        let mut next = self.clone();
        let mut link = None;
        match op {
            Op::File(path, byte) => next.put(path, Some(*byte))?,
            Op::Dir(path, _) => next.put(path, None)?,
            Op::Whiteout(path) => {
                next.parents(Path::new(path))?;
                next.remove(Path::new(path));
            }
            Op::Opaque(dir) => {
                next.parents(&Path::new(dir).join("marker"))?;
                next.empty(Path::new(dir));
            }
            Op::Link(path, which) => {
                let source = files.get(which % files.len().max(1))?;
                let byte = next.0.get(Path::new(source))?.file?;
                let below = source != path && Path::new(source).starts_with(path);
                if below {
                    return None;
                }
                next.put(path, Some(byte))?;
                link = Some(source.as_str());
            }
        }
        Some((next, op.entry(link)))
    }

    fn put(&mut self, path: &str, file: Option<u8>) -> Option<()> {
        let path = Path::new(path);
        self.parents(path)?;
        let merges = file.is_none() && self.0.get(path).is_some_and(|item| item.file.is_none());
        if !merges {
            self.remove(path);
        }
        self.0.insert(path.to_path_buf(), Item { file, laid: true });
        Some(())
    }

    /// A directory that an entry lies in belongs to the layer, even if nothing of it is left there.
    fn parents(&mut self, path: &Path) -> Option<()> {
        for parent in path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()) {
            let dir = Item { file: None, laid: true };
            let item = self.0.entry(parent.to_path_buf()).or_insert(dir);
            if item.file.is_some() {
                return None;
            }
            item.laid = true;
        }
        Some(())
    }

    fn remove(&mut self, path: &Path) {
        self.0.retain(|found, _| !found.starts_with(path));
    }

    fn empty(&mut self, dir: &Path) {
        let laid: Vec<PathBuf> = self
            .0
            .iter()
            .filter(|(path, item)| item.laid && path.starts_with(dir))
            .map(|(path, _)| path.clone())
            .collect();
        self.0.retain(|path, _| {
            path == dir || !path.starts_with(dir) || laid.iter().any(|laid| laid.starts_with(path))
        });
    }

    /// The next layer's entries come.
    fn settle(mut self) -> Self {
        for item in self.0.values_mut() {
            item.laid = false;
        }
        self
    }

    fn check(&self, tree: &Tree) {
        let found: BTreeMap<&Path, bool> = tree
            .0
            .iter()
            .map(|(path, node)| (path.as_path(), node.kind == NodeKind::Dir))
            .collect();
        let expected: BTreeMap<&Path, bool> =
            self.0.iter().map(|(path, item)| (path.as_path(), item.file.is_none())).collect();
        assert_eq!(found, expected);
        for (path, item) in &self.0 {
            if let Some(byte) = item.file {
                let digest = lamina_core::Digest::sha256(&[byte]);
                let kind = format!("{:?}", tree.0[path].kind);
                assert!(digest.as_str().starts_with(&kind["file 1 ".len()..]), "{path:?} {kind}");
            }
        }
    }
}

/// A stack of layers that all can be laid, and what the tree is after each. For overlayfs, without
/// what it shows otherwise: an opaque root counts nothing.
fn stack(layers: &[Vec<Op>], overlayfs: bool) -> Vec<(Vec<u8>, Model)> {
    let mut model = Model::default();
    let mut out = Vec::new();
    for ops in layers {
        let mut tar = TarBuilder::new();
        let mut files: Vec<String> = Vec::new();
        for op in ops {
            let odd = matches!(op, Op::Opaque(dir) if dir.is_empty());
            if overlayfs && odd {
                continue;
            }
            let Some((next, entry)) = model.lay(op, &files) else { continue };
            if let Op::File(path, _) = op {
                files.push(path.clone());
            }
            tar.add(entry);
            model = next;
        }
        out.push((tar.finish(), model.clone()));
        model = model.settle();
    }
    out
}

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    prop::collection::vec(name, 1..=4).prop_map(|names| names.join("/"))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, byte)| Op::File(path, byte)),
        3 => (path(), prop::sample::select(vec![0o700, 0o755, 0o1777]))
            .prop_map(|(path, mode)| Op::Dir(path, mode)),
        2 => path().prop_map(Op::Whiteout),
        2 => path().prop_map(Op::Opaque),
        1 => Just(Op::Opaque(String::new())),
        1 => (path(), any::<usize>()).prop_map(|(path, which)| Op::Link(path, which)),
    ]
}

fn layers() -> impl Strategy<Value = Vec<Vec<Op>>> {
    prop::collection::vec(prop::collection::vec(op(), 0..14), 1..4)
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn layers_are_what_the_model_says(layers in layers()) {
        let world = World::new();
        for (tar, model) in stack(&layers, false) {
            world.lay(&tar).unwrap_or_else(|error| panic!("{}", error.chain()));
            model.check(&world.tree());
        }
    }
}

/// Other stacks in every run. One that fails becomes a test of its own in `deletions.rs`.
#[test]
fn privileged_overlayfs_shows_the_same() {
    need_root!("privileged_overlayfs_shows_the_same");
    let mut runner = proptest::test_runner::TestRunner::new(cases(60));
    let outcome = runner.run(&layers(), |layers| {
        let layers: Vec<Vec<u8>> = stack(&layers, true).into_iter().map(|(tar, _)| tar).collect();
        every_way_gives_one_tree(&layers);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    assert!(is_root());
}
