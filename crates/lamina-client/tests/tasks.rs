//! Tasks over the socket, in containerd's shim.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are tests.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use lamina_client::Client;
use lamina_core::task::{CreateTask, ExecProcess, ProcessId, Status, Stdio};
use lamina_core::{Any, Container, Error, Filters, Host as _, Kind, Mount};
use lamina_testkit::{containers, or_skip};
use support::{Server, scope, serve, socket};

const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1";

/// Fails a test that hangs.
async fn soon<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(Duration::from_secs(120), call).await {
        Ok(answer) => answer,
        Err(_) => panic!("it hangs"),
    }
}

async fn good<T>(call: impl Future<Output = Result<T, Error>>) -> T {
    soon(call).await.unwrap_or_else(|error| panic!("{}", error.chain()))
}

async fn bad<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Error>>, kind: Kind) {
    let error = soon(call).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{}", error.chain());
}

/// Records a container `c` that runs `script`, and answers what its task is made from.
async fn container(client: &Client, top: &Path, namespace: &str, script: &str) -> CreateTask {
    let root = top.join("busybox");
    containers::make_root(&root, &containers::busybox().unwrap());
    let spec = containers::spec("rootfs", namespace, "c", script);
    // runc's own record of it stays in the test's folder.
    let runc = lamina_api::proto::containerd::runc::v1::Options {
        root: top.join("runc").display().to_string(),
        ..Default::default()
    };
    let container = Container {
        id: "c".to_owned(),
        labels: BTreeMap::new(),
        image: String::new(),
        runtime: "io.containerd.runc.v2".to_owned(),
        runtime_options: Some(Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: prost::Message::encode_to_vec(&runc),
        }),
        spec: Any { type_url: format!("{SPEC}/Spec"), value: spec.into_bytes() },
        snapshotter: String::new(),
        snapshot_key: String::new(),
        sandbox: String::new(),
        extensions: BTreeMap::new(),
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    };
    good(client.containers(&scope(namespace)).create(container)).await;
    CreateTask {
        container: "c".to_owned(),
        // As BuildKit has it.
        rootfs: vec![Mount::new("bind", root.display().to_string(), ["rbind", "rw"])],
        ..CreateTask::default()
    }
}

