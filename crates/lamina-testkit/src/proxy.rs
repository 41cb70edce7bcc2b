//! A proxy on loopback that leads every request to one server, whatever host it names.
//!
//! It knows `CONNECT`, and requests without bodies that name their whole URL. It runs in threads of
//! its own, on a port the system chose; they end when it is dropped and its connections are closed.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A proxy that is running.
#[derive(Debug)]
pub struct TestProxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TestProxy {
    /// A proxy to the server at `server` (`127.0.0.1:PORT`).
    ///
    /// # Panics
    /// When no port can be had.
    pub fn start(server: &str) -> TestProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port on loopback");
        let address = listener.local_addr().expect("the listener has an address");
        let (seen, stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (server, lines, stop) = (server.to_owned(), Arc::clone(&seen), Arc::clone(&stopped));
        let accept = move || {
            std::thread::scope(|scope| {
                for client in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let (server, lines) = (&server, &lines);
                    // A peer that leaves ends its connection, and nothing else.
                    scope.spawn(move || client.and_then(|client| carry(client, server, lines)));
                }
            });
        };
        let thread = Some(std::thread::spawn(accept));
        TestProxy { address, seen, stopped, thread }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last call, as method and target.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts. It fails only when that one has ended already.
        let _ = TcpStream::connect(self.address);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            panic!("the test proxy panicked");
        }
    }
}

/// Carries one connection to the server and back until either side ends it.
fn carry(client: TcpStream, server: &str, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut upstream = TcpStream::connect(server)?;
    let mut requests = BufReader::new(client.try_clone()?);
    let (from, to) = (upstream.try_clone()?, client.try_clone()?);
    std::thread::scope(|scope| {
        let mut answers = Some(move || copy(from, to));
        let carried = loop {
            let head = match head(&mut requests) {
                Ok(head) if !head.is_empty() => head,
                ended => break ended.map(drop),
            };
            let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
            let mut words = line.split(' ');
            let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{method} {target}"));
            let tunnel = method == "CONNECT";
            let sent = if tunnel {
                (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            } else {
                let path = target.splitn(4, '/').nth(3).unwrap_or("");
                write!(upstream, "{method} /{path} HTTP/1.1\r\n{rest}")
            };
            if let Some(answers) = answers.take() {
                scope.spawn(answers);
            }
            if sent.is_err() || tunnel {
                break sent.and_then(|()| io::copy(&mut requests, &mut upstream).map(drop));
            }
        };
        // Ends the other direction too.
        let _ = upstream.shutdown(Shutdown::Both);
        carried
    })
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // Either peer may leave at any time.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// A request's head with its empty line; nothing when the peer has ended.
fn head(requests: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if requests.by_ref().take(64 << 10).read_line(&mut head)? == 0 {
            return Ok(String::new());
        }
    }
    Ok(head)
}
