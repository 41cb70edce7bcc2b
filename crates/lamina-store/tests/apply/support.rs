//! A target in a directory of its own, inside one that must not change.

use std::path::{Path, PathBuf};

use lamina_core::Result;
use lamina_store::diff::apply::{Applied, ApplyOptions, Devices, Owners, Target, apply, inherit};
use lamina_store::snapshot::driver::Whiteouts;
use lamina_testkit::tar::{Entry, TarBuilder};
use lamina_testkit::tree::Tree;
use proptest::prelude::ProptestConfig;

/// A root between a lower tree and a place outside, all in one temporary directory.
pub struct World {
    temp: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        let temp = tempfile::Builder::new().prefix("lamina-apply-").tempdir().unwrap();
        for dir in ["root", "lower", "outside", "outside/dir"] {
            std::fs::create_dir(temp.path().join(dir)).unwrap();
        }
        std::fs::write(temp.path().join("outside/secret"), b"secret").unwrap();
        std::fs::write(temp.path().join("outside/dir/file"), b"secret").unwrap();
        World { temp }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// What lies in the root, without what the root itself says.
    pub fn tree(&self) -> Tree {
        Tree::read(self.root()).without_root()
    }

    /// Everything but the root: what no layer may change.
    pub fn rest(&self) -> (Tree, Vec<PathBuf>) {
        let mut names: Vec<PathBuf> = std::fs::read_dir(self.temp.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        (Tree::read(self.path("outside")), names)
    }

    pub fn target(&self, whiteouts: Whiteouts) -> Target {
        Target::open::<&Path>(&self.root(), whiteouts, &[]).unwrap()
    }

    /// Applies an archive with deletions carried out.
    pub fn lay(&self, tar: &[u8]) -> Result<Applied> {
        apply(tar, &self.target(Whiteouts::Delete), &options())
    }

    /// Applies an archive with deletions written for overlayfs.
    pub fn lay_overlay(&self, tar: &[u8]) -> Result<Applied> {
        apply(tar, &self.target(Whiteouts::Overlay), &options())
    }

    /// Applies entries, which must work.
    #[track_caller]
    pub fn laid(&self, entries: impl IntoIterator<Item = Entry>) -> Tree {
        if let Err(error) = self.lay(&TarBuilder::archive(entries)) {
            panic!("{}", error.chain());
        }
        self.tree()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The standard library's removal gives up on trees a thousand directories deep. If this
        // fails, it tries and reports.
        if let Ok(dir) = lamina_sys::fs::open_dir(self.temp.path()) {
            let _ = lamina_sys::tree::remove_tree(dir, "root");
        }
    }
}

/// A read-only overlay mount of these directories, topmost first, that goes when the test ends.
pub struct Overlay(pub PathBuf);

impl Overlay {
    /// `None`, with a note, where the kernel has no overlayfs.
    pub fn mount(world: &World, lowers: &[PathBuf]) -> Option<Overlay> {
        let at = world.path("merged");
        std::fs::create_dir(&at).unwrap();
        let lowers: Vec<String> = lowers.iter().map(|path| path.display().to_string()).collect();
        let done = std::process::Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &format!("lowerdir={}", lowers.join(":"))])
            .arg(&at)
            .output()
            .unwrap();
        if !done.status.success() {
            let test = std::thread::current();
            let name = test.name().unwrap_or_default().rsplit("::").next().unwrap_or_default();
            eprintln!("SKIP {name}: {}", String::from_utf8_lossy(&done.stderr));
            return None;
        }
        Some(Overlay(at))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Best effort: the test has its answer.
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

/// Lays layers over each other with deletions carried out, and each in a directory of its own in
/// overlay form: once above those before it, and once alone with those told afterwards, as when
/// layers come side by side. All must look the same, attributes and times included.
#[track_caller]
pub fn every_way_gives_one_tree(layers: &[Vec<u8>]) {
    let (plain, above, alone) = (World::new(), World::new(), World::new());
    // Two lower directories at least, or it is a mount of nothing.
    let mut aboves = vec![above.path("lower")];
    let mut alones = vec![alone.path("lower")];
    let lay = |tar: &[u8], target: &Target| {
        apply(tar, target, &options()).unwrap_or_else(|error| panic!("{}", error.chain()))
    };
    for (at, tar) in layers.iter().enumerate() {
        lay(tar, &plain.target(Whiteouts::Delete));
        let form = if at == 0 { Whiteouts::Delete } else { Whiteouts::Overlay };
        let [one, other] = [&above, &alone].map(|world| world.path(&format!("layer{at}")));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&other).unwrap();
        lay(tar, &Target::open(&one, form, &aboves).unwrap());
        let applied = lay(tar, &Target::open::<&Path>(&other, form, &[]).unwrap());
        inherit(&Target::open(&other, form, &alones).unwrap(), &applied).unwrap();
        aboves.insert(0, one);
        alones.insert(0, other);
    }
    for (world, lowers, how) in [(&above, aboves, "one by one"), (&alone, alones, "side by side")] {
        let Some(merged) = Overlay::mount(world, &lowers) else { return };
        plain.tree().assert_same(&Tree::read(&merged.0).without_root(), how);
    }
}

/// The layer's owners and devices if that is allowed here, else the caller's and none.
pub fn options() -> ApplyOptions<'static> {
    if is_root() {
        return ApplyOptions::new();
    }
    ApplyOptions { owners: Owners::Caller, devices: Devices::Skip, ..ApplyOptions::new() }
}

/// So many cases, and more or fewer where `PROPTEST_CASES` differs from proptest's own 256.
pub fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = u64::from(cases) * u64::from(default.cases) / 256;
    let cases = u32::try_from(cases.max(1)).unwrap_or(u32::MAX);
    ProptestConfig { cases, failure_persistence: None, ..default }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Ends the test with a note unless it runs as root.
macro_rules! need_root {
    ($name:literal) => {
        if !$crate::support::is_root() {
            eprintln!("SKIP {}: needs root", $name);
            return;
        }
    };
}
pub(crate) use need_root;
