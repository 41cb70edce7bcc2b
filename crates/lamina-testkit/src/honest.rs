//! Debian's `docker-registry` on loopback, as a peer that was not written by us.
//!
//! It listens on a port the system chose, keeps its files in a temporary directory, and is killed when
//! dropped. Images are pushed over its own protocol.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use lamina_core::{Descriptor, Digest};
use tempfile::TempDir;

use crate::image::Image;

/// A running `docker-registry`.
#[derive(Debug)]
pub struct HonestRegistry {
    child: Child,
    host: String,
    login: Option<&'static str>,
    log: Option<JoinHandle<()>>,
    _dir: TempDir,
}

/// The one user of a registry with [`HonestRegistry::with_login`], and the password.
pub const LOGIN: (&str, &str) = ("user", "pass:word");
const LOGIN_PAIR: &str = "user:pass:word";
/// The same for its password file, bcrypt with the least cost.
const HTPASSWD: &str = "user:$2y$04$JjTaW9CBA6Cs2Z82N/jUCOacAKBqq2cQGcXxBlH6pogSVHHInpDc2\n";

impl HonestRegistry {
    /// One for everybody.
    ///
    /// # Errors
    /// The reason why there is none here, for a skip.
    pub fn start() -> Result<HonestRegistry, String> {
        HonestRegistry::with(None)
    }

    /// One for the user of [`LOGIN`] alone.
    ///
    /// # Errors
    /// As [`start`](HonestRegistry::start).
    pub fn with_login() -> Result<HonestRegistry, String> {
        HonestRegistry::with(Some(LOGIN_PAIR))
    }

    fn with(login: Option<&'static str>) -> Result<HonestRegistry, String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let auth = if login.is_some() {
            std::fs::write(at("htpasswd"), HTPASSWD).expect("write a password file");
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", at("htpasswd"))
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n{auth}",
            at("data")
        );
        std::fs::write(at("config.yml"), config).expect("write a configuration");
        let mut child = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("docker-registry cannot be run: {error}"))?;
        let stderr = child.stderr.take().expect("a pipe");
        let (found, listening) = mpsc::channel();
        // Reads on to the end, so that the registry never blocks on a full pipe.
        let log = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let address = line.split("listening on ").nth(1);
                let address = address.and_then(|rest| rest.split(['"', ' ']).next());
                if let Some(address) = address {
                    // Nobody waits for a second one.
                    let _ = found.send(address.to_owned());
                }
            }
        });
        let mut registry =
            HonestRegistry { child, host: String::new(), login, log: Some(log), _dir: dir };
        registry.host = listening
            .recv_timeout(Duration::from_secs(20))
            .map_err(|_| "docker-registry does not say where it listens".to_owned())?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Pushes `image` as `repository:tag`; manifests before the index that names them.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub fn push(&self, repository: &str, tag: &str, image: &Image) {
        let is_document = |media_type: &str| {
            lamina_core::media_type::is_manifest(media_type)
                || lamina_core::media_type::is_index(media_type)
        };
        let (documents, blobs): (Vec<_>, Vec<_>) =
            image.content.iter().partition(|(_, content)| is_document(&content.media_type));
        for (digest, content) in blobs {
            self.push_blob(repository, digest, &content.bytes);
        }
        for (digest, content) in documents {
            if *digest != image.root.digest {
                self.put_manifest(repository, digest.as_str(), &content.media_type, &content.bytes);
            }
        }
        let Descriptor { digest, media_type, .. } = &image.root;
        self.put_manifest(repository, tag, media_type, image.bytes(digest));
    }

    fn push_blob(&self, repository: &str, digest: &Digest, bytes: &[u8]) {
        let begun = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[]);
        let location = begun
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("no upload begun: {begun}"));
        let path = location
            .split_once("://")
            .map_or(location, |(_, rest)| rest.find('/').map_or(rest, |slash| &rest[slash..]));
        let path = format!("{}&digest={digest}", path.trim());
        let done = self.send("PUT", &path, "application/octet-stream", bytes);
        assert!(done.starts_with("HTTP/1.1 201"), "blob not taken: {done}");
    }

    fn put_manifest(&self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) {
        let path = format!("/v2/{repository}/manifests/{name}");
        let done = self.send("PUT", &path, media_type, bytes);
        assert!(done.starts_with("HTTP/1.1 201"), "manifest not taken: {done}");
    }

    fn send(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.host).expect("connect to docker-registry");
        let login = self.login.map_or(String::new(), |pair| {
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            format!("Authorization: Basic {pair}\r\n")
        });
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\n{login}Connection: close\r\n\r\n",
            self.host,
            body.len()
        );
        let mut answer = String::new();
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .and_then(|()| stream.read_to_string(&mut answer))
            .expect("talk to docker-registry");
        answer
    }
}

impl Drop for HonestRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Ends with the pipe.
        let _ = self.log.take().map(JoinHandle::join);
    }
}
