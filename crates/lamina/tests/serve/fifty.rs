//! Many containers at once, and a daemon that is killed below them.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use lamina_client::Client;
use lamina_core::snapshot::{CommitOptions, Info};
use lamina_core::task::{CreateTask, ProcessId, Status};
use lamina_core::{Filters, Host as _, Labels, Snapshotter};
use lamina_testkit::{containers, or_skip};
use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::SOON;
use crate::tasks::Lab;

const MANY: usize = 50;

/// A committed snapshot with a root of busybox.
async fn base(lab: &Lab, snapshots: &dyn Snapshotter, busybox: &Path) {
    let mounts = snapshots.prepare("fill", "", Labels::new()).await.unwrap();
    // Of native, a bind mount: its source is where the files are.
    let root = Path::new(&mounts[0].source).join("root");
    containers::make_root(&root, busybox);
    for entry in std::fs::read_dir(&root).unwrap() {
        let entry = entry.unwrap();
        std::fs::rename(entry.path(), Path::new(&mounts[0].source).join(entry.file_name()))
            .unwrap();
    }
    std::fs::remove_dir(&root).unwrap();
    let labels = Labels::from([("containerd.io/gc.root".to_owned(), lab.namespace.clone())]);
    let kept = CommitOptions { labels, ..CommitOptions::default() };
    snapshots.commit("base", "fill", kept).await.unwrap();
}

/// Makes a container with a snapshot of its own, and starts its task.
async fn start(lab: &Lab, client: &Client, id: &str) {
    let scope = lab.scope();
    let mut record = lab.record(id, "exec sleep 1000");
    record.snapshotter = "native".to_owned();
    record.snapshot_key = id.to_owned();
    client.containers(&scope).create(record).await.unwrap();
    let snapshots = client.snapshotter(&scope, "native").unwrap();
    let rootfs = snapshots.prepare(id, "base", Labels::new()).await.unwrap();
    let task = CreateTask { container: id.to_owned(), rootfs, ..CreateTask::default() };
    let tasks = client.tasks(&scope);
    tasks.create(task).await.unwrap_or_else(|error| panic!("{id}: {}", error.chain()));
    tasks.start(&ProcessId::init(id)).await.unwrap();
}

/// Ends and removes a container with all that is its own.
async fn remove(lab: &Lab, client: &Client, id: &str) {
    let scope = lab.scope();
    let (tasks, init) = (client.tasks(&scope), ProcessId::init(id));
    // One that has ended, or whose shim has, has nothing left to kill.
    if tasks.kill(&init, 9, true).await.is_ok() {
        tasks.wait(&init).await.unwrap();
    }
    match tasks.delete(id).await {
        Err(error) if !error.is_not_found() => panic!("{id}: {}", error.chain()),
        _ => {}
    }
    client.snapshotter(&scope, "native").unwrap().remove(id).await.unwrap();
    client.containers(&scope).delete(id).await.unwrap();
}

/// Kills a process, and waits until it is gone.
fn end(pid: u32) {
    let raw = i32::try_from(pid).unwrap();
    kill_process(Pid::from_raw(raw).unwrap(), Signal::KILL).unwrap();
    // Of a dead one that nobody has waited for, there is no line.
    containers::until("it ends", || arguments(raw).is_empty());
}

/// The tasks, once they have the states that `expected` tells of them. On a host that is busy, a shim does
/// not always answer in time.
async fn settled(
    lab: &Lab,
    client: &Client,
    expected: impl Fn(&str) -> Status,
) -> BTreeMap<String, u32> {
    let tasks = client.tasks(&lab.scope());
    let start = std::time::Instant::now();
    loop {
        let listed = tasks.list().await.unwrap();
        if listed.iter().all(|process| process.status == expected(&process.id.container)) {
            return listed.into_iter().map(|process| (process.id.container, process.pid)).collect();
        }
        assert!(start.elapsed() < SOON, "{listed:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn privileged_fifty_containers_at_once_outlive_a_daemon_that_is_killed() {
    let name = "privileged_fifty_containers_at_once_outlive_a_daemon_that_is_killed";
    let busybox = or_skip!(name, containers::busybox());
    let lab = Lab::new("fifty", "");
    let first = lab.site.start();
    let client = lab.client().await;
    let snapshots = client.snapshotter(&lab.scope(), "native").unwrap();
    base(&lab, &*snapshots, &busybox).await;
    let ids: Vec<String> = (0..MANY).map(|n| format!("c{n}")).collect();
    join_all(ids.iter().map(|id| start(&lab, &client, id))).await;
    let pids = settled(&lab, &client, |_| Status::Running).await;
    assert_eq!(pids.len(), MANY);
    drop((snapshots, client));

    first.kill();
    // While nobody looks, some end by themselves, and one loses its shim.
    let ended = &ids[..5];
    ended.iter().for_each(|id| end(pids[id]));
    let lost = &ids[5];
    let shims = lab.shims().into_iter();
    let shim = shims.filter(|pid| is_shim_of(*pid, lost)).collect::<Vec<_>>();
    assert_eq!(shim.len(), 1, "{shim:?}");
    end(u32::try_from(shim[0]).unwrap());

    let second = lab.site.start();
    let client = lab.client().await;
    let tasks = client.tasks(&lab.scope());
    for id in ended {
        let exit = tokio::time::timeout(SOON, tasks.wait(&ProcessId::init(id))).await;
        assert_eq!(exit.unwrap().unwrap().status, 137, "{id}");
    }
    let gone = tasks.get(&ProcessId::init(lost)).await.unwrap_err();
    assert!(gone.is_not_found(), "{}", gone.chain());
    let over = |id: &str| ended.iter().any(|ended| ended == id);
    let state = |id: &str| if over(id) { Status::Stopped } else { Status::Running };
    let mut expected = pids.clone();
    expected.remove(lost);
    assert_eq!(settled(&lab, &client, state).await, expected);

    join_all(ids.iter().map(|id| remove(&lab, &client, id))).await;
    assert_eq!(tasks.list().await.unwrap(), []);
    lab.assert_clean();
    let snapshots = client.snapshotter(&lab.scope(), "native").unwrap();
    let left: Vec<Info> = snapshots.walk(Filters::default()).try_concat().await.unwrap();
    assert_eq!(left.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["base"]);
    drop((snapshots, tasks, client));
    second.stop();
}

/// Whether a process has `id` as one of its arguments.
fn is_shim_of(pid: i32, id: &str) -> bool {
    arguments(pid).split(|byte| *byte == 0).any(|argument| argument == id.as_bytes())
}

/// Each ends with a zero.
fn arguments(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}
