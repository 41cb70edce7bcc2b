//! Names, listings and ends of activations.

use lamina_core::mount::ActivateOptions;
use lamina_core::{Kind, MountManager, Namespace, Scope};

use super::super::super::testing::{MountDir, need_root, or_skip};
use super::{mounts_below, names, namespace, open, scope, targets, temporary, tmpfs};

#[test]
fn privileged_from_activate_to_deactivate() {
    need_root!("privileged_from_activate_to_deactivate");
    let dir = MountDir::new();
    let manager = open(dir.path());
    let labels = [("containerd.io/gc.bref.container".to_owned(), "c".to_owned())].into();
    let options = ActivateOptions { labels, ..temporary() };
    let found = or_skip!(
        "privileged_from_activate_to_deactivate",
        manager.activate(&scope(), "b", &[tmpfs()], &options)
    );
    assert_eq!(found.labels, options.labels);
    assert_eq!(manager.info(&namespace(), "b").unwrap(), found);
    let error = manager.activate(&scope(), "b", &[tmpfs()], &options).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    manager.activate(&scope(), "a", &[tmpfs()], &options).unwrap();
    assert_eq!(names(&manager), ["a", "b"]);

    // A name is one of its namespace.
    let other = Namespace::new("other").unwrap();
    assert!(manager.list(&other).unwrap().is_empty());
    assert_eq!(manager.info(&other, "a").unwrap_err().kind(), Kind::NotFound);
    manager.activate(&Scope::new(other.clone()), "a", &[tmpfs()], &options).unwrap();
    manager.deactivate(&other, "a").unwrap();

    for name in ["a", "b"] {
        manager.deactivate(&namespace(), name).unwrap();
        let gone = manager.deactivate(&namespace(), name).unwrap_err();
        assert_eq!(gone.kind(), Kind::NotFound);
        assert_eq!(manager.info(&namespace(), name).unwrap_err().kind(), Kind::NotFound);
    }
    assert!(names(&manager).is_empty() && targets(dir.path()).is_empty());
    assert_eq!(mounts_below(dir.path()), 0);
}

#[test]
fn what_is_refused() {
    let dir = MountDir::new();
    let manager = open(dir.path());
    let error = manager.activate(&scope(), "", &[tmpfs()], &temporary()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    let labels = [(String::new(), String::new())].into();
    let options = ActivateOptions { labels, ..temporary() };
    let error = manager.activate(&scope(), "a", &[tmpfs()], &options).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    let leased = scope().with_lease("no-such-lease");
    let error = manager.activate(&leased, "a", &[tmpfs()], &temporary()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(names(&manager).is_empty() && targets(dir.path()).is_empty());
}

#[test]
fn privileged_of_many_calls_for_one_name_one_wins() {
    need_root!("privileged_of_many_calls_for_one_name_one_wins");
    let dir = MountDir::new();
    let manager = open(dir.path());
    or_skip!(
        "privileged_of_many_calls_for_one_name_one_wins",
        manager.activate(&scope(), "probe", &[tmpfs()], &temporary())
    );
    manager.deactivate(&namespace(), "probe").unwrap();
    for _ in 0..3 {
        let answers: Vec<_> = std::thread::scope(|threads| {
            let calls: Vec<_> = (0..6)
                .map(|_| {
                    threads.spawn(|| manager.activate(&scope(), "a", &[tmpfs()], &temporary()))
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        let lost = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert!(lost.into_iter().all(|error| error.kind() == Kind::AlreadyExists));
        assert_eq!(mounts_below(dir.path()), 1);
        manager.deactivate(&namespace(), "a").unwrap();
    }
}

#[test]
fn privileged_a_busy_end_can_be_tried_again() {
    need_root!("privileged_a_busy_end_can_be_tried_again");
    let dir = MountDir::new();
    let manager = open(dir.path());
    let found = or_skip!(
        "privileged_a_busy_end_can_be_tried_again",
        manager.activate(&scope(), "a", &[tmpfs(), tmpfs()], &temporary())
    );
    let file = std::fs::File::create(format!("{}/f", found.active[1].mount_point)).unwrap();
    let error = manager.deactivate(&namespace(), "a").unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.chain().contains(&found.active[1].mount_point), "{}", error.chain());
    assert!(names(&manager).is_empty());
    drop(file);
    manager.deactivate(&namespace(), "a").unwrap();
    assert_eq!(mounts_below(dir.path()), 0);
    let gone = manager.deactivate(&namespace(), "a").unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
}

#[tokio::test]
async fn privileged_through_the_trait() {
    need_root!("privileged_through_the_trait");
    let dir = MountDir::new();
    let mounts: std::sync::Arc<dyn MountManager> = open(dir.path()).scoped(&scope());
    let found = or_skip!(
        "privileged_through_the_trait",
        mounts.activate("a", &[tmpfs()], temporary()).await
    );
    assert_eq!(mounts.info("a").await.unwrap(), found);
    assert_eq!(mounts.list().await.unwrap(), [found]);
    mounts.deactivate("a").await.unwrap();
    assert_eq!(mounts.info("a").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(mounts_below(dir.path()), 0);
}
