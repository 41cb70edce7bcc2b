//! Every verb, over each real shim that is here.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use lamina_core::task::{CreateTask, ExecProcess, ProcessId, Status, Stdio};
use lamina_core::{Any, Filters, Kind};
use lamina_runtime::Timeouts;
use lamina_testkit::or_skip;
use rustix::process::Signal;

use crate::busybox;
use crate::lab::{Lab, soon};

const LOOP: &str = "while :; do sleep 1; done";

fn exec(container: &str, name: &str, script: &str, stdio: Stdio) -> ExecProcess {
    let process = format!(
        r#"{{"user":{{"uid":0,"gid":0}},"cwd":"/","env":["PATH=/bin"],"terminal":{},
            "args":["sh","-c","{script}"]}}"#,
        stdio.terminal
    );
    ExecProcess {
        container: container.to_owned(),
        exec: name.to_owned(),
        stdio,
        spec: Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
            value: process.into_bytes(),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_processes_beside_the_first() {
    let program = or_skip!("privileged_processes_beside_the_first", busybox::missing());
    for runtime in busybox::runtimes() {
        let lab = Lab::new(Timeouts::default());
        let init = ProcessId::init("c");
        let task = busybox::container(&lab, &program, &runtime, "c", LOOP);
        soon(lab.tasks.create(task)).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        soon(lab.tasks.start(&init)).await.unwrap();

        let process = exec("c", "e", "exit 5", Stdio::default());
        soon(lab.tasks.exec(process.clone())).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        let twice = soon(lab.tasks.exec(process.clone())).await.unwrap_err();
        assert_eq!(twice.kind(), Kind::AlreadyExists, "{}", twice.chain());
        for bad in ["", "../e"] {
            let process = ExecProcess { exec: bad.to_owned(), ..process.clone() };
            let error = soon(lab.tasks.exec(process)).await.unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{bad}");
        }
        let beside = ProcessId::new("c", "e");
        let (tasks, waited) = (lab.tasks.clone(), beside.clone());
        let waiting = tokio::spawn(async move { tasks.wait(&waited).await });
        assert!(soon(lab.tasks.start(&beside)).await.unwrap() > 0);
        assert_eq!(soon(waiting).await.unwrap().unwrap().status, 5);
        assert_eq!(soon(lab.tasks.get(&beside)).await.unwrap().status, Status::Stopped);
        assert_eq!(soon(lab.tasks.delete_process(&beside)).await.unwrap().exit.status, 5);
        let gone = soon(lab.tasks.delete_process(&beside)).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::NotFound, "{}", gone.chain());
        let first = soon(lab.tasks.delete_process(&init)).await.unwrap_err();
        assert_eq!(first.kind(), Kind::InvalidArgument);

        soon(lab.tasks.exec(exec("c", "f", LOOP, Stdio::default()))).await.unwrap();
        let beside = ProcessId::new("c", "f");
        soon(lab.tasks.start(&beside)).await.unwrap();
        let runs = soon(lab.tasks.delete_process(&beside)).await.unwrap_err();
        assert_eq!(runs.kind(), Kind::FailedPrecondition, "{}", runs.chain());
        assert!(soon(lab.tasks.list_pids("c")).await.unwrap().len() >= 2);
        soon(lab.tasks.kill(&beside, 9, false)).await.unwrap();
        assert_eq!(soon(lab.tasks.wait(&beside)).await.unwrap().status, 137);

        soon(lab.tasks.kill(&init, 9, true)).await.unwrap();
        assert_eq!(soon(lab.tasks.wait(&init)).await.unwrap().status, 137);
        soon(lab.tasks.delete("c")).await.unwrap();
        soon(lab.runtime.close()).await;
        lab.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_limits_and_numbers() {
    let program = or_skip!("privileged_limits_and_numbers", busybox::missing());
    for runtime in busybox::runtimes() {
        let lab = Lab::new(Timeouts::default());
        let init = ProcessId::init("c");
        let task = busybox::container(&lab, &program, &runtime, "c", LOOP);
        soon(lab.tasks.create(task)).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        soon(lab.tasks.start(&init)).await.unwrap();

        soon(lab.tasks.pause("c")).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        assert_eq!(soon(lab.tasks.get(&init)).await.unwrap().status, Status::Paused);
        let frozen = soon(lab.tasks.delete("c")).await.unwrap_err();
        assert_eq!(frozen.kind(), Kind::FailedPrecondition);
        soon(lab.tasks.resume("c")).await.unwrap();
        assert_eq!(soon(lab.tasks.get(&init)).await.unwrap().status, Status::Running);

        let limits = Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned(),
            value: br#"{"pids":{"limit":55}}"#.to_vec(),
        };
        let updated = soon(lab.tasks.update("c", Some(limits), BTreeMap::new())).await;
        updated.unwrap_or_else(|e| panic!("{}", e.chain()));
        let metrics = async |filter: &str| {
            soon(lab.tasks.metrics(Filters::parse_all(&[filter]).unwrap())).await.unwrap()
        };
        let found = metrics("id==c").await;
        assert_eq!(found[0].id, "c");
        assert!(found[0].data.type_url.starts_with("io.containerd.cgroups.v"), "{found:?}");
        assert!(metrics("id==d").await.is_empty());

        soon(lab.tasks.kill(&init, 9, false)).await.unwrap();
        soon(lab.tasks.wait(&init)).await.unwrap();
        soon(lab.tasks.delete("c")).await.unwrap();
        soon(lab.runtime.close()).await;
        lab.assert_clean();
    }
}

/// With a terminal: its size, and what goes in and out.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_streams_and_terminals() {
    let program = or_skip!("privileged_streams_and_terminals", busybox::missing());
    for runtime in busybox::runtimes() {
        let lab = Lab::new(Timeouts::default());
        let init = ProcessId::init("c");
        // The shims want both outputs or none.
        let stderr = lab.fifo("err");
        let (stdin, stdout) = (lab.fifo("in"), lab.fifo("out"));
        let stdio = Stdio { stdin, stdout, stderr, terminal: false };
        let open = |path: &str| std::fs::File::options().read(true).write(true).open(path).unwrap();
        let (mut stdin, mut stdout) = (open(&stdio.stdin), open(&stdio.stdout));
        let _stderr = open(&stdio.stderr);
        let task = busybox::container(&lab, &program, &runtime, "c", "cat; exit 3");
        let task = CreateTask { stdio, ..task };
        soon(lab.tasks.create(task)).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        soon(lab.tasks.start(&init)).await.unwrap();
        stdin.write_all(b"hello").unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut said = [0; 5];
            stdout.read_exact(&mut said).map(|()| said)
        });
        assert_eq!(&soon(read).await.unwrap().unwrap(), b"hello");
        drop(stdin);
        soon(lab.tasks.close_io(&init)).await.unwrap();
        assert_eq!(soon(lab.tasks.wait(&init)).await.unwrap().status, 3);
        soon(lab.tasks.delete("c")).await.unwrap();

        let stdio = Stdio {
            stdin: lab.fifo("in2"),
            stdout: lab.fifo("out2"),
            stderr: String::new(),
            terminal: true,
        };
        let (mut stdin, mut stdout) = (open(&stdio.stdin), open(&stdio.stdout));
        let task = busybox::container(&lab, &program, &runtime, "d", LOOP);
        soon(lab.tasks.create(task)).await.unwrap();
        soon(lab.tasks.start(&ProcessId::init("d"))).await.unwrap();
        let shell = ProcessId::new("d", "shell");
        soon(lab.tasks.exec(exec("d", "shell", "read x; busybox stty size", stdio))).await.unwrap();
        soon(lab.tasks.start(&shell)).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        soon(lab.tasks.resize_pty(&shell, 100, 50)).await.unwrap();
        stdin.write_all(b"\n").unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let (mut said, mut part) = (String::new(), [0; 64]);
            while !said.contains("50 100") {
                let bytes = stdout.read(&mut part).unwrap();
                said.push_str(&String::from_utf8_lossy(&part[..bytes]));
            }
        });
        soon(read).await.unwrap();
        assert_eq!(soon(lab.tasks.wait(&shell)).await.unwrap().status, 0);
        soon(lab.tasks.kill(&ProcessId::init("d"), 9, true)).await.unwrap();
        soon(lab.tasks.wait(&ProcessId::init("d"))).await.unwrap();
        soon(lab.tasks.delete("d")).await.unwrap();
        soon(lab.runtime.close()).await;
        lab.assert_clean();
    }
}

