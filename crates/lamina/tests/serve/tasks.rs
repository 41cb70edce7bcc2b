//! Containers of a daemon in a process of its own: what they tell, and what they outlive.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use lamina_api::convert::any;
use lamina_api::proto::containerd::events::{TaskExit, TaskOom, TaskStart};
use lamina_client::{Client, Events};
use lamina_core::task::{CreateTask, ProcessId, Status};
use lamina_core::{Any, Container, Event, Filters, Host as _, Mount, Namespace, Scope};
use lamina_testkit::{containers, or_skip};
use prost::Message as _;

use crate::daemon::{SOON, Site};

/// A namespace nobody else has, whose shims are found by its name.
pub(crate) struct Lab {
    pub(crate) site: Site,
    pub(crate) namespace: String,
}

impl Lab {
    pub(crate) fn new(name: &str, config: &str) -> Lab {
        let site = Site::with_config(config);
        Lab { site, namespace: format!("{name}-{}", std::process::id()) }
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::new(Namespace::new(&self.namespace).unwrap())
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.site.socket()).await.unwrap()
    }

    /// The record of a container that runs `script`.
    pub(crate) fn record(&self, id: &str, script: &str) -> Container {
        let spec = containers::spec("rootfs", &self.namespace, id, script);
        let runc = lamina_api::proto::containerd::runc::v1::Options {
            root: self.site.path("runc").display().to_string(),
            ..Default::default()
        };
        Container {
            id: id.to_owned(),
            labels: BTreeMap::new(),
            image: String::new(),
            runtime: "io.containerd.runc.v2".to_owned(),
            runtime_options: Some(Any {
                type_url: "containerd.runc.v1.Options".to_owned(),
                value: runc.encode_to_vec(),
            }),
            spec: Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
                value: spec.into_bytes(),
            },
            snapshotter: String::new(),
            snapshot_key: String::new(),
            sandbox: String::new(),
            extensions: BTreeMap::new(),
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        }
    }

    /// The root of all of them.
    pub(crate) fn root(&self, busybox: &Path) -> Vec<Mount> {
        let root = self.site.path("busybox");
        containers::make_root(&root, busybox);
        vec![Mount::new("bind", root.display().to_string(), ["rbind", "rw"])]
    }

    /// Makes a container and starts its task.
    pub(crate) async fn start(&self, client: &Client, busybox: &Path, id: &str, script: &str) {
        client.containers(&self.scope()).create(self.record(id, script)).await.unwrap();
        let rootfs = self.root(busybox);
        let task = CreateTask { container: id.to_owned(), rootfs, ..CreateTask::default() };
        let tasks = client.tasks(&self.scope());
        tasks.create(task).await.unwrap_or_else(|error| panic!("{}", error.chain()));
        tasks.start(&ProcessId::init(id)).await.unwrap();
    }

    /// No bundle, mount, shim or control group is left.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        containers::until("the shims end", || self.shims().is_empty());
        for place in ["state", "root"] {
            let place = self.site.path(place).join("io.containerd.runtime.v2.task");
            let left = std::fs::read_dir(place.join(&self.namespace));
            let left: Vec<_> = left.into_iter().flatten().flatten().map(|e| e.path()).collect();
            assert_eq!(left, Vec::<std::path::PathBuf>::new());
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let here = self.site.path("").canonicalize().unwrap().display().to_string();
        let mounted: Vec<&str> = mounts.lines().filter(|line| line.contains(&here)).collect();
        assert_eq!(mounted, Vec::<&str>::new());
        let groups = self.groups();
        assert_eq!(groups, Vec::<std::path::PathBuf>::new());
    }

    /// Their control groups, in the one hierarchy or in each.
    fn groups(&self) -> Vec<std::path::PathBuf> {
        let top = Path::new("/sys/fs/cgroup");
        let below = std::fs::read_dir(top).into_iter().flatten().flatten().map(|e| e.path());
        let mut found = Vec::new();
        for place in below.chain([top.to_owned()]) {
            let groups = std::fs::read_dir(place).into_iter().flatten().flatten();
            let ours = format!("lamina-{}-", self.namespace);
            let named = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().starts_with(&ours);
            found.extend(groups.filter(named).map(|entry| entry.path()));
        }
        found
    }

    pub(crate) fn shims(&self) -> Vec<i32> {
        containers::processes_with(&self.namespace)
    }

    pub(crate) fn kill_shims(&self) {
        for pid in self.shims() {
            // It may have ended.
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill_shims();
            let roots = self.site.path("runc").join(&self.namespace);
            for id in std::fs::read_dir(&roots).into_iter().flatten().flatten() {
                let mut runc = std::process::Command::new("runc");
                runc.arg("--root").arg(&roots).args(["delete", "--force"]).arg(id.file_name());
                let _ = runc.status();
            }
            drop(lamina_testkit::disk::Mounted(self.site.path("").canonicalize().unwrap()));
        }
    }
}

