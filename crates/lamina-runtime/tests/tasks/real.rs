//! containerd's shim for runc, with containers of busybox.

use lamina_core::Kind;
use lamina_core::task::{Process, ProcessId, Status};
use lamina_runtime::Timeouts;
use lamina_testkit::or_skip;

use crate::busybox;
use crate::lab::{Lab, soon};

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_task_lives_and_ends() {
    let program = or_skip!("privileged_a_task_lives_and_ends", busybox::missing());
    for runtime in busybox::runtimes() {
        let lab = Lab::new(Timeouts::default());
        let task = busybox::container(&lab, &program, &runtime, "c", "exit 7");
        let init = ProcessId::init("c");
        let pid =
            soon(lab.tasks.create(task.clone())).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        assert!(pid > 0);
        assert_eq!(lab.memory.active(), ["c"]);
        let error = soon(lab.tasks.create(task)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
        let Process { status, pid: seen, .. } = soon(lab.tasks.get(&init)).await.unwrap();
        assert_eq!((status, seen), (Status::Created, pid));

        let (early, other) = (lab.tasks.clone(), lab.tasks.clone());
        let (a, b) = (init.clone(), init.clone());
        let early = tokio::spawn(async move { early.wait(&a).await });
        let other = tokio::spawn(async move { other.wait(&b).await });
        assert_eq!(soon(lab.tasks.start(&init)).await.unwrap(), pid);
        for waiting in [early, other] {
            assert_eq!(soon(waiting).await.unwrap().unwrap().status, 7);
        }
        assert_eq!(soon(lab.tasks.wait(&init)).await.unwrap().status, 7);
        let listed = soon(lab.tasks.list()).await.unwrap();
        assert_eq!(listed[0].exit.map(|exit| exit.status), Some(7));
        let error = soon(lab.tasks.kill(&init, 9, false)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{}", error.chain());

        let deleted = soon(lab.tasks.delete("c")).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        assert_eq!((deleted.pid, deleted.exit.status), (pid, 7));
        assert_eq!(soon(lab.tasks.delete("c")).await.unwrap_err().kind(), Kind::NotFound);
        lab.assert_clean();
        soon(lab.runtime.close()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_running_task_is_killed_not_deleted() {
    let program = or_skip!("privileged_a_running_task_is_killed_not_deleted", busybox::missing());
    for runtime in busybox::runtimes() {
        let mut lab = Lab::new(Timeouts::default());
        let init = ProcessId::init("c");
        let task = busybox::container(&lab, &program, &runtime, "c", "while :; do sleep 1; done");
        soon(lab.tasks.create(task)).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        soon(lab.tasks.start(&init)).await.unwrap();
        let error = soon(lab.tasks.start(&init)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{}", error.chain());
        let error = soon(lab.tasks.delete("c")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{}", error.chain());

        // The shim outlives who started it, and its bundle is all that is needed to find it.
        soon(lab.restart()).await;
        assert_eq!(soon(lab.tasks.get(&init)).await.unwrap().status, Status::Running);
        soon(lab.restart()).await;
        let loaded = soon(lab.runtime.load()).await.unwrap();
        assert_eq!((loaded.tasks.len(), loaded.lost.len()), (1, 0));
        assert!(!soon(lab.tasks.list_pids("c")).await.unwrap().is_empty());

        soon(lab.tasks.kill(&init, 9, false)).await.unwrap();
        assert_eq!(soon(lab.tasks.wait(&init)).await.unwrap().status, 137);
        soon(lab.tasks.delete("c")).await.unwrap();
        lab.assert_clean();
        soon(lab.runtime.close()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_shim_that_vanishes_is_an_end() {
    let program = or_skip!("privileged_a_shim_that_vanishes_is_an_end", busybox::missing());
    for runtime in busybox::runtimes() {
        let mut lab = Lab::new(Timeouts::default());
        let init = ProcessId::init("c");
        for restart in [false, true] {
            let task =
                busybox::container(&lab, &program, &runtime, "c", "while :; do sleep 1; done");
            soon(lab.tasks.create(task)).await.unwrap_or_else(|e| panic!("{}", e.chain()));
            soon(lab.tasks.start(&init)).await.unwrap();
            let before = lab.memory.events().len();
            if restart {
                soon(lab.runtime.close()).await;
                lab.kill_shims();
                soon(lab.restart()).await;
                let loaded = soon(lab.runtime.load()).await.unwrap();
                assert_eq!((loaded.tasks.len(), loaded.lost.len()), (0, 1));
            } else {
                let (tasks, process) = (lab.tasks.clone(), init.clone());
                let waiting = tokio::spawn(async move { tasks.wait(&process).await });
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                lab.kill_shims();
                assert_eq!(soon(waiting).await.unwrap().unwrap().status, 137);
            }
            let topics: Vec<String> =
                lab.memory.events().into_iter().skip(before).map(|(topic, _)| topic).collect();
            assert_eq!(topics, ["/tasks/exit", "/tasks/delete"]);
            assert_eq!(soon(lab.tasks.get(&init)).await.unwrap_err().kind(), Kind::NotFound);
            lab.assert_clean();
        }
        soon(lab.runtime.close()).await;
    }
}

/// What the shim or runc refuses is told in its words, and nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_what_cannot_be_run_is_told_and_undone() {
    let program = or_skip!("privileged_what_cannot_be_run_is_told_and_undone", busybox::missing());
    for runtime in busybox::runtimes() {
        let lab = Lab::new(Timeouts::default());
        let task = busybox::container(&lab, &program, &runtime, "c", "true");
        let good = || busybox::spec("rootfs", &lab.namespace, "c", "true");
        for (spec, runc, says) in [
            ("{}".to_owned(), "", ""),
            ("no spec".to_owned(), "", "invalid character"),
            (good().replace("\"sh\"", "\"/absent\""), "", "/absent"),
            (good().replace("\"cwd\":\"/\"", "\"cwd\":\"here\""), "", "absolute path"),
            (good(), "/absent/runc", "/absent/runc"),
        ] {
            lab.container_by("c", &runtime, spec.clone(), runc);
            let error = soon(lab.tasks.create(task.clone())).await.unwrap_err();
            let chain = error.chain();
            assert!(chain.contains("create task \"c\"") && chain.contains(says), "{spec}: {chain}");
            assert_eq!(soon(lab.tasks.list()).await.unwrap(), []);
            lab.assert_clean();
        }
        // The name is free.
        lab.container("c", &runtime, good());
        soon(lab.tasks.create(task)).await.unwrap_or_else(|error| panic!("{}", error.chain()));
        soon(lab.tasks.delete("c")).await.unwrap();
        lab.assert_clean();
        soon(lab.runtime.close()).await;
    }
}

/// Of criu, which Debian has not, runc says that it is missing, and the task runs on.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_checkpoint_without_criu_says_so() {
    let name = "privileged_a_checkpoint_without_criu_says_so";
    let program = or_skip!(name, busybox::missing());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join("criu").exists());
    or_skip!(name, if there { Err("there is a criu here".to_owned()) } else { Ok(()) });
    for runtime in busybox::runtimes() {
        let lab = Lab::new(Timeouts::default());
        let task = busybox::container(&lab, &program, &runtime, "c", "exec sleep 1000");
        soon(lab.tasks.create(task)).await.unwrap();
        let init = ProcessId::init("c");
        soon(lab.tasks.start(&init)).await.unwrap();
        let error = soon(lab.tasks.checkpoint("c", Default::default())).await.unwrap_err();
        assert!(error.chain().contains("criu"), "{}", error.chain());
        assert_eq!(std::fs::read_dir(lab.bundle("c").join("work")).unwrap().count(), 0);
        soon(lab.tasks.kill(&init, 9, true)).await.unwrap();
        soon(lab.tasks.wait(&init)).await.unwrap();
        soon(lab.tasks.delete("c")).await.unwrap();
        lab.assert_clean();
        soon(lab.runtime.close()).await;
    }
}
