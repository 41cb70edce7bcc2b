//! Programs that pretend to be shims. Whatever they do, there is an error that tells, and nothing left.

use std::time::{Duration, Instant};

use lamina_core::task::{CreateTask, ProcessId};
use lamina_core::{Kind, Mount};
use lamina_runtime::Timeouts;
use lamina_testkit::env::tinyfs::TinyFs;
use lamina_testkit::or_skip;

use crate::lab::{Lab, soon};

fn hasty() -> Timeouts {
    let short = Duration::from_millis(500);
    Timeouts { start: short, cleanup: short, shutdown: short, ..Timeouts::default() }
}

#[tokio::test]
async fn liars_leave_nothing() {
    let cases = [
        ("exit 3", Kind::Internal, "exit status: 3"),
        ("echo it is broken >&2; exit 1", Kind::Internal, "it is broken"),
        ("exit 0", Kind::Internal, "said nothing"),
        ("echo what do you want", Kind::Internal, "what do you want"),
        ("head -c 3000000 /dev/zero", Kind::Internal, "does not stop talking"),
        (
            r#"echo '{"version":9,"address":"unix:///x","protocol":"ttrpc"}'"#,
            Kind::Unimplemented,
            "version 9",
        ),
        (
            r#"echo '{"version":3,"address":"unix:///x","protocol":"grpc"}'"#,
            Kind::Unimplemented,
            "grpc",
        ),
        ("echo vsock://2:1024", Kind::Internal, "vsock"),
        ("echo unix:///nonexistent/socket", Kind::Unavailable, "/nonexistent/socket"),
        ("sleep 1000", Kind::DeadlineExceeded, "did not end in 500ms"),
        ("sleep 1000 & sleep 1000", Kind::DeadlineExceeded, "did not end in 500ms"),
        ("kill -9 $$", Kind::Internal, "signal: 9"),
    ];
    for (script, kind, says) in cases {
        let lab = Lab::new(hasty());
        let shim = lab.script(script);
        lab.container("c", &shim, "{}".to_owned());
        let rootfs = vec![Mount::new("managed", "/nonexistent", ["ro"])];
        let task = CreateTask { container: "c".to_owned(), rootfs, ..Default::default() };
        let error = soon(lab.tasks.create(task)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{script}: {}", error.chain());
        let chain = error.chain();
        assert!(chain.contains(says) && chain.contains("create task \"c\""), "{script}: {chain}");
        lab.assert_clean();
        let gone = soon(lab.tasks.get(&ProcessId::init("c"))).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::NotFound);
        soon(lab.runtime.close()).await;
    }
}

/// A caller who goes does not stop the work half-way.
#[tokio::test]
async fn a_create_nobody_waits_for_is_undone_too() {
    let lab = Lab::new(hasty());
    let shim = lab.script("sleep 1000");
    lab.container("c", &shim, "{}".to_owned());
    let task = CreateTask { container: "c".to_owned(), ..Default::default() };
    let gone = tokio::time::timeout(Duration::from_millis(100), lab.tasks.create(task)).await;
    assert!(gone.is_err());
    let start = Instant::now();
    while lab.bundle("c").exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "the bundle stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    soon(lab.runtime.close()).await;
    lab.assert_clean();
}

#[tokio::test]
async fn bad_names_and_missing_shims_are_told() {
    let lab = Lab::new(hasty());
    lab.container("c", "io.containerd.nobody.v7", "{}".to_owned());
    lab.container("d", "nonsense", "{}".to_owned());
    for (container, kind) in [
        ("c", Kind::NotFound),
        ("d", Kind::InvalidArgument),
        ("e", Kind::NotFound),
        ("../c", Kind::InvalidArgument),
    ] {
        let task = CreateTask { container: container.to_owned(), ..Default::default() };
        let error = soon(lab.tasks.create(task)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{container}: {}", error.chain());
    }
    assert_eq!(lab.tasks.list().await.unwrap(), []);
    lab.assert_clean();
    soon(lab.runtime.close()).await;
}

/// What a shim says of itself goes through as it is; what is none is told.
#[tokio::test(flavor = "multi_thread")]
async fn shims_are_asked_what_they_are() {
    use lamina_api::proto::containerd::types::RuntimeInfo;
    let lab = Lab::new(Timeouts::default());
    // A message whose first field is a text of four bytes.
    let shim = lab.script(r"[ $1 = -info ] && printf '\012\004fake'; echo a warning >&2");
    let info = soon(lab.runtime.info(&shim, None)).await.unwrap();
    assert_eq!(info.type_url, "containerd.types.RuntimeInfo");
    let read: RuntimeInfo = prost::Message::decode(info.value.as_slice()).unwrap();
    assert_eq!(read.name, "fake");
    for (script, kind, says) in [
        ("echo flag provided but not defined: -info >&2; exit 2", Kind::Unimplemented, "-info"),
        ("echo no runc here >&2; exit 1", Kind::Internal, "no runc here"),
        (r"printf '\377\377\377'", Kind::Internal, "ask shim"),
    ] {
        let shim = lab.script(script);
        let error = soon(lab.runtime.info(&shim, None)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(error.chain().contains(says), "{}", error.chain());
    }
    let none = soon(lab.runtime.info("io.absent.v1", None)).await.unwrap_err();
    assert_eq!(none.kind(), Kind::NotFound);
    soon(lab.runtime.close()).await;
}

#[tokio::test]
async fn privileged_a_full_disk_is_told_and_nothing_is_left() {
    let name = "privileged_a_full_disk_is_told_and_nothing_is_left";
    let disk = or_skip!(name, TinyFs::tmpfs(256 << 10));
    let lab = Lab::new(hasty());
    let state = lab.dir.path().join("state");
    std::fs::remove_dir(&state).unwrap();
    std::os::unix::fs::symlink(disk.path(), &state).unwrap();
    let shim = lab.script("echo it runs >&2; exit 1");
    lab.container("c", &shim, format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20)));
    let task = CreateTask { container: "c".to_owned(), ..Default::default() };
    let error = soon(lab.tasks.create(task.clone())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{}", error.chain());
    lab.assert_clean();
    lab.container("c", &shim, "{}".to_owned());
    let error = soon(lab.tasks.create(task)).await.unwrap_err();
    assert!(error.chain().contains("it runs"), "{}", error.chain());
    lab.assert_clean();
    soon(lab.runtime.close()).await;
}
