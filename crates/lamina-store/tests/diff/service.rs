//! Layers made of the snapshots of a store, and laid down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::diff::{ApplyOptions, CompareOptions};
use lamina_core::labels::UNCOMPRESSED;
use lamina_core::snapshot;
use lamina_core::{
    ContentStore, Descriptor, Differ, Digest, Filters, Host as _, Kind, Labels, Mount, Namespace,
    Scope, Snapshotter, media_type,
};
use lamina_store::mount::{self, How};
use lamina_store::{Options, Store};
use lamina_testkit::disk::Disk;
use lamina_testkit::env::skip::require_root;
use lamina_testkit::env::tinyfs::TinyFs;
use lamina_testkit::or_skip;
use lamina_testkit::tar::{Listed, list};
use lamina_testkit::tree::{NodeKind, Tree};

use crate::support::{set_time, write};

const OLD: (i64, u32) = (1_000_000_000, 0);

/// A store with a snapshot `base` of a few files.
struct Lab {
    store: Store,
    snapshots: Arc<dyn Snapshotter>,
    differ: Arc<dyn Differ>,
    content: Arc<dyn ContentStore>,
    top: PathBuf,
    // Dropped last, in this order.
    _temp: Option<tempfile::TempDir>,
    _disk: Option<Disk>,
}

impl Lab {
    async fn open(driver: &str, disk: Option<Disk>) -> Result<Lab, String> {
        require_root()?;
        let temp = disk
            .is_none()
            .then(|| tempfile::Builder::new().prefix("lamina-differ-").tempdir().unwrap());
        let top = match (&disk, &temp) {
            (Some(disk), _) => disk.path(),
            (None, Some(temp)) => temp.path(),
            (None, None) => unreachable!("one of the two was made"),
        };
        let top = top.canonicalize().unwrap();
        Lab::open_at(driver, top, temp, disk).await
    }

    async fn open_at(
        driver: &str,
        top: PathBuf,
        temp: Option<tempfile::TempDir>,
        disk: Option<Disk>,
    ) -> Result<Lab, String> {
        let mut options = Options::new(top.join("root"), top.join("state"));
        options.reserve = 0;
        let store = Store::open(options).map_err(|error| error.chain())?;
        let scope = Scope::new(Namespace::new("testing").unwrap());
        let snapshots = store.snapshotter(&scope, driver).map_err(|error| error.chain())?;
        let (differ, content) = (store.differ(&scope), store.content(&scope));
        let lab = Lab { store, snapshots, differ, content, top, _temp: temp, _disk: disk };
        let mounts = lab.snapshots.prepare("making", "", Labels::new()).await.unwrap();
        lab.with(&mounts, |root| {
            write(root.join("etc/passwd"), b"root", OLD);
            write(root.join("etc/group"), b"root", OLD);
            write(root.join("tree/a/b"), b"b", OLD);
            write(root.join("bin/large"), vec![7; 3 << 20], OLD);
        });
        lab.commit("base", "making").await;
        Ok(lab)
    }

    /// Mounts, acts and unmounts.
    fn with<T>(&self, mounts: &[Mount], act: impl FnOnce(&Path) -> T) -> T {
        let at = self.top.join("mnt");
        std::fs::create_dir_all(&at).unwrap();
        mount::all(mounts, &at).unwrap_or_else(|error| panic!("{}", error.chain()));
        let done = act(&at);
        mount::unmount_all(&at, How::Plain).unwrap();
        done
    }

    async fn commit(&self, name: &str, key: &str) {
        self.snapshots.commit(name, key, snapshot::CommitOptions::default()).await.unwrap();
    }

    async fn view(&self, key: &str, parent: &str) -> Vec<Mount> {
        self.snapshots.view(key, parent, Labels::new()).await.unwrap()
    }

    /// An active `key` on `parent`, changed.
    async fn changed(&self, key: &str, parent: &str) -> Vec<Mount> {
        let mounts = self.snapshots.prepare(key, parent, Labels::new()).await.unwrap();
        self.with(&mounts, |root| {
            std::fs::remove_file(root.join("etc/group")).unwrap();
            std::fs::remove_dir_all(root.join("tree")).unwrap();
            write(root.join("new/file"), b"new", OLD);
            std::fs::hard_link(root.join("bin/large"), root.join("bin/link")).unwrap();
            for dir in ["etc", "new", "bin"] {
                set_time(root.join(dir), OLD);
            }
        });
        mounts
    }

    async fn bytes(&self, digest: &Digest) -> Vec<u8> {
        let reader = self.content.reader(digest).await.unwrap();
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < reader.size() {
            bytes.extend_from_slice(&reader.read_at(bytes.len() as u64, 1 << 20).await.unwrap());
        }
        bytes
    }