/// The next event of the subscription, and its topic.
async fn next(events: &mut Events) -> (String, Any) {
    let event = tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap().unwrap();
    match event.event {
        Event::Other { topic, payload } => (topic, payload),
        event => panic!("{event:?}"),
    }
}

/// The topic of the next event about a task of this container.
async fn next_of(container: &str, events: &mut Events) -> String {
    loop {
        let (topic, payload) = next(events).await;
        // They all begin with the container.
        let about = TaskOom::decode(payload.value.as_slice()).unwrap();
        if about.container_id == container {
            return topic;
        }
    }
}

fn unpack<M: prost::Message + prost::Name + Default>(payload: Any) -> M {
    any::unpack("event", &any::encode(payload)).unwrap()
}

#[tokio::test]
async fn privileged_what_shims_tell_reaches_subscribers_of_this_daemon_and_the_next() {
    let name = "privileged_what_shims_tell_reaches_subscribers_of_this_daemon_and_the_next";
    let busybox = or_skip!(name, containers::busybox());
    let lab = Lab::new("tell", "");
    let filter = format!("namespace=={},topic~=^/tasks/", lab.namespace);
    let wanted = Filters::parse_all(&[filter]).unwrap();

    let first = lab.site.start();
    let client = lab.client().await;
    let mut events = client.events(&wanted).await.unwrap();
    lab.start(&client, &busybox, "c", "exec sleep 1000").await;
    let c = ProcessId::init("c");
    let pid = client.tasks(&lab.scope()).get(&c).await.unwrap().pid;
    assert_eq!(next(&mut events).await.0, "/tasks/create");
    let (topic, payload) = next(&mut events).await;
    assert_eq!((topic.as_str(), unpack::<TaskStart>(payload).pid), ("/tasks/start", pid));
    client.tasks(&lab.scope()).pause("c").await.unwrap();
    client.tasks(&lab.scope()).resume("c").await.unwrap();
    assert_eq!(next(&mut events).await.0, "/tasks/paused");
    assert_eq!(next(&mut events).await.0, "/tasks/resumed");
    drop((events, client));

    first.kill();
    let second = lab.site.start();
    let client = lab.client().await;
    let mut events = client.events(&wanted).await.unwrap();
    let tasks = client.tasks(&lab.scope());
    let found = tasks.get(&c).await.unwrap();
    assert_eq!((found.pid, found.status), (pid, Status::Running));
    tasks.kill(&c, 9, true).await.unwrap();
    let (topic, payload) = next(&mut events).await;
    let exit: TaskExit = unpack(payload);
    assert_eq!((topic.as_str(), exit.pid, exit.exit_status), ("/tasks/exit", pid, 137));
    tasks.delete("c").await.unwrap();
    client.containers(&lab.scope()).delete("c").await.unwrap();

    // One whose shim vanishes has an end, too. Of the first, the shim may tell of its deletion late, or
    // have ended before.
    lab.start(&client, &busybox, "d", "exec sleep 1000").await;
    assert_eq!(next_of("d", &mut events).await, "/tasks/create");
    assert_eq!(next_of("d", &mut events).await, "/tasks/start");
    lab.kill_shims();
    assert_eq!(next_of("d", &mut events).await, "/tasks/exit");
    assert_eq!(next_of("d", &mut events).await, "/tasks/delete");
    lab.assert_clean();
    drop((events, tasks, client));
    second.stop();
}

#[tokio::test]
async fn an_event_that_is_published_by_a_program() {
    let lab = Lab::new("publish", "");
    let daemon = lab.site.start();
    let client = lab.client().await;
    let mut events = client.events(&Filters::default()).await.unwrap();
    let oom = TaskOom { container_id: "c".to_owned() };
    let publish = |topic: &str, input: &[u8]| {
        // As shims call it.
        let socket = lab.site.socket().display().to_string();
        let args = ["--address", &socket, "publish", "--topic", topic, "--namespace", "pub"];
        let mut command = lab.site.command(&args);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let event = any::pack(&oom).encode_to_vec();
    assert_eq!(publish("/tasks/oom", &event), (Some(0), String::new()));
    let told = tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.namespace.as_str(), "pub");
    let Event::Other { topic, payload } = told.event else { panic!("{told:?}") };
    assert_eq!(
        (topic.as_str(), payload.type_url.as_str()),
        ("/tasks/oom", "containerd.events.TaskOOM")
    );
    let (code, says) = publish("tasks", &event);
    assert!(code == Some(1) && says.contains("topic"), "{says}");
    let (code, says) = publish("/tasks/oom", &[0xff; 9]);
    assert!(code == Some(1) && says.contains("no google.protobuf.Any"), "{says}");
    drop((events, client));
    daemon.stop();
}

