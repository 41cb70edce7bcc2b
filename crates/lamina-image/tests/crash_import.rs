//! Imports and conversions, killed or failing or out of room at the steps they reach, and given up at
//! any point: after a start fsck finds nothing, no record names half an image, and the same succeeds.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use lamina_core::image::Image as Record;
use lamina_core::labels::GC_EXPIRE;
use lamina_core::media_type::Compression as Packing;
use lamina_core::oci::Limits;
use lamina_core::platform::Matcher;
use lamina_core::transfer::NewReference;
use lamina_core::{Filters, Host as _, Labels, Namespace, Platform, Result, Scope};
use lamina_image::contents::Contents;
use lamina_image::convert::Convert;
use lamina_image::import::{Import, Source};
use lamina_image::pull::Silent;
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;
use lamina_store::{Options, Store};
use lamina_testkit::crash::{self, Cut, Listener, Scenario};
use lamina_testkit::image::{Compression, Flavor, Image, ImageBuilder};
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

/// What the archive calls its image, and what the conversion is called.
const NAMES: [&str; 2] = ["registry.example/app:1", "registry.example/app:zstd"];

/// A step that is reached again and again is cut the first time, and then every so many times, up to
/// that time: a cut at all of them takes minutes.
const EVERY: usize = 12;
const MOST: usize = 15;

fn scope() -> Scope {
    Scope::new(Namespace::new("default").unwrap())
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

fn image() -> Image {
    let tar = |entries: Vec<Entry>| TarBuilder::archive(entries);
    ImageBuilder::new(Flavor::Oci)
        .platform(amd64())
        .layer(tar(vec![Entry::file("etc/one", "1"), Entry::file("etc/gone", "x")]))
        .layer_as(tar(vec![Entry::whiteout("etc/gone")]), Compression::None)
        .build()
}

/// [`image`] as a layout in a tar, the index in front of the blobs.
fn archive() -> Vec<u8> {
    let image = image();
    let mut root = json!(image.root);
    root["annotations"] = json!({"io.containerd.image.name": NAMES[0]});
    let index = json!({"schemaVersion": 2, "manifests": [root]});
    let first = [
        Entry::file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        Entry::file("index.json", index.to_string()),
    ];
    let blobs = image.content.iter().map(|(digest, content)| {
        Entry::file(format!("blobs/sha256/{}", digest.hex()), content.bytes.clone())
    });
    TarBuilder::archive(first.into_iter().chain(blobs))
}

fn open(dir: &Path, steps: Steps) -> Result<Store> {
    let all = Options::new(dir.join("root"), dir.join("state"));
    // A child that another test forks holds our lock until it runs its program.
    Store::open(Options { steps, reserve: 0, wait: Duration::from_secs(60), ..all })
}

fn quiet(dir: &Path) -> Store {
    open(dir, Steps::none()).unwrap_or_else(|e| panic!("open: {}", e.chain()))
}

/// Few threads: every run reaches much the same steps.
fn in_order() -> Runtime {
    Builder::new_current_thread().enable_all().max_blocking_threads(3).build().unwrap()
}

async fn import(store: &Store) -> Result<Vec<Record>> {
    let pieces: Vec<Result<Bytes>> =
        archive().chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let import = Import {
        host: Arc::new(store.clone()),
        scope: scope(),
        platforms: None,
        index_names: Vec::new(),
        references: vec![NewReference::Prefix {
            prefix: "imported".to_owned(),
            allow_overwrite: true,
            add_digest: true,
            skip_named_digest: true,
        }],
        labels: Labels::new(),
        unpacks: vec![("native".to_owned(), Matcher::only(&amd64()))],
        force_compress: false,
        limits: Limits::STANDARD,
        progress: Arc::new(Silent),
    };
    import.run(Source::Archive(Box::pin(stream::iter(pieces)))).await
}

async fn convert(store: &Store) -> Result<Record> {
    let image = store.images(&scope()).get(NAMES[0]).await?;
    let convert = Convert {
        host: Arc::new(store.clone()),
        scope: scope(),
        platforms: None,
        compression: Some(Packing::Zstd),
        oci: false,
        limits: Limits::STANDARD,
    };
    convert.run(&image, NAMES[1]).await
}

/// fsck finds nothing, and images that are listed are whole, also after a collection.
async fn sound(store: &Store, after: &str) {
    store.engine("native").unwrap().reap().unwrap();
    let check = || {
        let report = store.fsck(FsckOptions { verify_blobs: true, repair: false }).unwrap();
        assert_eq!(report.findings, [], "after {after}");
    };
    check();
    store.collect().unwrap();
    check();
    let content = store.content(&scope());
    for image in store.images(&scope()).list(Filters::default()).await.unwrap() {
        assert!(NAMES.contains(&image.name.as_str()), "{} after {after}", image.name);
        let contents = Contents::of(&*content, &image.target, Limits::STANDARD).await.unwrap();
        assert_eq!(contents.missing, [], "{} after {after}", image.name);
    }
}

/// The same succeeds, and leaves no lease, ingest or garbage.
fn recovers(dir: &Path, after: &str) {
    let store = quiet(dir);
    in_order().block_on(async {
        sound(&store, after).await;
        let failed = |what, error: lamina_core::Error| -> ! {
            panic!("the {what} after {after}: {}", error.chain())
        };
        let images = import(&store).await.unwrap_or_else(|e| failed("import", e));
        assert_eq!(images.len(), 1, "after {after}");
        assert_eq!(images[0].target.digest, image().root.digest, "after {after}");
        let made = convert(&store).await.unwrap_or_else(|e| failed("conversion", e));
        // What was cut has nobody to end its lease: it holds what was made for a day.
        let leases = store.leases(&scope());
        let left = leases.list(Filters::default()).await.unwrap();
        assert!(left.len() <= 1, "after {after}: {left:?}");
        for lease in left {
            assert!(lease.labels.contains_key(GC_EXPIRE), "after {after}: {lease:?}");
            leases.delete(&lease.id, false).await.unwrap();
        }
        sound(&store, &format!("{after} and the same again")).await;
        let ingests = store.content(&scope()).statuses(Filters::default()).await.unwrap();
        assert_eq!(ingests, [], "after {after}");
        let content = store.content(&scope());
        let contents = Contents::of(&*content, &made.target, Limits::STANDARD).await.unwrap();
        let config = contents.parts[0].config.as_ref().unwrap();
        assert_eq!(config.rootfs.diff_ids, image().diff_ids);
        let snapshots = store.snapshots(&scope(), "native").unwrap();
        snapshots.stat_now(config.chain_ids().last().unwrap().as_str()).unwrap();
    });
}

fn cut(test: &str, first: &dyn Fn(&Store), act: &dyn Fn(&Store) -> Result<()>) {
    let steps = crash::at_every_step(&Scenario {
        test,
        prepare: &|dir| first(&quiet(dir)),
        act: &|dir, listener: Listener| {
            let times = Mutex::new(HashMap::<&str, usize>::new());
            let sampled = move |step: &'static str| {
                let mut times = times.lock().unwrap();
                let time = times.entry(step).or_default();
                *time += 1;
                let take = *time == 1 || (time.is_multiple_of(EVERY) && *time <= MOST);
                drop(times);
                if take { listener.reach(step) } else { Ok(()) }
            };
            let store = open(dir, Steps::watched(Arc::new(sampled)))?;
            store.engine("native")?;
            act(&store)
        },
        check: &|dir, cut: &Cut| recovers(dir, &cut.to_string()),
    });
    for wanted in ["ingest.begin", "blob.row", "db.commit"] {
        assert!(steps.iter().any(|(name, _)| *name == wanted), "{wanted} not reached: {steps:?}");
    }
}

