//! The registry serves what it was given, and records it; how its faults look to a client is tested
//! where the client is.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

fn ask(registry: &TestRegistry, request: &str) -> String {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    stream.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn blobs_and_ranges_are_served_and_counted() {
    let registry = TestRegistry::start();
    let blob = registry.push_blob("a/b", "text/plain", &b"0123456789"[..]);
    let path = format!("/v2/a/b/blobs/{}", blob.digest);
    assert!(ask(&registry, &format!("GET {path} HTTP/1.1")).contains("\r\n\r\n0123456789"));
    let part = ask(&registry, &format!("GET {path} HTTP/1.1\r\nRange: bytes=2-4"));
    assert!(part.contains("206") && part.contains("bytes 2-4/10") && part.contains("\r\n\r\n234"));
    let open = ask(&registry, &format!("GET {path} HTTP/1.1\r\nRange: bytes=2-"));
    assert!(open.starts_with("HTTP/1.1 416"), "{open}");
    assert!(ask(&registry, "GET /v2/a/b/manifests/x HTTP/1.1").contains("MANIFEST_UNKNOWN"));
    assert_eq!(registry.bytes_sent(&blob.digest), 13);
    let requests = registry.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!((requests[1].status, requests[1].sent), (206, 3));
    assert_eq!(requests[1].header("range"), Some("bytes=2-4"));
}

#[test]
fn rules_are_used_up_in_order() {
    let registry = TestRegistry::start();
    registry.fault(On::path("/v2/").after(1).once(), Fault::status(503));
    registry.fault(On::path("/v2/").after(1).once(), Fault::Html);
    let first_line = |answer: String| answer.lines().next().unwrap_or_default().to_owned();
    let mut lines = (0..4).map(|_| first_line(ask(&registry, "GET /v2/ HTTP/1.1")));
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 Test");
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 503 Test");
    assert!(ask(&registry, "GET /v2/ HTTP/1.1").contains("Log in, please"));
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 Test");
}