/// What a test that fails leaves is taken away.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pid in containers::processes_with(&self.0) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_every_call_about_a_task_over_the_socket() {
    or_skip!("privileged_every_call_about_a_task_over_the_socket", containers::busybox());
    let namespace = Namespace(format!("client-{}", std::process::id()));
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_in(dir.path()).await;
    let client = &server.client;
    let tasks = client.tasks(&scope(&namespace.0));
    let task = container(client, dir.path(), &namespace.0, "echo made; exec sleep 1000").await;
    let c = ProcessId::init("c");
    bad(tasks.get(&c), Kind::NotFound).await;

    let out = dir.path().join("out");
    let stdout = format!("file://{}", out.display());
    let stdio = Stdio { stdout: stdout.clone(), stderr: stdout, ..Stdio::default() };
    let pid = good(tasks.create(CreateTask { stdio: stdio.clone(), ..task.clone() })).await;
    bad(tasks.create(task), Kind::AlreadyExists).await;
    let created = good(tasks.get(&c)).await;
    assert_eq!((created.pid, created.status, &created.id), (pid, Status::Created, &c));
    assert_eq!(created.stdio.stdout, stdio.stdout);
    let waiting = {
        let (tasks, c) = (client.tasks(&scope(&namespace.0)), c.clone());
        tokio::spawn(async move { tasks.wait(&c).await })
    };
    assert_eq!(good(tasks.start(&c)).await, pid);
    bad(tasks.start(&c), Kind::FailedPrecondition).await;
    bad(tasks.delete("c"), Kind::FailedPrecondition).await;
    let listed = good(tasks.list()).await;
    assert_eq!(listed.iter().map(|p| (&p.id, p.pid)).collect::<Vec<_>>(), [(&c, pid)]);
    assert!(good(tasks.list_pids("c")).await.iter().any(|process| process.pid == pid));

    good(tasks.pause("c")).await;
    assert_eq!(good(tasks.get(&c)).await.status, Status::Paused);
    good(tasks.resume("c")).await;
    let limits = br#"{"pids":{"limit":55}}"#.to_vec();
    let limits = Any { type_url: format!("{SPEC}/LinuxResources"), value: limits };
    good(tasks.update("c", Some(limits), BTreeMap::new())).await;
    let metrics = async |filter| {
        good(tasks.metrics(Filters::parse_all(&[filter]).unwrap())).await.into_iter().map(|m| m.id)
    };
    assert_eq!(metrics("id==c").await.collect::<Vec<_>>(), ["c"]);
    assert_eq!(metrics("id==d").await.count(), 0);

    let spec = serde_json::to_vec(&containers::process("read x; exit 5")).unwrap();
    let exec = ExecProcess {
        container: "c".to_owned(),
        exec: "e".to_owned(),
        stdio: Stdio::default(),
        spec: Any { type_url: format!("{SPEC}/Process"), value: spec },
    };
    bad(tasks.exec(ExecProcess { exec: String::new(), ..exec.clone() }), Kind::InvalidArgument)
        .await;
    good(tasks.exec(exec.clone())).await;
    bad(tasks.exec(exec), Kind::AlreadyExists).await;
    let e = ProcessId::new("c", "e");
    assert_eq!(good(tasks.get(&e)).await.id, e);
    assert!(good(tasks.start(&e)).await > 0);
    good(tasks.close_io(&e)).await;
    // Its input is nowhere: it reads to the end at once.
    assert_eq!(good(tasks.wait(&e)).await.status, 5);
    let deleted = good(tasks.delete_process(&e)).await;
    assert_eq!((deleted.id, deleted.exit.status), (e, 5));
    bad(tasks.delete_process(&c), Kind::InvalidArgument).await;
    bad(tasks.resize_pty(&ProcessId::new("c", "none"), 80, 25), Kind::NotFound).await;

    good(tasks.kill(&c, 9, true)).await;
    assert_eq!(good(async { waiting.await.unwrap() }).await.status, 137);
    let ended = good(tasks.get(&c)).await;
    assert_eq!((ended.status, ended.exit.map(|exit| exit.status)), (Status::Stopped, Some(137)));
    bad(tasks.kill(&c, 9, false), Kind::NotFound).await;
    let deleted = good(tasks.delete("c")).await;
    assert_eq!((deleted.id, deleted.pid, deleted.exit.status), (c.clone(), pid, 137));
    bad(tasks.delete("c"), Kind::NotFound).await;
    bad(tasks.wait(&c), Kind::NotFound).await;
    let mut said = String::new();
    File::open(&out).unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "made\n");
    containers::until("the shim ends", || containers::processes_with(&namespace.0).is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_task_outlives_the_daemon() {
    or_skip!("privileged_a_task_outlives_the_daemon", containers::busybox());
    let namespace = Namespace(format!("lives-{}", std::process::id()));
    let dir = tempfile::tempdir().unwrap();
    let first = serve(dir.path()).await;
    let client = Client::connect(socket(dir.path())).await.unwrap();
    let tasks = client.tasks(&scope(&namespace.0));
    let task = container(&client, dir.path(), &namespace.0, "exec sleep 1000").await;
    let c = ProcessId::init("c");
    let pid = good(tasks.create(task)).await;
    good(tasks.start(&c)).await;
    let waiting = {
        let (tasks, c) = (client.tasks(&scope(&namespace.0)), c.clone());
        tokio::spawn(async move { tasks.wait(&c).await })
    };
    // It may be before the call: then there is nobody to call.
    good(async { first.drain().await }).await;
    bad(async { waiting.await.unwrap() }, Kind::Unavailable).await;

    let second = serve(dir.path()).await;
    let running = good(tasks.get(&c)).await;
    assert_eq!((running.pid, running.status), (pid, Status::Running));
    good(tasks.kill(&c, 15, false)).await;
    // sleep as the first process of its namespace does not heed it.
    good(tasks.kill(&c, 9, false)).await;
    assert_eq!(good(tasks.wait(&c)).await.status, 137);
    assert_eq!(good(tasks.delete("c")).await.pid, pid);
    containers::until("the shim ends", || containers::processes_with(&namespace.0).is_empty());
    drop((tasks, client));
    second.drain().await.unwrap();
}
