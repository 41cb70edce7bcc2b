//! What is done at the worst moment of a collection, and what expires.

use jiff::SignedDuration;
use lamina_core::content::WriteOptions;
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::mount::ActivateOptions;
use lamina_core::{Descriptor, Digest, Host, Image, Labels, Mount};

use crate::testing::{Rig, scope, space};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| (format!("containerd.io/gc.{k}"), (*v).to_owned())).collect()
}

fn lease(rig: &Rig, id: &str, labels: Labels) {
    rig.runtime.block_on(rig.store.leases(&scope()).create(id, labels)).unwrap();
}

/// An activation that needs no mount: the one mount of its list is only transformed.
fn activate(rig: &Rig, lease: Option<&str>, name: &str, labels: Labels) {
    let scope = lease.map_or(scope(), |lease| scope().with_lease(lease));
    let list = [Mount::new("format/bind", "/", ["rbind"])];
    let options = ActivateOptions { labels, ..Default::default() };
    let mounts = rig.store.mounts(&scope);
    rig.runtime.block_on(mounts.activate(name, &list, options)).unwrap();
}

fn active(rig: &Rig) -> Vec<String> {
    let list = rig.runtime.block_on(rig.store.mounts(&scope()).list()).unwrap();
    list.into_iter().map(|activation| activation.name).collect()
}

/// An ingest that was last written to so long ago.
fn ingest(rig: &Rig, reference: &str, hours: i64) {
    let content = rig.store.content_now(&scope());
    let mut writer = content.writer_now(reference, WriteOptions::default()).unwrap();
    writer.write(b"some bytes").unwrap();
    writer.close().unwrap();
    let reference = reference.to_owned();
    let aged = rig.store.db().write(move |tx| {
        let mut row = tx.ingest(&space(), &reference)?.unwrap();
        row.updated = tx.now() - SignedDuration::from_hours(hours);
        tx.put_ingest(&scope(), &row)
    });
    aged.unwrap();
}

fn ingests(rig: &Rig) -> Vec<String> {
    let all = rig.store.content_now(&scope()).statuses_now(&Default::default()).unwrap();
    all.into_iter().map(|status| status.reference).collect()
}

fn hold(rig: &Rig, id: &str, reference: &str) {
    let resource = Resource { kind: ResourceType::Ingest, id: reference.to_owned() };
    rig.runtime.block_on(rig.store.leases(&scope()).add(id, resource)).unwrap();
}

/// The rig in a way that an action can own.
fn shared(rig: Rig) -> std::sync::Arc<Rig> {
    std::sync::Arc::new(rig)
}

#[test]
fn what_labels_of_a_new_lease_refer_to_is_kept() {
    let rig = shared(Rig::new());
    let blob = rig.blob(b"blob");
    let inside = std::sync::Arc::clone(&rig);
    let refers = labels(&[("ref.content.0", blob.as_str())]);
    rig.at("gc.marked", move || lease(&inside, "new", refers));
    rig.store.collect().unwrap();
    rig.has_acted();
    rig.store.content_now(&scope()).info_now(&blob).unwrap();
}

#[test]
fn what_labels_of_a_new_activation_refer_to_is_kept() {
    let rig = shared(Rig::new());
    let snapshots = rig.store.snapshots(&scope(), "native").unwrap();
    snapshots.prepare_now("root", "", Labels::new()).unwrap();
    let inside = std::sync::Arc::clone(&rig);
    let refers = labels(&[("ref.snapshot.native/0", "root")]);
    rig.at("gc.marked", move || activate(&inside, None, "new", refers));
    rig.store.collect().unwrap();
    rig.has_acted();
    snapshots.stat_now("root").unwrap();
}

#[test]
fn an_activation_lives_as_long_as_what_it_refers_back_to_or_its_lease() {
    let rig = Rig::new();
    let back = labels(&[("bref.container", "gone")]);
    lease(&rig, "live", Labels::new());
    lease(&rig, "past", labels(&[("expire", "2001-01-01T00:00:00Z")]));
    activate(&rig, None, "anyones", Labels::new());
    activate(&rig, Some("live"), "leased", back.clone());
    activate(&rig, Some("past"), "late", back.clone());
    activate(&rig, None, "orphan", back);
    // As `ctr images mount` does it: it has no other way to take it back.
    activate(&rig, Some("past"), "only leased", Labels::new());
    assert_eq!(rig.store.collect().unwrap().mounts, 3);
    assert_eq!(active(&rig), ["anyones", "leased"]);
    rig.runtime.block_on(rig.store.leases(&scope()).delete("live", true)).unwrap();
    assert_eq!(active(&rig), ["anyones"]);
}

