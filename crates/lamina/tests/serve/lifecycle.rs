//! Start, readiness, locks, signals and what is left behind.

use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use lamina_api::proto::containerd::services::content::v1 as proto;
use proto::content_client::ContentClient;
use rustix::process::Signal;
use tonic::transport::Endpoint;

use crate::daemon::{Site, exists, soon};

/// What the daemon tells its manager next.
fn told(manager: &UnixDatagram) -> String {
    let mut text = [0; 128];
    let length = manager.recv(&mut text).unwrap();
    String::from_utf8_lossy(&text[..length]).into_owned()
}

/// The socket answers when the manager is told so, and stopping is told before it ends.
fn tells(site: &Site, manager: &UnixDatagram, name: &str) {
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let daemon = site.spawn(|command| {
        command.env("NOTIFY_SOCKET", name);
    });
    assert_eq!(told(manager), "READY=1");
    UnixStream::connect(site.socket()).unwrap();
    daemon.stop();
    assert_eq!(told(manager), "STOPPING=1");
}

#[test]
fn a_manager_is_told_by_a_socket_with_a_path() {
    let site = Site::new();
    let path = site.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    tells(&site, &manager, path.to_str().unwrap());
}

#[test]
fn a_manager_is_told_by_an_abstract_socket() {
    let site = Site::new();
    let name = format!("lamina-test-{}", site.path("").display());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    tells(&site, &manager, &format!("@{name}"));
}

#[test]
fn a_manager_that_cannot_be_told_stops_nothing() {
    let site = Site::new();
    let daemon = site.spawn(|command| {
        command.env("NOTIFY_SOCKET", "/nowhere/notify");
    });
    daemon.wait_until("the socket answers", || UnixStream::connect(site.socket()).is_ok());
    daemon.wait_until("a warning", || daemon.log().contains("telling the service manager"));
    daemon.stop();
}

#[test]
fn each_signal_ends_it_in_order_and_the_uuid_stays() {
    let site = Site::new();
    let uuid = || {
        let output = site.command(&["info"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.to_lowercase().contains("uuid"));
        line.unwrap_or_else(|| panic!("no uuid: {text:?} {output:?}")).to_owned()
    };
    let first = uuid();
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = site.start();
        // Somebody who has connected and says nothing holds nothing up.
        let _silent = UnixStream::connect(site.socket()).unwrap();
        let began = Instant::now();
        daemon.signal(signal);
        let status = daemon.ended();
        assert!(status.success(), "{status}: {}", daemon.log());
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert!(!exists(&site.socket()));
        assert_eq!(uuid(), first);
    }
}

/// A manager that waits for the socket only may stop it then.
#[test]
fn a_signal_right_after_the_socket_is_there_ends_it_in_order() {
    let site = Site::new();
    for _ in 0..5 {
        let mut daemon = site.spawn(|_| ());
        daemon.wait_until("the socket", || exists(&site.socket()));
        daemon.signal(Signal::TERM);
        let status = daemon.ended();
        assert!(status.success(), "{status}: {}", daemon.log());
        assert!(!exists(&site.socket()));
        assert!(daemon.log().contains("stopping"), "{}", daemon.log());
    }
}

/// Begins a write of content that neither ends nor goes on.
async fn write_without_end(site: &Site) -> impl Sized {
    let target = format!("unix://{}", site.socket().display());
    let channel = Endpoint::from_shared(target).unwrap().connect().await.unwrap();
    let first = proto::WriteContentRequest {
        action: proto::WriteAction::Write.into(),
        r#ref: "endless".to_owned(),
        data: b"half".to_vec().into(),
        ..Default::default()
    };
    let messages = stream::iter([first]).chain(stream::pending());
    let mut request = tonic::Request::new(messages);
    request.metadata_mut().insert("containerd-namespace", "test".parse().unwrap());
    let mut answers = ContentClient::new(channel).write(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    answers
}

/// A write that goes on is waited for, until a second signal.
#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::new();
    let mut daemon = site.start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _writing = runtime.block_on(write_without_end(&site));
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    daemon.wait_until("it drains", || daemon.log().contains("stopping"));
    daemon.signal(Signal::INT);
    assert_eq!(daemon.ended().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    site.start().stop();
}

#[test]
fn privileged_the_socket_belongs_to_the_group_that_may_connect() {
    let name = "privileged_the_socket_belongs_to_the_group_that_may_connect";
    lamina_testkit::or_skip!(name, lamina_testkit::env::skip::require_root());
    let site = Site::new();
    let daemon = site.spawn(|command| {
        command.args(["--gid", "4711"]);
    });
    daemon.wait_until("the socket answers", || UnixStream::connect(site.socket()).is_ok());
    let socket = site.socket().metadata().unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o7777), (0, 4711, 0o660));
    // Who may connect gets there.
    assert_eq!(site.path("state").metadata().unwrap().mode() & 0o7777, 0o711);
    daemon.stop();
}

#[test]
fn a_start_waits_for_a_command_that_has_the_store() {
    let site = Site::new();
    // An ingest holds the store for as long as its input lasts.
    let mut command = site.command(&["content", "ingest", "waiting"]);
    let mut command = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = command.stdin.take().unwrap();
    input.write_all(b"half of ").unwrap();
    let lock = site.path("root/lock");
    assert!(soon(|| std::fs::File::open(&lock).is_ok_and(|file| file.try_lock().is_err())));
    let daemon = site.spawn(|_| ());
    let mut another = site.spawn(|_| ());
    std::thread::sleep(Duration::from_millis(500));
    assert!(!exists(&site.socket()), "it listens on a store that it does not have");
    let began = Instant::now();
    another.signal(Signal::TERM);
    let status = another.ended();
    assert!(status.success(), "{status}: {}", another.log());
    assert!(began.elapsed() < Duration::from_secs(30), "it waited for the store");
    input.write_all(b"it").unwrap();
    drop(input);
    assert!(command.wait().unwrap().success());
    daemon.wait_until("the socket answers", || UnixStream::connect(site.socket()).is_ok());
    daemon.stop();
}

#[test]
fn a_second_daemon_is_refused_at_once_and_the_first_goes_on() {
    let site = Site::new();
    let first = site.start();
    let began = Instant::now();
    let mut second = site.spawn(|_| ());
    assert_eq!(second.ended().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(30), "it waited for the lock");
    assert!(second.log().contains("a daemon answers at"), "{}", second.log());
    UnixStream::connect(site.socket()).unwrap();
    first.stop();
}

#[test]
fn what_a_killed_daemon_leaves_is_no_obstacle() {
    let site = Site::new();
    for _ in 0..3 {
        site.start().kill();
        assert!(exists(&site.socket()), "a kill leaves the socket");
        let began = Instant::now();
        let daemon = site.start();
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        daemon.kill();
    }
    // A command finds no daemon, and works on the store itself.
    let listed = site.command(&["namespace", "ls"]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let found = site.command(&["fsck"]).output().unwrap();
    assert!(found.status.success(), "{found:?}");
}