    /// Neither blob nor ingest is here, nor anything mounted.
    async fn assert_nothing(&self) {
        assert_eq!(self.content.statuses(Filters::default()).await.unwrap(), []);
        let page = self.store.content_now(&Scope::new(Namespace::new("testing").unwrap()));
        let listed = page.page_now(&mut String::new(), &Filters::default(), 100).unwrap();
        assert_eq!(listed, []);
        self.assert_unmounted();
    }

    fn assert_unmounted(&self) {
        let mounts = lamina_sys::mountinfo::read().unwrap();
        let below = lamina_sys::mountinfo::below(&mounts, &self.top.join("root/tmpmounts"));
        assert!(below.is_empty(), "{below:?}");
    }
}

fn options(media_type: &str) -> CompareOptions {
    CompareOptions { media_type: media_type.to_owned(), ..CompareOptions::default() }
}

fn told(mut tree: Tree) -> Tree {
    for node in tree.0.values_mut().filter(|node| node.kind == NodeKind::Dir) {
        node.mtime = (0, 0);
    }
    tree.without_root()
}

const CHANGES: [&str; 8] = [
    "5 bin/",
    "0 bin/link",
    "1 bin/large -> bin/link",
    "5 etc/",
    "0 etc/.wh.group",
    "5 new/",
    "0 new/file",
    "0 .wh.tree",
];

/// Everything a client does with a diff: of an active, of a committed one, in every form, and back.
async fn there_and_back(lab: &Lab) {
    let upper = lab.changed("active", "base").await;
    let lower = lab.view("below", "base").await;
    let plain = lab.differ.compare(&lower, &upper, options(media_type::OCI_LAYER)).await.unwrap();
    assert_eq!(plain.media_type, media_type::OCI_LAYER);
    let tar = lab.bytes(&plain.digest).await;
    assert_eq!(plain.size, tar.len() as u64);
    let summary: Vec<String> = list(&tar).iter().map(Listed::summary).collect();
    // Where files are copied for a new snapshot, the name that was there is one of a new file, too.
    let mut found = summary.clone();
    found.retain(|entry| !entry.starts_with("0 bin/") && !entry.starts_with("1 bin/"));
    let mut want: Vec<&str> = CHANGES.to_vec();
    want.retain(|entry| !entry.contains(" bin/l"));
    assert_eq!(found, want, "{summary:?}");
    let info = lab.content.info(&plain.digest).await.unwrap();
    assert!(!info.labels.contains_key(UNCOMPRESSED));

    for media_type in ["", media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER_ZSTD] {
        let made = lab.differ.compare(&lower, &upper, options(media_type)).await.unwrap();
        let again = lab.differ.compare(&lower, &upper, options(media_type)).await.unwrap();
        assert_eq!(made, again);
        let want = if media_type.is_empty() { media_type::OCI_LAYER_GZIP } else { media_type };
        assert_eq!(made.media_type, want);
        let info = lab.content.info(&made.digest).await.unwrap();
        assert_eq!(info.size, made.size);
        // What is compressed is the plain one.
        assert_eq!(info.labels[UNCOMPRESSED], plain.digest.to_string(), "{media_type}");
        back(lab, &made, &plain.digest, &upper).await;
    }
    lab.snapshots.remove("below").await.unwrap();

    // The same of the committed snapshot.
    lab.commit("top", "active").await;
    let (lower, upper) = (lab.view("below", "base").await, lab.view("above", "top").await);
    let made = lab.differ.compare(&lower, &upper, options(media_type::OCI_LAYER)).await.unwrap();
    assert_eq!(made, plain);
    // All of a tree.
    let all = lab.differ.compare(&[], &upper, options(media_type::OCI_LAYER)).await.unwrap();
    let all = list(&lab.bytes(&all.digest).await);
    assert!(all.iter().any(|entry| entry.path == "etc/passwd"));
    assert!(!all.iter().any(|entry| entry.path.contains(".wh.")));
    lab.assert_unmounted();
}