#[test]
fn an_activation_of_a_name_that_was_swept_is_not_undone() {
    let rig = shared(Rig::new());
    activate(&rig, None, "name", labels(&[("bref.container", "gone")]));
    let inside = std::sync::Arc::clone(&rig);
    rig.at("gc.swept", move || {
        assert_eq!(active(&inside), [""; 0], "it went with the sweep");
        activate(&inside, None, "name", Labels::new());
    });
    rig.store.collect().unwrap();
    rig.has_acted();
    assert_eq!(active(&rig), ["name"]);
}

#[test]
fn ingests_are_given_up_after_a_day_unless_a_lease_holds_them() {
    let rig = Rig::new();
    ingest(&rig, "young", 23);
    ingest(&rig, "old", 25);
    ingest(&rig, "held", 25);
    lease(&rig, "lease", Labels::new());
    hold(&rig, "lease", "held");
    let dirs = rig.dir.path().join("root/io.containerd.content.v1.content/ingest");
    assert_eq!(std::fs::read_dir(&dirs).unwrap().count(), 3);
    let collected = rig.store.collect().unwrap();
    assert_eq!((collected.ingests, collected.busy), (1, vec![]));
    assert_eq!(ingests(&rig), ["held", "young"]);
    assert_eq!(std::fs::read_dir(&dirs).unwrap().count(), 2);
    rig.runtime.block_on(rig.store.leases(&scope()).delete("lease", true)).unwrap();
    assert_eq!(ingests(&rig), ["young"]);
}

#[test]
fn an_ingest_that_a_lease_gets_hold_of_just_before_its_end_is_kept() {
    let rig = shared(Rig::new());
    ingest(&rig, "old", 25);
    lease(&rig, "lease", Labels::new());
    let inside = std::sync::Arc::clone(&rig);
    rig.at("gc.swept", move || hold(&inside, "lease", "old"));
    rig.store.collect().unwrap();
    rig.has_acted();
    assert_eq!(ingests(&rig), ["old"]);
}

#[test]
fn an_ingest_that_is_being_written_is_not_given_up_and_not_busy() {
    let rig = Rig::new();
    ingest(&rig, "old", 25);
    let content = rig.store.content_now(&scope());
    let writer = content.writer_now("old", WriteOptions::default()).unwrap();
    let aged = rig.store.db().write(|tx| {
        let mut row = tx.ingest(&space(), "old")?.unwrap();
        row.updated = tx.now() - SignedDuration::from_hours(25);
        tx.put_ingest(&scope(), &row)
    });
    aged.unwrap();
    let collected = rig.store.collect().unwrap();
    assert_eq!((collected.ingests, collected.busy), (0, vec![]));
    writer.close().unwrap();
    assert_eq!(ingests(&rig), ["old"]);
}

/// Otherwise what others make under its name would be held by a lease that never meant it.
#[test]
fn what_is_deleted_leaves_the_lease_of_its_call_and_no_other() {
    let rig = Rig::new();
    let blob = rig.blob(b"blob");
    let snapshots = |lease| rig.store.snapshots(&scope().with_lease(lease), "native").unwrap();
    let images = |lease| rig.store.images(&scope().with_lease(lease));
    let held = [
        Resource { kind: ResourceType::Content, id: blob.to_string() },
        Resource { kind: ResourceType::Image, id: "i".to_owned() },
        Resource { kind: ResourceType::Snapshot("native".to_owned()), id: "s".to_owned() },
    ];
    for id in ["of the call", "other"] {
        lease(&rig, id, Labels::new());
        for resource in &held {
            rig.runtime.block_on(rig.store.leases(&scope()).add(id, resource.clone())).unwrap();
        }
    }
    snapshots("other").prepare_now("s", "", Labels::new()).unwrap();
    let target = Descriptor::new("x/y", Digest::sha256(b"x"), 1);
    let image = Image {
        name: "i".to_owned(),
        target,
        labels: Labels::new(),
        created: jiff::Timestamp::UNIX_EPOCH,
        updated: jiff::Timestamp::UNIX_EPOCH,
    };
    rig.runtime.block_on(images("other").create(image)).unwrap();

    let called = scope().with_lease("of the call");
    rig.store.content_now(&called).delete_now(&blob).unwrap();
    snapshots("of the call").remove_now("s").unwrap();
    rig.runtime.block_on(images("of the call").delete("i", Default::default())).unwrap();
    let resources = |id| rig.runtime.block_on(rig.store.leases(&scope()).resources(id)).unwrap();
    assert_eq!(resources("of the call"), []);
    assert_eq!(resources("other"), held);
}