/// A shim that hangs is not one that is dead, and what nobody waits for any more harms nothing.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_shim_that_hangs_keeps_its_task() {
    let program = or_skip!("privileged_a_shim_that_hangs_keeps_its_task", busybox::missing());
    for runtime in busybox::runtimes() {
        let timeouts = Timeouts { state: Duration::from_millis(300), ..Timeouts::default() };
        let lab = Lab::new(timeouts);
        let init = ProcessId::init("c");
        // As Docker does: no mounts, and a root of its own.
        let mut task = busybox::container(&lab, &program, &runtime, "c", LOOP);
        let root = std::mem::take(&mut task.rootfs).remove(0).source;
        lab.container("c", &runtime, busybox::spec(&root, &lab.namespace, "c", LOOP));
        soon(lab.tasks.create(task)).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        soon(lab.tasks.start(&init)).await.unwrap();

        lab.stop_shims();
        let huge = "x".repeat(300_000);
        for _ in 0..5 {
            assert_eq!(soon(lab.tasks.get(&init)).await.unwrap().status, Status::Unknown);
            // More than a socket takes, and given up half-way.
            let spec = exec("c", "e", &huge, Stdio::default());
            let short = Duration::from_millis(50);
            assert!(tokio::time::timeout(short, lab.tasks.exec(spec)).await.is_err());
        }
        let listed = soon(lab.tasks.list()).await.unwrap();
        assert_eq!(listed.iter().map(|p| p.status).collect::<Vec<_>>(), [Status::Unknown]);
        lab.signal_shims(Signal::CONT);
        while soon(lab.tasks.get(&init)).await.unwrap().status == Status::Unknown {}
        assert_eq!(soon(lab.tasks.get(&init)).await.unwrap().status, Status::Running);

        soon(lab.tasks.kill(&init, 9, true)).await.unwrap();
        soon(lab.tasks.wait(&init)).await.unwrap();
        soon(lab.tasks.delete("c")).await.unwrap();
        soon(lab.runtime.close()).await;
        lab.assert_clean();
    }
}
