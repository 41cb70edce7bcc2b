//! The service Diff: layers onto mounts, as clients that pull by themselves ask for it.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use lamina_api::proto::containerd::services::content::v1::content_client::ContentClient;
use lamina_api::proto::containerd::services::diff::v1 as proto;
use lamina_api::proto::containerd::services::snapshots::v1 as snapshots;
use lamina_api::proto::containerd::types::{Descriptor, Mount};
use lamina_core::digest::chain_id;
use lamina_core::{Digest, media_type};
use lamina_testkit::env::skip::require_root;
use lamina_testkit::image::gzip;
use lamina_testkit::or_skip;
use lamina_testkit::tar::{Entry, TarBuilder};
use proto::diff_client::DiffClient;
use snapshots::snapshots_client::SnapshotsClient;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::support::{Server, refused};
use crate::{call, call_in, map, start};

use crate::write::put;

const OVERLAY: &str = "overlayfs";

/// A client of a daemon.
struct Lab {
    server: Server,
    differ: DiffClient<Channel>,
    snapshots: SnapshotsClient<Channel>,
}

impl Lab {
    async fn start() -> Lab {
        let server = start().await;
        let differ = DiffClient::new(server.channel());
        let snapshots = SnapshotsClient::new(server.channel());
        Lab { server, differ, snapshots }
    }

    async fn stop(self) {
        drop((self.differ, self.snapshots));
        self.server.stop().await;
    }

    /// Stores a blob and says what it is.
    async fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = put(&mut ContentClient::new(self.server.channel()), "test", bytes).await;
        let (media_type, size) = (media_type.to_owned(), bytes.len() as i64);
        Descriptor { media_type, digest, size, ..Default::default() }
    }

    async fn apply(&mut self, layer: &Descriptor, mounts: &[Mount]) -> Result<Descriptor, Status> {
        let message = proto::ApplyRequest {
            diff: Some(layer.clone()),
            mounts: mounts.to_vec(),
            sync_fs: true,
            ..Default::default()
        };
        let answer = self.differ.apply(call(message)).await?;
        Ok(answer.into_inner().applied.unwrap())
    }

    async fn prepare(&mut self, snapshotter: &str, key: &str, parent: &str) -> Vec<Mount> {
        let (snapshotter, key) = (snapshotter.to_owned(), key.to_owned());
        let parent = parent.to_owned();
        let labels = map(&[]);
        let message = snapshots::PrepareSnapshotRequest { snapshotter, key, parent, labels };
        self.snapshots.prepare(call(message)).await.unwrap().into_inner().mounts
    }

    async fn commit(&mut self, snapshotter: &str, name: &str, key: &str, parent: &str) {
        let (snapshotter, name) = (snapshotter.to_owned(), name.to_owned());
        let (key, parent, labels) = (key.to_owned(), parent.to_owned(), map(&[]));
        let message = snapshots::CommitSnapshotRequest { snapshotter, name, key, parent, labels };
        self.snapshots.commit(call(message)).await.unwrap();
    }

    /// Whether another namespace gets the chain without laying it down again.
    async fn is_shared(&mut self, snapshotter: &str, chain: &Digest) -> bool {
        let message = snapshots::PrepareSnapshotRequest {
            snapshotter: snapshotter.to_owned(),
            key: format!("extract {chain}"),
            parent: String::new(),
            labels: map(&[("containerd.io/snapshot.ref", chain.as_str())]),
        };
        match self.snapshots.prepare(call_in("other", message)).await {
            Ok(_) => false,
            Err(status) if status.code() == Code::AlreadyExists => true,
            Err(status) => panic!("{status}"),
        }
    }
}

/// Two layers: files, and a change of them with each kind of deletion.
fn layers() -> [Vec<u8>; 2] {
    let below = [
        Entry::dir("kept").mode(0o750),
        Entry::file("kept/file", "one"),
        Entry::file("gone", "x"),
        Entry::dir("cleared"),
        Entry::file("cleared/old", "x"),
    ];
    let above = [
        Entry::file("kept/more", "two"),
        Entry::whiteout("gone"),
        Entry::opaque("cleared"),
        Entry::file("cleared/new", "three"),
    ];
    [TarBuilder::archive(below), TarBuilder::archive(above)]
}

fn directory(mounts: &[Mount]) -> String {
    let upper = mounts[0].options.iter().find_map(|option| option.strip_prefix("upperdir="));
    upper.unwrap_or(&mounts[0].source).to_owned()
}

