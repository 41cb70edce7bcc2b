//! A registry on loopback that costs next to nothing: blobs go from file to socket in the kernel.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use lamina_core::Digest;

use crate::Result;

/// Serves the images in `dir` until standard input ends; prints where.
pub(crate) fn serve(dir: &Path) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let dir = dir.to_owned();
    // The end of the process ends it.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(io::Result::ok) {
            let dir = dir.clone();
            // A client that goes away is no error.
            std::thread::spawn(move || answer_all(&stream, &dir).ok());
        }
    });
    // Whoever started us closes our input when it is done, however it ends.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn answer_all(stream: &TcpStream, dir: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut range = None;
        loop {
            let mut header = String::new();
            requests.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("range: bytes=") {
                range = value.split_once('-').map(|(from, to)| (from.to_owned(), to.to_owned()));
            }
        }
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        answer(stream, dir, method, path, range)?;
    }
}

fn answer(
    mut stream: &TcpStream,
    dir: &Path,
    method: &str,
    path: &str,
    range: Option<(String, String)>,
) -> io::Result<()> {
    let path = path.split('?').next().unwrap_or("");
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let hex = |name: &str| name.strip_prefix("sha256:").unwrap_or(name).to_owned();
    match parts.as_slice() {
        ["v2"] => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ["v2", image, "manifests", tag] if !tag.contains("..") => {
            let name = if tag.contains(':') { hex(tag) } else { (*image).to_owned() };
            let Ok(text) = fs::read(dir.join(format!("{name}.json"))) else {
                return absent(stream);
            };
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\
                 Docker-Content-Digest: {}\r\nContent-Length: {}\r\n\r\n",
                Digest::sha256(&text),
                text.len()
            )?;
            if method == "HEAD" { Ok(()) } else { stream.write_all(&text) }
        }
        ["v2", _, "blobs", digest] if !digest.contains("..") => {
            let Ok(mut file) = File::open(dir.join("blobs").join(hex(digest))) else {
                return absent(stream);
            };
            let size = file.metadata()?.len();
            let (from, end) = match &range {
                Some((from, to)) => (
                    from.parse().unwrap_or(0),
                    to.parse().map_or(size, |last: u64| size.min(last.saturating_add(1))),
                ),
                None => (0, size),
            };
            let status = match range {
                Some(_) => {
                    format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", end - 1)
                }
                None => "200 OK".to_owned(),
            };
            let len = end.saturating_sub(from);
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\n\
                 Docker-Content-Digest: {digest}\r\nContent-Length: {len}\r\n\r\n"
            )?;
            if method == "HEAD" {
                return Ok(());
            }
            file.seek(SeekFrom::Start(from))?;
            io::copy(&mut file.take(len), &mut &*stream).map(drop)
        }
        _ => absent(stream),
    }
}

fn absent(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
}
