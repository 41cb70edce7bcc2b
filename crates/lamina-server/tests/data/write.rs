//! Content.Write: what each message is answered, and who may write.

use lamina_api::proto::containerd::services::content::v1 as proto;
use lamina_api::proto::containerd::services::leases::v1 as leases;
use lamina_core::Digest;
use leases::leases_client::LeasesClient;
use proto::WriteAction::{Commit, Stat, Write};
use proto::content_client::ContentClient;
use proto::{WriteAction, WriteContentRequest, WriteContentResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::{call, call_in, map, start};

pub(crate) type Client = ContentClient<Channel>;

/// One call of Write, message by message.
pub(crate) struct Session {
    send: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
}

impl Session {
    pub(crate) async fn open(client: &mut Client, namespace: &str) -> Session {
        let (send, messages) = mpsc::channel(1);
        let request = call_in(namespace, ReceiverStream::new(messages));
        let answers = client.write(request).await.unwrap().into_inner();
        Session { send, answers }
    }

    pub(crate) async fn say(
        &mut self,
        message: WriteContentRequest,
    ) -> Result<WriteContentResponse, Status> {
        self.send.send(message).await.unwrap();
        self.answers.message().await.map(|answer| answer.expect("an answer"))
    }

    /// What comes after the last message.
    async fn end(mut self) -> Result<Option<WriteContentResponse>, Status> {
        drop(self.send);
        self.answers.message().await
    }
}

fn stat(reference: &str) -> WriteContentRequest {
    WriteContentRequest { action: Stat.into(), r#ref: reference.to_owned(), ..Default::default() }
}

fn bytes(action: WriteAction, offset: i64, data: &[u8]) -> WriteContentRequest {
    let data = data.to_vec().into();
    WriteContentRequest { action: action.into(), offset, data, ..Default::default() }
}

fn digest(data: &[u8]) -> String {
    Digest::sha256(data).to_string()
}

/// Writes a blob in one message.
pub(crate) async fn put(client: &mut Client, namespace: &str, data: &[u8]) -> String {
    let mut session = Session::open(client, namespace).await;
    let first = WriteContentRequest {
        r#ref: format!("put-{}", digest(data)),
        total: data.len() as i64,
        expected: digest(data),
        ..bytes(Commit, 0, data)
    };
    session.say(first).await.unwrap();
    assert_eq!(session.end().await.unwrap(), None);
    digest(data)
}

#[tokio::test]
async fn a_blob_is_written_as_clients_do() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let mut session = Session::open(&mut client, "test").await;
    let first = WriteContentRequest { total: 11, expected: digest(b"hello world"), ..stat("r") };
    let begun = session.say(first).await.unwrap();
    assert_eq!((begun.action, begun.offset, begun.total), (Stat.into(), 0, 11));
    assert_eq!(begun.digest, digest(b""));
    assert!(begun.started_at.is_some() && begun.updated_at.is_some());

    let wrote = session.say(bytes(Write, 0, b"hello ")).await.unwrap();
    assert_eq!((wrote.action, wrote.offset), (Write.into(), 6));
    assert_eq!(wrote.digest, digest(b"hello "));
    assert_eq!((wrote.total, wrote.started_at), (0, None));
    let now = client.status(call(proto::StatusRequest { r#ref: "r".to_owned() })).await.unwrap();
    let now = now.into_inner().status.unwrap();
    assert_eq!((now.offset, now.total, now.expected), (6, 11, digest(b"hello world")));

    // A reference other than the first message's means nothing.
    let more = WriteContentRequest { r#ref: "other".to_owned(), ..bytes(Write, 6, b"world") };
    assert_eq!(session.say(more).await.unwrap().offset, 11);
    let labels = map(&[("a", "1")]);
    let last = WriteContentRequest { labels: labels.clone(), total: 11, ..bytes(Commit, 11, b"") };
    let done = session.say(last).await.unwrap();
    assert_eq!((done.action, done.offset), (Commit.into(), 11));
    assert_eq!(done.digest, digest(b"hello world"));
    assert_eq!(session.answers.message().await.unwrap(), None, "the stream ends by itself");

    let info = client.info(call(proto::InfoRequest { digest: done.digest })).await.unwrap();
    let info = info.into_inner().info.unwrap();
    assert_eq!((info.size, info.labels), (11, labels));
    server.stop().await;
}

#[tokio::test]
async fn what_may_not_be_written_is_refused() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let known = put(&mut client, "test", b"known").await;
    let with =
        |reference: &str, message| WriteContentRequest { r#ref: reference.to_owned(), ..message };
    let expecting =
        |digest: &str, message| WriteContentRequest { expected: digest.to_owned(), ..message };
    // What is said before, which is answered, and what is refused.
    let cases = [
        ("no reference", None, stat(""), Code::InvalidArgument, "reference"),
        (
            "no action",
            None,
            WriteContentRequest { action: 7, ..stat("r") },
            Code::InvalidArgument,
            "7",
        ),
        ("no digest", None, expecting("sha256:x", stat("r")), Code::InvalidArgument, "expected"),
        (
            "negative offset",
            None,
            with("r", bytes(Write, -1, b"x")),
            Code::InvalidArgument,
            "offset",
        ),
        ("here already, first", None, expecting(&known, stat("r")), Code::AlreadyExists, &known),
        (
            "here already, later",
            Some(stat("r")),
            expecting(&known, bytes(Write, 0, b"known")),
            Code::AlreadyExists,
            &known,
        ),
        (
            "here already, unannounced",
            Some(stat("r")),
            bytes(Commit, 0, b"known"),
            Code::AlreadyExists,
            &known,
        ),
        (
            "a gap",
            Some(with("r", bytes(Write, 0, b"abc"))),
            bytes(Write, 4, b"x"),
            Code::OutOfRange,
            "current offset 3",
        ),
        ("behind", None, bytes(Write, 2, b"x"), Code::OutOfRange, "current offset 3"),
        ("gap at commit", None, bytes(Commit, 9, b""), Code::OutOfRange, "current offset 3"),
        (
            "size",
            None,
            WriteContentRequest { total: 4, ..bytes(Commit, 3, b"") },
            Code::FailedPrecondition,
            "expected 4",
        ),
        (
            "digest",
            Some(with("r", bytes(Write, 0, b"abc"))),
            expecting(&digest(b"abd"), bytes(Commit, 3, b"")),
            Code::FailedPrecondition,
            "unexpected commit digest",
        ),
    ];
    for (what, before, message, code, text) in cases {
        let mut session = Session::open(&mut client, "test").await;
        if let Some(before) = before {
            session.say(before).await.unwrap();
        }
        let first = if message.r#ref.is_empty() && what != "no reference" {
            with("r", message)
        } else {
            message
        };
        let status = session.say(first).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {}", status.message());
        assert!(status.message().contains(text), "{what}: {}", status.message());
    }
    // Content that was here already leaves no ingest. A commit that expects something else does: its
    // bytes may be good.
    let left = client.list_statuses(call(proto::ListStatusesRequest::default())).await.unwrap();
    let left = left.into_inner().statuses;
    let left: Vec<_> = left.iter().map(|status| (status.r#ref.as_str(), status.offset)).collect();
    assert_eq!(left, [("r", 3)]);
    server.stop().await;
}

#[tokio::test]
async fn offset_0_begins_again() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let mut session = Session::open(&mut client, "test").await;
    session.say(stat("r")).await.unwrap();
    session.say(bytes(Write, 0, b"wrong bytes")).await.unwrap();
    assert_eq!(session.say(bytes(Write, 0, b"right")).await.unwrap().offset, 5);
    let done = session.say(bytes(Commit, 5, b"")).await.unwrap();
    assert_eq!((done.offset, done.digest), (5, digest(b"right")));
    server.stop().await;
}

#[tokio::test]
async fn an_ingest_has_one_writer_and_namespaces_their_own() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let mut first = Session::open(&mut client, "test").await;
    first.say(stat("r")).await.unwrap();
    let mut second = Session::open(&mut client, "test").await;
    let status = second.say(stat("r")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("ref r locked"), "{}", status.message());
    let status = client.abort(call(proto::AbortRequest { r#ref: "r".to_owned() })).await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    let mut elsewhere = Session::open(&mut client, "other").await;
    elsewhere.say(stat("r")).await.unwrap();
    first.say(bytes(Write, 0, b"abc")).await.unwrap();
    assert_eq!(first.end().await.unwrap(), None, "a stream that ends is no error");

    // Resumed where it was left, after a restart too.
    let mut second = Session::open(&mut client, "test").await;
    assert_eq!(second.say(stat("r")).await.unwrap().offset, 3);
    assert_eq!(second.end().await.unwrap(), None);
    drop((elsewhere, client));
    let server = server.restart().await;
    let mut client = ContentClient::new(server.channel());
    let mut third = Session::open(&mut client, "test").await;
    let now = third.say(stat("r")).await.unwrap();
    assert_eq!((now.offset, now.digest), (3, digest(b"abc")));
    assert_eq!(third.end().await.unwrap(), None);
    client.abort(call(proto::AbortRequest { r#ref: "r".to_owned() })).await.unwrap();
    let gone = client.status(call(proto::StatusRequest { r#ref: "r".to_owned() })).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_an_ingest_to_go_on_with() {
    let server = start().await;
    let mut other = ContentClient::new(server.channel());
    let block = vec![7; 1 << 20];
    for turn in 0..8 {
        let mut vanishing = ContentClient::new(server.connect().await);
        let mut session = Session::open(&mut vanishing, "test").await;
        let offset = session.say(stat("r")).await.unwrap().offset;
        session.say(bytes(Write, offset, &block)).await.unwrap();
        // In every other turn a message is on its way when the connection goes.
        if turn % 2 == 1 {
            let offset = offset + block.len() as i64;
            session.send.send(bytes(Write, offset, &block)).await.unwrap();
        }
        drop((session, vanishing));
        let offset = loop {
            let mut next = Session::open(&mut other, "test").await;
            match next.say(stat("r")).await {
                Ok(answer) => {
                    assert_eq!(next.end().await.unwrap(), None);
                    break answer.offset;
                }
                // The server has not heard of it yet.
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert!(offset > turn * block.len() as i64, "turn {turn} left {offset} bytes");
        assert_eq!(offset % block.len() as i64, 0);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_lease_holds_what_is_written_and_what_was_here() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let mut leases = LeasesClient::new(server.channel());
    let id = "l".to_owned();
    let create = leases::CreateRequest { id: id.clone(), ..Default::default() };
    leases.create(call(create)).await.unwrap();
    let here = put(&mut client, "test", b"here").await;
    for (data, answered) in [(&b"new"[..], true), (b"here", false)] {
        let first = WriteContentRequest { expected: digest(data), ..stat("r") };
        let commit = bytes(Commit, 0, data);
        let mut request = call(tokio_stream::iter([first, commit]));
        request.metadata_mut().insert("containerd-lease", id.parse().unwrap());
        let mut answers = client.write(request).await.unwrap().into_inner();
        assert_eq!(answers.message().await.is_ok(), answered);
        if answered {
            answers.message().await.unwrap().unwrap();
        }
    }
    let held = leases.list_resources(call(leases::ListResourcesRequest { id })).await.unwrap();
    let mut held: Vec<_> = held.into_inner().resources.into_iter().map(|held| held.id).collect();
    let mut wanted = vec![here, digest(b"new")];
    held.sort();
    wanted.sort();
    assert_eq!(held, wanted);
    server.stop().await;
}

#[tokio::test]
async fn a_blob_of_another_namespace_needs_no_bytes() {
    let server = start().await;
    let mut client = ContentClient::new(server.channel());
    let blob = put(&mut client, "test", b"shared").await;
    let mut session = Session::open(&mut client, "other").await;
    let first = WriteContentRequest { total: 6, expected: blob.clone(), ..stat("r") };
    assert_eq!(session.say(first).await.unwrap().offset, 6);
    let last = WriteContentRequest { total: 6, expected: blob.clone(), ..bytes(Commit, 6, b"") };
    assert_eq!(session.say(last).await.unwrap().digest, blob);
    client.info(call_in("other", proto::InfoRequest { digest: blob })).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_write_and_read_at_once() {
    let server = start().await;
    let mut clients = Vec::new();
    for number in 0..64_u64 {
        let channel = server.connect().await;
        clients.push(tokio::spawn(async move {
            let mut client = ContentClient::new(channel);
            let data = number.to_le_bytes().repeat(20_000);
            let digest = put(&mut client, "test", &data).await;
            let asked = proto::ReadContentRequest { digest, ..Default::default() };
            let mut chunks = client.read(call(asked)).await.unwrap().into_inner();
            let mut read = Vec::new();
            while let Some(chunk) = chunks.message().await.unwrap() {
                read.extend_from_slice(&chunk.data);
            }
            assert!(read == data, "client {number} reads what it wrote");
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    server.stop().await;
}