fn is_whiteout(path: &str) -> bool {
    let found = std::fs::symlink_metadata(path).unwrap();
    found.file_type().is_char_device() && found.rdev() == 0
}

#[tokio::test]
async fn privileged_layers_of_a_client_become_chains_that_are_shared() {
    or_skip!("privileged_layers_of_a_client_become_chains_that_are_shared", require_root());
    let mut lab = Lab::start().await;
    let [below, above] = layers();
    let (low, high) = (Digest::sha256(&below), Digest::sha256(&above));
    let layer = lab.blob(media_type::DOCKER_LAYER_GZIP, &gzip(&below)).await;
    let mounts = lab.prepare(OVERLAY, "a", "").await;
    let applied = lab.apply(&layer, &mounts).await.unwrap();
    assert_eq!((applied.digest.as_str(), applied.size), (low.as_str(), below.len() as i64));
    assert_eq!(applied.media_type, media_type::OCI_LAYER);
    lab.commit(OVERLAY, "my lower", "a", "").await;

    let layer = lab.blob(media_type::OCI_LAYER, &above).await;
    let mounts = lab.prepare(OVERLAY, "b", "my lower").await;
    assert_eq!(mounts[0].r#type, "overlay");
    assert_eq!(lab.apply(&layer, &mounts).await.unwrap().digest, high.as_str());
    let upper = directory(&mounts);
    assert!(is_whiteout(&format!("{upper}/gone")));
    assert_eq!(std::fs::read(format!("{upper}/cleared/new")).unwrap(), b"three");
    // A directory that the layer only implies looks as it did below.
    assert_eq!(Path::new(&upper).join("kept").metadata().unwrap().mode() & 0o7777, 0o750);
    lab.commit(OVERLAY, "my upper", "b", "").await;

    let bottom = chain_id(None, &low);
    let top = chain_id(Some(&bottom), &high);
    assert!(lab.is_shared(OVERLAY, &top).await);
    assert!(lab.is_shared(OVERLAY, &bottom).await);
    assert!(!lab.is_shared(OVERLAY, &Digest::sha256(b"my upper")).await);
    lab.stop().await;
}

#[tokio::test]
async fn privileged_trees_that_are_more_than_their_layer_are_not_shared() {
    or_skip!("privileged_trees_that_are_more_than_their_layer_are_not_shared", require_root());
    for case in ["a file before", "a layer before", "a layer that failed", "another place"] {
        let mut lab = Lab::start().await;
        let [below, above] = layers();
        let layer = lab.blob(media_type::OCI_LAYER, &below).await;
        let other = lab.blob(media_type::OCI_LAYER, &above).await;
        let broken = lab.blob(media_type::OCI_LAYER_GZIP, &gzip(&above)[..60]).await;
        let base = lab.prepare(OVERLAY, "first", "").await;
        lab.apply(&other, &base).await.unwrap();
        lab.commit(OVERLAY, "base", "first", "").await;
        let mounts = lab.prepare(OVERLAY, "a", "").await;
        match case {
            "a file before" => {
                std::fs::write(format!("{}/mine", mounts[0].source), "x").unwrap();
            }
            "a layer before" => drop(lab.apply(&other, &mounts).await.unwrap()),
            _ => {}
        }
        lab.apply(&layer, &mounts).await.unwrap();
        if case == "a layer that failed" {
            lab.apply(&broken, &mounts).await.unwrap_err();
        }
        let parent = if case == "another place" { "base" } else { "" };
        lab.commit(OVERLAY, "mine", "a", parent).await;
        let chain = chain_id(None, &Digest::sha256(&below));
        assert!(!lab.is_shared(OVERLAY, &chain).await, "{case}");
        let base = chain_id(None, &Digest::sha256(&above));
        let chain = chain_id(Some(&base), &Digest::sha256(&below));
        assert!(!lab.is_shared(OVERLAY, &chain).await, "{case}");
        lab.stop().await;
    }
}

#[tokio::test]
async fn privileged_mounts_may_be_anybodys() {
    or_skip!("privileged_mounts_may_be_anybodys", require_root());
    let mut lab = Lab::start().await;
    let [below, above] = layers();
    let lower = lab.blob(media_type::OCI_LAYER_GZIP, &gzip(&below)).await;
    let layer = lab.blob(media_type::DOCKER_LAYER, &gzip(&above)).await;
    // A directory of the host.
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().to_str().unwrap().to_owned();
    let options = vec!["rbind".to_owned(), "rw".to_owned()];
    let bind = Mount { r#type: "bind".to_owned(), source, options, ..Default::default() };
    lab.apply(&lower, std::slice::from_ref(&bind)).await.unwrap();
    lab.apply(&layer, std::slice::from_ref(&bind)).await.unwrap();
    assert!(!dir.path().join("gone").exists() && !dir.path().join("cleared/old").exists());
    assert_eq!(std::fs::read(dir.path().join("kept/file")).unwrap(), b"one");
    assert_eq!(std::fs::read(dir.path().join("kept/more")).unwrap(), b"two");
    // A snapshot of ours that is a whole copy.
    let mounts = lab.prepare("native", "a", "").await;
    lab.apply(&lower, &mounts).await.unwrap();
    lab.commit("native", "base", "a", "").await;
    let mounts = lab.prepare("native", "b", "base").await;
    lab.apply(&layer, &mounts).await.unwrap();
    let copy = Path::new(&mounts[0].source);
    assert!(!copy.join("gone").exists() && copy.join("kept/file").exists());
    // What a client makes of our bind for a layer that gets its parent at commit: no kernel mounts it.
    let mut mounts = lab.prepare(OVERLAY, "c", "").await;
    let upper = std::mem::take(&mut mounts[0].source);
    mounts[0] = Mount {
        r#type: "overlay".to_owned(),
        source: "overlay".to_owned(),
        options: vec!["rw".to_owned(), format!("upperdir={upper}")],
        ..Default::default()
    };
    lab.apply(&layer, &mounts).await.unwrap();
    assert!(is_whiteout(&format!("{upper}/gone")));
    lab.commit(OVERLAY, "seen", "c", "").await;
    // Nothing is written where nothing may be.
    let message = snapshots::ViewSnapshotRequest {
        snapshotter: OVERLAY.to_owned(),
        key: "look".to_owned(),
        parent: "seen".to_owned(),
        ..Default::default()
    };
    let view = lab.snapshots.view(call(message)).await.unwrap().into_inner().mounts;
    lab.apply(&lower, &view).await.unwrap_err();
    assert!(!Path::new(&upper).join("kept/file").exists());
    lab.stop().await;
}

#[tokio::test]
async fn each_mistake_has_its_status() {
    let mut lab = Lab::start().await;
    let mounts = lab.prepare("native", "a", "").await;
    let absent = Descriptor {
        media_type: media_type::OCI_LAYER.to_owned(),
        digest: Digest::sha256(b"absent").to_string(),
        ..Default::default()
    };
    let here = lab.blob(media_type::OCI_LAYER, &[1; 2000]).await;
    let with = |media_type: &str| Descriptor { media_type: media_type.to_owned(), ..here.clone() };
    let digest = Descriptor { digest: "x".to_owned(), ..here.clone() };
    let whole = gzip(&layers()[0]);
    let cut = lab.blob(media_type::OCI_LAYER_GZIP, &whole[..whole.len() / 2]).await;
    let nowhere =
        Mount { r#type: "bind".to_owned(), source: "/no/such".to_owned(), ..Default::default() };
    for (what, layer, mounts, code) in [
        ("absent", &absent, &mounts[..], Code::NotFound),
        ("type", &with("application/json"), &mounts, Code::Unimplemented),
        (
            "encrypted",
            &with(&format!("{}+encrypted", media_type::OCI_LAYER_GZIP)),
            &mounts,
            Code::Unimplemented,
        ),
        ("digest", &digest, &mounts, Code::InvalidArgument),
        ("no archive", &here, &mounts, Code::InvalidArgument),
        ("cut", &cut, &mounts, Code::DataLoss),
        ("no mounts", &here, &[], Code::InvalidArgument),
        ("nowhere", &here, &[nowhere], Code::NotFound),
    ] {
        let status = lab.apply(layer, mounts).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {}", status.message());
    }
    let none = lab.differ.apply(call(proto::ApplyRequest::default())).await;
    refused("no layer", none, Code::InvalidArgument, "diff is required");
    let compared: Result<Response<_>, _> =
        lab.differ.diff(call(proto::DiffRequest::default())).await;
    refused("compare", compared, Code::InvalidArgument, "the upper list is empty");
    lab.stop().await;
}
