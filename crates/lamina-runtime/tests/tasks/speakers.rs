//! A task service made here, which answers as a test wants.

use lamina_api::proto::containerd::task::v2 as api;
use lamina_core::Kind;
use lamina_core::task::{CreateTask, ProcessId};
use lamina_runtime::Timeouts;
use lamina_testkit::shim::{Code, Reply, Shim};
use prost::Message;

use crate::lab::{Lab, soon};

/// Serves in the lab, and makes a container whose shim says so.
fn serve(
    lab: &Lab,
    version: u32,
    reply: impl Fn(&str, &str) -> Reply + Send + Sync + 'static,
) -> Shim {
    let shim =
        Shim::serve(lab.dir.path(), version, move |service, method, _| reply(service, method));
    lab.container("c", shim.program(), "{}".to_owned());
    shim
}

fn task() -> CreateTask {
    CreateTask { container: "c".to_owned(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn version_three_that_is_unknown_becomes_two() {
    let lab = Lab::new(Timeouts::default());
    let shim = serve(&lab, 3, |service, method| match (service, method) {
        ("containerd.task.v3.Task", _) => Reply::Error(Code::UNIMPLEMENTED, "service"),
        (_, "Create") => Reply::Payload(api::CreateTaskResponse { pid: 7 }.encode_to_vec()),
        (_, "Delete") => {
            let answer = api::DeleteResponse { pid: 7, exit_status: 4, exited_at: None };
            Reply::Payload(answer.encode_to_vec())
        }
        (_, "Shutdown") => Reply::Close,
        _ => Reply::Payload(Vec::new()),
    });
    let pid = soon(lab.tasks.create(task())).await.unwrap_or_else(|e| panic!("{}", e.chain()));
    assert_eq!(pid, 7);
    assert_eq!(soon(lab.tasks.delete("c")).await.unwrap().exit.status, 4);
    let v2 = |method: &str| format!("containerd.task.v2.Task/{method}");
    let mut expected = vec!["containerd.task.v3.Task/Create".to_owned()];
    expected.extend(["Create", "State", "Delete", "Shutdown"].map(v2));
    assert_eq!(shim.asked(), expected);
    lab.assert_clean();
    soon(lab.runtime.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_fails_is_undone() {
    type Case = (fn(&str, &str) -> Reply, Kind, &'static str);
    let cases: [Case; 3] = [
        (
            |_, _| Reply::Error(Code::RESOURCE_EXHAUSTED, "no room"),
            Kind::ResourceExhausted,
            "no room",
        ),
        (|_, _| Reply::Noise, Kind::Internal, "broken"),
        (|_, _| Reply::Close, Kind::Unavailable, "gone"),
    ];
    for (reply, kind, says) in cases {
        let short = std::time::Duration::from_millis(300);
        let lab = Lab::new(Timeouts { shutdown: short, ..Timeouts::default() });
        let _shim = serve(&lab, 2, reply);
        let error = soon(lab.tasks.create(task())).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(error.chain().contains(says), "{}", error.chain());
        lab.assert_clean();
        let gone = soon(lab.tasks.wait(&ProcessId::init("c"))).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::NotFound);
        soon(lab.runtime.close()).await;
    }
}
