//! What a process writes, from its shim to our own standard output and error, through FIFOs.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lamina_core::task::Stdio;
use lamina_core::{Error, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat, open};
use tokio::task::JoinHandle;

/// The FIFOs of one process, gone when this is dropped.
#[derive(Debug)]
pub(in crate::verb) struct Streams {
    dir: PathBuf,
    ends: Option<[File; 2]>,
}

impl Streams {
    /// Makes them in a directory of their own below `state`.
    ///
    /// # Errors
    /// Internal when they cannot be made.
    pub(in crate::verb) fn make(state: &Path) -> Result<Streams> {
        let dir = state.join("fifo").join(super::super::run::random_id()?);
        let failed = |error: std::io::Error| {
            Error::internal(format!("make FIFOs in {}", dir.display())).with_source(error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        // From here on a drop takes away what was made.
        let mut streams = Streams { dir: dir.clone(), ends: None };
        let make = |name: &str| -> std::io::Result<File> {
            let path = dir.join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
            // Else it would wait for a shim that is not there yet.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Ok(File::from(open(&path, flags, Mode::empty())?))
        };
        let ends = make("stdout").and_then(|out| Ok([out, make("stderr")?]));
        streams.ends = Some(ends.map_err(failed)?);
        Ok(streams)
    }

    /// For a shim. Nothing can be read.
    pub(in crate::verb) fn stdio(&self) -> Stdio {
        let path = |name: &str| self.dir.join(name).display().to_string();
        Stdio { stdout: path("stdout"), stderr: path("stderr"), ..Stdio::default() }
    }

    /// Copies, once a shim has opened them, until it closes them.
    ///
    /// # Errors
    /// Internal for a second call.
    pub(in crate::verb) fn copy(&mut self) -> Result<Copying> {
        let Some([out, err]) = self.ends.take() else {
            return Err(Error::internal("streams are copied already"));
        };
        // joined: by `Copying::end`
        Ok(Copying([
            tokio::task::spawn_blocking(move || pour(out, std::io::stdout())),
            tokio::task::spawn_blocking(move || pour(err, std::io::stderr())),
        ]))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, "FIFOs are left in {}", self.dir.display());
        }
    }
}

/// Output on its way.
#[derive(Debug)]
pub(in crate::verb) struct Copying([JoinHandle<()>; 2]);

impl Copying {
    /// Waits until all is copied.
    pub(in crate::verb) async fn end(self) {
        for copying in self.0 {
            if let Err(error) = copying.await {
                tracing::warn!(%error, "copying output broke off");
            }
        }
    }
}

/// A reader of ours who leaves does not stop the program: it goes on, as it would into a file.
fn pour(mut from: File, to: impl Write) {
    let mut to = Some(to);
    if let Err(error) = fcntl_setfl(&from, OFlags::empty()) {
        tracing::warn!(%error, "waiting for output");
    }
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return tracing::warn!(%error, "reading output"),
        };
        let text = buffer.get(..count).unwrap_or_default();
        let written = to.as_mut().map(|to| to.write_all(text).and_then(|()| to.flush()));
        if written.is_some_and(|written| written.is_err()) {
            to = None;
        }
    }
}