#[test]
fn an_import_is_cut_anywhere() {
    cut("an_import_is_cut_anywhere", &|_| {}, &|store| {
        in_order().block_on(import(store)).map(drop)
    });
}

#[test]
fn a_conversion_is_cut_anywhere() {
    let first = |store: &Store| drop(in_order().block_on(import(store)).unwrap());
    cut("a_conversion_is_cut_anywhere", &first, &|store| {
        in_order().block_on(convert(store)).map(drop)
    });
}

/// The future is dropped after so many polls: at points spread over the whole import.
#[test]
fn an_import_may_be_dropped_at_any_await() {
    let polls = AtomicUsize::new(0);
    let run = |dir: &Path, most: usize| {
        let store = quiet(dir);
        polls.store(0, Ordering::Relaxed);
        in_order().block_on(async {
            let mut import = pin!(import(&store));
            poll_fn(|context| match polls.fetch_add(1, Ordering::Relaxed) {
                n if n == most => Poll::Ready(None),
                _ => import.as_mut().poll(context).map(Some),
            })
            .await
        })
    };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), usize::MAX).unwrap().unwrap();
    let all = polls.load(Ordering::Relaxed);
    let mut dropped = 0;
    for most in (1..all).step_by(all.div_ceil(25).max(1)) {
        let dir = tempfile::tempdir().unwrap();
        dropped += usize::from(run(dir.path(), most).is_none());
        recovers(dir.path(), &format!("{most} of {all} polls"));
    }
    assert!(dropped >= 5, "only {dropped} of {all} polls were points to drop it at");
}