#[tokio::test]
async fn privileged_containers_are_started_again_as_their_labels_say() {
    let name = "privileged_containers_are_started_again_as_their_labels_say";
    let busybox = or_skip!(name, containers::busybox());
    let lab = Lab::new(
        "again",
        "version = 4\n[plugins.\"io.containerd.monitor.container.v1.restart\"]\ninterval = \"100ms\"\n",
    );
    let daemon = lab.site.start();
    let client = lab.client().await;
    let (records, tasks) = (client.containers(&lab.scope()), client.tasks(&lab.scope()));
    let log = lab.site.path("log-of-c");
    let uri = format!("file://{}", log.display());
    let label =
        |name: &str, value: &str| (format!("containerd.io/restart.{name}"), value.to_owned());
    // Docker's way: no mounts, and the root in the spec.
    lab.root(&busybox);
    let root = lab.site.path("busybox").display().to_string();
    let spec = |id: &str, script| containers::spec(&root, &lab.namespace, id, script).into_bytes();

    let mut failing = lab.record("c", "");
    failing.spec.value = spec("c", "echo up; exit 1");
    failing.labels =
        [label("status", "running"), label("policy", "on-failure:2"), label("loguri", &uri)].into();
    records.create(failing).await.unwrap();
    tasks.create(CreateTask { container: "c".to_owned(), ..CreateTask::default() }).await.unwrap();
    // It may be taken for one that did not come to be started, and started again, before this.
    let _ = tasks.start(&ProcessId::init("c")).await;

    let mut always = lab.record("d", "");
    always.spec.value = spec("d", "exec sleep 1000");
    always.labels = [label("status", "running")].into();
    records.create(always).await.unwrap();
    let d = ProcessId::init("d");
    let running = async |not: u32| loop {
        match tasks.get(&d).await {
            Ok(found) if found.status == Status::Running && found.pid != not => return found.pid,
            _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    let pid = tokio::time::timeout(2 * SOON, running(0)).await.unwrap();
    // NotFound if it is being started again at this moment.
    tasks.kill(&d, 9, true).await.unwrap();
    tokio::time::timeout(2 * SOON, running(pid)).await.unwrap();
    let mut stopped = records.get("d").await.unwrap();
    stopped.labels = [label("status", "stopped")].into();
    records.update(stopped, &["labels".to_owned()]).await.unwrap();
    let ended = async {
        while tasks.get(&d).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(2 * SOON, ended).await.unwrap();

    let failed = async {
        loop {
            let count =
                records.get("c").await.unwrap().labels.remove("containerd.io/restart.count");
            let ups = std::fs::read_to_string(&log).unwrap_or_default().lines().count();
            if count.as_deref() == Some("2") && ups >= 2 {
                return ups;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert_eq!(tokio::time::timeout(2 * SOON, failed).await.unwrap(), 2);
    assert_eq!(tasks.wait(&ProcessId::init("c")).await.unwrap().status, 1);
    tasks.delete("c").await.unwrap();
    lab.assert_clean();
    drop((records, tasks, client));
    daemon.stop();
}

#[tokio::test]
async fn privileged_a_task_without_memory_is_told_of() {
    let name = "privileged_a_task_without_memory_is_told_of";
    let busybox = or_skip!(name, containers::busybox());
    let lab = Lab::new("oom", "");
    let daemon = lab.site.start();
    let client = lab.client().await;
    let filter = format!("namespace=={},topic==\"/tasks/oom\"", lab.namespace);
    let mut events = client.events(&Filters::parse_all(&[filter]).unwrap()).await.unwrap();
    let mut record = lab.record("c", "x=aaaaaaaa; while :; do x=$x$x; done");
    let mut spec: serde_json::Value = serde_json::from_slice(&record.spec.value).unwrap();
    spec["linux"]["resources"] = serde_json::json!({"memory": {"limit": 16 << 20}});
    record.spec.value = spec.to_string().into_bytes();
    client.containers(&lab.scope()).create(record).await.unwrap();
    let (tasks, c) = (client.tasks(&lab.scope()), ProcessId::init("c"));
    let rootfs = lab.root(&busybox);
    tasks
        .create(CreateTask { container: "c".to_owned(), rootfs, ..CreateTask::default() })
        .await
        .unwrap();
    tasks.start(&c).await.unwrap();
    assert_eq!(tasks.wait(&c).await.unwrap().status, 137);
    let (_, payload) = next(&mut events).await;
    assert_eq!(unpack::<TaskOom>(payload).container_id, "c");
    tasks.delete("c").await.unwrap();
    lab.assert_clean();
    drop((events, tasks, client));
    daemon.stop();
}