/// Lays a layer on what it was made over, and compares.
async fn back(lab: &Lab, layer: &Descriptor, diff_id: &Digest, upper: &[Mount]) {
    let mounts = lab.snapshots.prepare("again", "base", Labels::new()).await.unwrap();
    let applied = lab.differ.apply(layer, &mounts, ApplyOptions::default()).await.unwrap();
    assert_eq!(&applied.digest, diff_id);
    let found = lab.with(&mounts, |root| told(Tree::read(root)));
    let want = lab.with(upper, |root| told(Tree::read(root)));
    want.assert_same(&found, &layer.media_type);
    lab.snapshots.remove("again").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_overlayfs_there_and_back() {
    there_and_back(&or_skip!(
        "privileged_overlayfs_there_and_back",
        Lab::open("overlayfs", None).await
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_native_there_and_back() {
    there_and_back(&or_skip!("privileged_native_there_and_back", Lab::open("native", None).await))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_btrfs_there_and_back() {
    let test = "privileged_btrfs_there_and_back";
    let disk = or_skip!(test, Disk::new("btrfs", 256 << 20, &[]));
    there_and_back(&or_skip!(test, Lab::open("btrfs", Some(disk)).await)).await;
}

/// The snapshot of a container that runs: mounted for writing elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_snapshot_that_is_in_use() {
    let lab = or_skip!("privileged_a_snapshot_that_is_in_use", Lab::open("overlayfs", None).await);
    let upper = lab.changed("active", "base").await;
    let lower = lab.view("below", "base").await;
    let one = lab.differ.compare(&lower, &upper, options("")).await.unwrap();
    let held = lab.with(&upper, |_| {
        let (differ, lower, upper) = (Arc::clone(&lab.differ), lower.clone(), upper.clone());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async move { differ.compare(&lower, &upper, options("")).await })
        })
    });
    assert_eq!(held.unwrap(), one);
}

/// Renamed directories and files without content of their own are seen through a mount.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_an_upper_directory_that_has_to_be_mounted() {
    let test = "privileged_an_upper_directory_that_has_to_be_mounted";
    let lab = or_skip!(test, Lab::open("overlayfs", None).await);
    let mut upper = lab.snapshots.prepare("active", "base", Labels::new()).await.unwrap();
    upper[0].options.extend(["redirect_dir=on", "metacopy=on"].map(str::to_owned));
    lab.with(&upper, |root| {
        std::fs::rename(root.join("tree"), root.join("moved")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(root.join("bin/large"), mode).unwrap();
        write(root.join("moved/new"), b"new", OLD);
    });
    let lower = lab.view("below", "base").await;
    let made = lab.differ.compare(&lower, &upper, options(media_type::OCI_LAYER)).await.unwrap();
    let found = list(&lab.bytes(&made.digest).await);
    let summary: Vec<String> = found.iter().map(Listed::summary).collect();
    let want = [
        "5 bin/",
        "0 bin/large",
        "5 moved/",
        "5 moved/a/",
        "0 moved/a/b",
        "0 moved/new",
        "0 .wh.tree",
    ];
    assert_eq!(summary, want);
    assert!(found[1].content == vec![7; 3 << 20], "its content is that of the layer below");
}

/// A list that only the mount manager understands.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_mounts_that_go_through_the_manager() {
    let test = "privileged_mounts_that_go_through_the_manager";
    let lab = or_skip!(test, Lab::open("overlayfs", None).await);
    let upper = lab.changed("active", "base").await;
    let lower = lab.view("below", "base").await;
    let want = lab.differ.compare(&lower, &upper, options("")).await.unwrap();
    let mut last = upper[0].clone();
    last.kind = "format/overlay".to_owned();
    for option in &mut last.options {
        if option.starts_with("lowerdir=") {
            *option = "lowerdir={{ mount 0 }}".to_owned();
        }
    }
    let listed = [lower[0].clone(), last];
    let found = lab.differ.compare(&lower, &listed, options("")).await.unwrap();
    assert_eq!(found, want);
    let scope = Scope::new(Namespace::new("testing").unwrap());
    assert_eq!(lab.store.mounts(&scope).list().await.unwrap(), []);
    lab.assert_unmounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_references_and_labels() {
    let lab = or_skip!("privileged_references_and_labels", Lab::open("overlayfs", None).await);
    let upper = lab.changed("active", "base").await;
    let lower = lab.view("below", "base").await;
    // What an ingest had is not gone on from.
    let mut left = lab.content.writer("mine", WriteOptions::default()).await.unwrap();
    left.write(vec![1; 100].into()).await.unwrap();
    drop(left);
    let labelled = CompareOptions {
        reference: "mine".to_owned(),
        labels: [("colour".to_owned(), "red".to_owned())].into(),
        ..options("")
    };
    let made = lab.differ.compare(&lower, &upper, labelled.clone()).await.unwrap();
    let info = lab.content.info(&made.digest).await.unwrap();
    assert_eq!(info.labels["colour"], "red");
    assert_eq!(lab.content.statuses(Filters::default()).await.unwrap(), []);

    // One that is here already, without the label that says what it is.
    let bytes = lab.bytes(&made.digest).await;
    lab.content.delete(&made.digest).await.unwrap();
    let mut plain = lab.content.writer("plain", WriteOptions::default()).await.unwrap();
    plain.write(bytes.into()).await.unwrap();
    plain.commit(CommitOptions::default()).await.unwrap();
    let again = lab.differ.compare(&lower, &upper, labelled.clone()).await.unwrap();
    assert_eq!(again, made);
    let kept = lab.content.info(&made.digest).await.unwrap();
    assert_eq!(kept.labels[UNCOMPRESSED], info.labels[UNCOMPRESSED]);

    // A reference that somebody writes to, and labels that are too long, are told before anything.
    let _busy = lab.content.writer("mine", WriteOptions::default()).await.unwrap();
    let error = lab.differ.compare(&lower, &upper, labelled.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
    let long =
        CompareOptions { labels: [("k".to_owned(), "v".repeat(5000))].into(), ..options("") };
    let error = lab.differ.compare(&lower, &upper, long).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_what_cannot_be_done_leaves_nothing() {
    let test = "privileged_what_cannot_be_done_leaves_nothing";
    let lab = or_skip!(test, Lab::open("overlayfs", None).await);
    let upper = lab.changed("active", "base").await;
    let lower = lab.view("below", "base").await;
    let absent =
        [Mount::new("bind", lab.top.join("absent").display().to_string(), ["rbind", "ro"])];
    let cases: [(&[Mount], &[Mount], &str, Kind); 6] = [
        (&lower, &upper, "text/plain", Kind::Unimplemented),
        (&lower, &upper, media_type::DOCKER_LAYER_GZIP, Kind::Unimplemented),
        (&lower, &upper, media_type::OCI_LAYER_NONDISTRIBUTABLE, Kind::Unimplemented),
        (&lower, &[], "", Kind::InvalidArgument),
        (&absent, &upper, "", Kind::NotFound),
        (&lower, &absent, "", Kind::NotFound),
    ];
    for (lower, upper, media_type, kind) in cases {
        let error = lab.differ.compare(lower, upper, options(media_type)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{media_type:?}: {}", error.chain());
        lab.assert_nothing().await;
    }
    // An entry that no layer can hold.
    lab.with(&upper, |root| write(root.join(".wh.x"), b"", OLD));
    let error = lab.differ.compare(&lower, &upper, options("")).await.unwrap_err();
    assert!(error.chain().contains(".wh.x"), "{}", error.chain());
    lab.assert_nothing().await;
    // An ingest that the caller named is his.
    let named = CompareOptions { reference: "mine".to_owned(), ..options("") };
    lab.differ.compare(&lower, &upper, named).await.unwrap_err();
    assert_eq!(lab.content.status("mine").await.unwrap().reference, "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_full_disk_leaves_nothing() {
    let test = "privileged_a_full_disk_leaves_nothing";
    let disk = or_skip!(test, TinyFs::disk("ext4", 96 << 20));
    let top = disk.path().canonicalize().unwrap();
    let lab = or_skip!(test, Lab::open_at("overlayfs", top, None, None).await);
    let upper = lab.changed("active", "base").await;
    // So much that it does not fit twice, and cannot be compressed.
    let noise = noise(8 << 20);
    lab.with(&upper, |root| write(root.join("noise"), &noise, OLD));
    let lower = lab.view("below", "base").await;
    disk.fill(4 << 20);
    for media_type in [media_type::OCI_LAYER, media_type::OCI_LAYER_GZIP] {
        let error = lab.differ.compare(&lower, &upper, options(media_type)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
        lab.assert_nothing().await;
    }
    disk.free();
    lab.differ.compare(&lower, &upper, options("")).await.unwrap();
}

/// Bytes that no compression shortens.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_caller_that_leaves_leaves_nothing() {
    let test = "privileged_a_caller_that_leaves_leaves_nothing";
    let lab = or_skip!(test, Lab::open("overlayfs", None).await);
    let upper = lab.changed("active", "base").await;
    lab.with(&upper, |root| {
        // Work for longer than it takes to leave.
        for number in 0..2000 {
            write(root.join(format!("many/{number}")), b"x", OLD);
        }
        let sparse = std::fs::File::create(root.join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
    });
    let lower = lab.view("below", "base").await;
    let (differ, mounts) = (Arc::clone(&lab.differ), upper.clone());
    let call = tokio::spawn(async move { differ.compare(&lower, &mounts, options("")).await });
    // It is at it.
    wait_until(|| async { !lab.content.statuses(Filters::default()).await.unwrap().is_empty() })
        .await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    wait_until(|| async { lab.content.statuses(Filters::default()).await.unwrap().is_empty() })
        .await;
    lab.assert_nothing().await;
}

async fn wait_until<F: Future<Output = bool>>(mut is: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !is().await {
        assert!(std::time::Instant::now() < deadline, "it does not come");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
