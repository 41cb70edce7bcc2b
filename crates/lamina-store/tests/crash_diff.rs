//! Making a layer, killed or failing or out of room at every step: afterwards no blob is listed that
//! is not whole, nothing is mounted or left over, and the same call gives the same layer.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lamina_core::diff::CompareOptions;
use lamina_core::labels::UNCOMPRESSED;
use lamina_core::snapshot::CommitOptions;
use lamina_core::{Digest, Filters, Host as _, Kind, Labels, Namespace, Result, Scope};
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;
use lamina_store::mount::{self, How};
use lamina_store::{Options, Store};
use lamina_testkit::crash::{self, Fault, Scenario};

fn open(dir: &Path, steps: Steps) -> Result<Store> {
    let all = Options::new(dir.join("root"), dir.join("state"));
    // A child that another test forks holds our lock until it runs its program.
    Store::open(Options { steps, reserve: 0, wait: Duration::from_secs(20), ..all })
}

fn quiet(dir: &Path) -> Store {
    open(dir, Steps::none()).unwrap_or_else(|e| panic!("open: {}", e.chain()))
}

fn scope() -> Scope {
    Scope::new(Namespace::new("one").unwrap())
}

/// A snapshot, a changed one on it, and a view of what is below.
fn prepare(dir: &Path) {
    let store = quiet(dir);
    let snapshots = store.snapshots(&scope(), "overlayfs").unwrap();
    let fill = |mounts: &[lamina_core::Mount], name: &str| {
        let at = dir.join("mnt");
        std::fs::create_dir_all(&at).unwrap();
        mount::all(mounts, &at).unwrap();
        std::fs::create_dir_all(at.join("dir")).unwrap();
        std::fs::write(at.join("dir").join(name), name).unwrap();
        mount::unmount_all(&at, How::Plain).unwrap();
    };
    fill(&snapshots.prepare_now("making", "", Labels::new()).unwrap(), "old");
    snapshots.commit_now("base", "making", CommitOptions::default()).unwrap();
    fill(&snapshots.prepare_now("top", "base", Labels::new()).unwrap(), "new");
    snapshots.view_now("below", "base", Labels::new()).unwrap();
    store.close().unwrap();
}

fn compare(store: &Store) -> Result<Digest> {
    let snapshots = store.snapshots(&scope(), "overlayfs")?;
    let (lower, upper) = (snapshots.mounts_now("below")?, snapshots.mounts_now("top")?);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let differ = store.differ(&scope());
    let made = runtime.block_on(differ.compare(&lower, &upper, CompareOptions::default()));
    made.map(|layer| layer.digest)
}

/// What every cut leaves behind after a start.
fn sound(store: &Store, dir: &Path, cut: &str) {
    let report = store.fsck(FsckOptions { verify_blobs: true, repair: false }).unwrap();
    assert_eq!(report.findings, [], "after {cut}");
    let mounts = lamina_sys::mountinfo::read().unwrap();
    let left = lamina_sys::mountinfo::below(&mounts, dir);
    assert!(left.is_empty(), "after {cut}: {left:?}");
    let content = store.content_now(&scope());
    for info in content.page_now(&mut String::new(), &Filters::default(), 100).unwrap() {
        assert!(info.labels.contains_key(UNCOMPRESSED), "after {cut}: {info:?}");
    }
}

#[test]
fn compare_survives_a_cut_at_every_step() {
    const TEST: &str = "compare_survives_a_cut_at_every_step";
    if !lamina_sys::kernel::is_root() {
        eprintln!("SKIP {TEST}: needs root");
        return;
    }
    let steps = crash::with_faults(
        &Scenario {
            test: TEST,
            prepare: &prepare,
            act: &|dir, listener| {
                let steps =
                    Steps::watched(Arc::new(move |step: &'static str| listener.reach(step)));
                let store = open(dir, steps)?;
                let first = compare(&store).map(drop);
                // A COMMIT that failed ends all writing: then the next start drops what is left.
                let probe =
                    store.snapshots(&scope(), "overlayfs")?.view_now("probe", "", Labels::new());
                if first.is_err() && probe.is_ok() {
                    let content = store.content_now(&scope());
                    let listed = content.page_now(&mut String::new(), &Filters::default(), 9)?;
                    let ingests = content.statuses_now(&Filters::default())?;
                    // The blob can be there when only its answer failed.
                    let left = (listed.len() <= 1, ingests);
                    assert_eq!(left, (true, Vec::new()), "{first:?}");
                }
                store.close()?;
                first
            },
            check: &|dir, cut| {
                let store = quiet(dir);
                sound(&store, dir, &cut.to_string());
                let one = compare(&store).unwrap_or_else(|e| panic!("after {cut}: {}", e.chain()));
                assert_eq!(compare(&store).unwrap(), one, "after {cut}");
                sound(&store, dir, &cut.to_string());
            },
        },
        &[Fault::Kill, Fault::Fails(Kind::ResourceExhausted)],
    );
    for step in ["diff.create.entry", "diff.create.end", "ingest.begin", "blob.placed", "blob.row"]
    {
        assert!(steps.iter().any(|(name, _)| *name == step), "{step} was not reached: {steps:?}");
    }
}
