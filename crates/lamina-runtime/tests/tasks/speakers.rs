//! A task service made here, which answers as a test wants.

use std::sync::{Arc, Mutex};

use lamina_api::proto::containerd::task::v2 as api;
use lamina_core::Kind;
use lamina_core::task::{CreateTask, ProcessId};
use lamina_runtime::Timeouts;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use ttrpc::proto::{Code, Codec, Request, Response, Status};

use crate::lab::{Lab, soon};

enum Reply {
    Payload(Vec<u8>),
    Error(Code, &'static str),
    /// Bytes that are no answer.
    Noise,
    Close,
}

type Asked = Arc<Mutex<Vec<String>>>;

/// Serves at a socket in the lab, and makes a container whose shim says so. Answers the methods that
/// are asked for.
fn serve(lab: &Lab, version: u32, reply: fn(&str, &str) -> Reply) -> Asked {
    let socket = lab.dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let said = format!(
        r#"{{"version":{version},"address":"unix://{}","protocol":"ttrpc"}}"#,
        socket.display()
    );
    let shim = lab.script(&format!("[ \"$9\" = start ] && echo '{said}'"));
    lab.container("c", &shim, "{}".to_owned());
    let asked = Asked::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, reply, log.clone()));
        }
    });
    asked
}

async fn talk(mut stream: UnixStream, reply: fn(&str, &str) -> Reply, asked: Asked) {
    let mut head = [0; 10];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        let request = Request::decode(payload).unwrap();
        asked.lock().unwrap().push(format!("{}/{}", request.service, request.method));
        let mut response = Response::new();
        match reply(&request.service, &request.method) {
            Reply::Payload(bytes) => response.payload = bytes,
            Reply::Error(code, message) => {
                let mut status = Status::new();
                status.set_code(code);
                status.message = message.to_owned();
                response.set_status(status);
            }
            Reply::Noise => response.payload = vec![0xff; 64],
            Reply::Close => return,
        }
        let body = response.encode().unwrap();
        head[..4].copy_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        // A response.
        head[8] = 2;
        stream.write_all(&head).await.unwrap();
        stream.write_all(&body).await.unwrap();
    }
}

fn task() -> CreateTask {
    CreateTask { container: "c".to_owned(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn version_three_that_is_unknown_becomes_two() {
    let lab = Lab::new(Timeouts::default());
    let asked = serve(&lab, 3, |service, method| match (service, method) {
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
    assert_eq!(*asked.lock().unwrap(), expected);
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
        serve(&lab, 2, reply);
        let error = soon(lab.tasks.create(task())).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(error.chain().contains(says), "{}", error.chain());
        lab.assert_clean();
        let gone = soon(lab.tasks.wait(&ProcessId::init("c"))).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::NotFound);
        soon(lab.runtime.close()).await;
    }
}
