//! The socket: who is no client, too many, and no files left.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::future::join_all;
use lamina_api::proto::containerd::services::images::v1 as images;
use lamina_api::proto::containerd::services::version::v1::version_client::VersionClient;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tonic::transport::Channel;

use crate::client::{call, connect, try_connect};
use crate::daemon::{SOON, Site, soon};
use crate::junk::Junk;
use crate::process::{back_to, held};

async fn answers(channel: Channel) -> bool {
    VersionClient::new(channel).version(call(())).await.is_ok()
}

/// Says something, and takes what is said until the daemon closes the connection.
fn say(site: &Site, bytes: &[u8]) {
    let mut stream = UnixStream::connect(site.socket()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    // It may be closed before all was said.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_grpc_is_sent_away() {
    let site = Site::new();
    let daemon = site.start();
    let before = held(&daemon);
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut junk = Junk::new(11);
    say(&site, b"");
    say(&site, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    say(&site, b"POST /containerd.services.version.v1.Version/Version HTTP/1.1\r\n\r\n");
    say(&site, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    say(&site, &PREFACE[..10]);
    say(&site, PREFACE);
    for _ in 0..50 {
        say(&site, &junk.bytes(100_000));
        say(&site, &[PREFACE, &junk.bytes(10_000)].concat());
        // The client's first frame, then anything.
        say(&site, &[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &junk.bytes(10_000)].concat());
    }
    assert!(answers(connect(&site).await).await);
    back_to(&daemon, before, 64 << 20);
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_at_once_are_served() {
    let site = Site::new();
    let daemon = site.start();
    assert!(answers(connect(&site).await).await);
    let before = held(&daemon);
    let calls = (0..1000).map(async |_| {
        // The kernel's queue of connections may be full for a moment.
        let mut channel = try_connect(&site).await;
        for _ in 0..100 {
            if channel.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            channel = try_connect(&site).await;
        }
        let channel = channel.unwrap();
        let mut client = images::images_client::ImagesClient::new(channel.clone());
        for _ in 0..3 {
            client.list(call(images::ListImagesRequest::default())).await.unwrap();
        }
        channel
    });
    let channels = join_all(calls).await;
    let most = held(&daemon);
    assert!(most.files >= before.files + 1000, "{before:?} {most:?}");
    assert!(most.threads < 700, "{most:?}");
    assert!(most.resident < before.resident + (512 << 20), "{before:?} {most:?}");
    drop(channels);
    back_to(&daemon, before, 256 << 20);
    daemon.stop();
}

/// As many as the manager allows, not as many as programs get that use select(2).
#[test]
fn the_limit_of_files_is_raised() {
    let site = Site::new();
    // It begins with what this process has. No other test here has a limit that counts.
    let own = getrlimit(Resource::Nofile);
    let lower = own.maximum.map_or(4000, |most| most - 1);
    setrlimit(Resource::Nofile, Rlimit { current: Some(lower), ..own }).unwrap();
    let daemon = site.start();
    setrlimit(Resource::Nofile, own).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_it_waits_for_some() {
    let site = Site::new();
    let daemon = site.start();
    let channel = connect(&site).await;
    assert!(answers(channel.clone()).await);
    let few = held(&daemon).files as u64 + 20;
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap());
    prlimit(pid, Resource::Nofile, limit(few, few)).unwrap();
    let crowd: Vec<UnixStream> =
        (0..100).map_while(|_| UnixStream::connect(site.socket()).ok()).collect();
    daemon.wait_until("it runs out", || daemon.log().contains("a connection is not taken"));
    let busy = cpu(daemon.pid());
    std::thread::sleep(Duration::from_secs(1));
    let busy = cpu(daemon.pid()) - busy;
    assert!(busy < 50, "it spins: {busy} ticks of 100 in a second");
    // Who has a connection is served, and the others are when some have gone.
    assert!(answers(channel).await);
    drop(crowd);
    assert!(soon(|| UnixStream::connect(site.socket()).is_ok()));
    let asked = tokio::time::timeout(SOON, async { answers(connect(&site).await).await });
    assert!(asked.await.unwrap());
    daemon.stop();
}

fn limit(current: u64, maximum: u64) -> Rlimit {
    Rlimit { current: Some(current), maximum: Some(maximum) }
}

/// Ticks of a processor, fields 14 and 15 of `stat`.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap()).sum()
}
