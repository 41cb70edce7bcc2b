//! A shim that says what a test wants it to say: a program that tells of a socket, and the socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
pub use ttrpc::proto::Code;
use ttrpc::proto::{Codec, Request, Response, Status};

/// What is answered to a call.
#[derive(Debug)]
pub enum Reply {
    /// A message.
    Payload(Vec<u8>),
    /// An error.
    Error(Code, &'static str),
    /// Bytes that are no answer.
    Noise,
    /// The connection ends.
    Close,
}

/// Answers the bytes of a call to a service's method.
type Answer = dyn Fn(&str, &str, &[u8]) -> Reply + Send + Sync;

/// A shim. Dropped, it is gone.
#[derive(Debug)]
pub struct Shim {
    program: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Shim {
    /// Puts a program into `dir`, and serves the task service of `version` as `answer` says.
    ///
    /// # Panics
    /// When `dir` cannot be written to; without a runtime of tokio.
    pub fn serve(
        dir: &Path,
        version: u32,
        answer: impl Fn(&str, &str, &[u8]) -> Reply + Send + Sync + 'static,
    ) -> Shim {
        let socket = dir.join("shim.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let said = format!(
            r#"{{"version":{version},"address":"unix://{}","protocol":"ttrpc"}}"#,
            socket.display()
        );
        let program =
            script(dir, &format!("for last; do :; done; [ \"$last\" = start ] && echo '{said}'"));
        let asked = Arc::default();
        let (log, answer): (_, Arc<Answer>) = (Arc::clone(&asked), Arc::new(answer));
        // joined: aborted with the shim, and its connections with it
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(talk(stream, Arc::clone(&answer), Arc::clone(&log)));
            }
        });
        Shim { program, asked, server }
    }

    /// Its program: the name of the runtime.
    pub fn program(&self) -> &str {
        self.program.to_str().unwrap()
    }

    /// The calls so far, as `service/method`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A program in `dir` that pretends to be a shim.
///
/// # Panics
/// When `dir` cannot be written to.
pub fn script(dir: &Path, text: &str) -> PathBuf {
    let (draft, path) = (dir.join("shim.text"), dir.join("containerd-shim-fake-v1"));
    fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
    // By another process: what is open here for writing, a child that another thread starts meanwhile has
    // open for a moment too, and then nobody can run it.
    assert!(Command::new("cp").arg(&draft).arg(&path).status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn talk(mut stream: UnixStream, answer: Arc<Answer>, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = [0; 10];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        let request = Request::decode(payload).unwrap();
        asked.lock().unwrap().push(format!("{}/{}", request.service, request.method));
        let mut response = Response::new();
        match answer(&request.service, &request.method, &request.payload) {
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
