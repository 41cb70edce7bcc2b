//! The FIFOs that a process's streams go through on their way to and from its shim.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};

use lamina_core::task::Stdio;
use lamina_core::{Error, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};

/// Our ends of a process's streams, those it has.
#[derive(Debug, Default)]
pub(in crate::verb) struct Fifos {
    /// Opened when a shim reads it: what is written before that could be lost.
    pub(super) stdin: Option<PathBuf>,
    pub(super) stdout: Option<File>,
    pub(super) stderr: Option<File>,
    stdio: Stdio,
    /// What goes when this is dropped.
    folder: Option<PathBuf>,
}

/// What streams a process is to have.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::verb) struct Wanted {
    pub(in crate::verb) stdin: bool,
    /// Standard output, and error unless there is a terminal, which has both in one.
    pub(in crate::verb) output: bool,
    pub(in crate::verb) terminal: bool,
}

impl Fifos {
    /// Makes them in `folder`, which is made with them if it is not there. They go when
    /// this is dropped, unless [`keep`](Self::keep) was called.
    ///
    /// # Errors
    /// Internal when they cannot be made; nothing of them is left.
    pub(in crate::verb) fn make(folder: &Path, wanted: Wanted) -> Result<Fifos> {
        let failed = |error: std::io::Error| {
            let full = error.kind() == std::io::ErrorKind::StorageFull;
            let message = format!("make FIFOs in {}", folder.display());
            let error = Error::internal(message).with_source(error);
            if full { error.with_kind(lamina_core::Kind::ResourceExhausted) } else { error }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // From here on a drop takes away what was made.
        let mut fifos = Fifos::default();
        fifos.folder = Some(folder.to_owned());
        let make = |name: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                .map_err(|error| failed(error.into()))?;
            Ok(path)
        };
        let text = |path: &Path| path.display().to_string();
        fifos.stdio.terminal = wanted.terminal;
        if wanted.stdin {
            let path = make("stdin")?;
            (fifos.stdio.stdin, fifos.stdin) = (text(&path), Some(path));
        }
        if wanted.output {
            let path = make("stdout")?;
            (fifos.stdio.stdout, fifos.stdout) = (text(&path), Some(end(&path)?));
        }
        if wanted.output && !wanted.terminal {
            let path = make("stderr")?;
            (fifos.stdio.stderr, fifos.stderr) = (text(&path), Some(end(&path)?));
        }
        Ok(fifos)
    }

    /// Those of a process that runs. Streams that are no FIFOs are left out, and those that are not
    /// wanted.
    ///
    /// # Errors
    /// FailedPrecondition when they are not there any more.
    pub(in crate::verb) fn open(stdio: &Stdio, input: bool, output: bool) -> Result<Fifos> {
        let reach = |address: &str| -> Result<Option<PathBuf>> {
            if !address.starts_with('/') {
                return Ok(None);
            }
            let fifo = Path::new(address);
            if !fifo.metadata().is_ok_and(|meta| meta.file_type().is_fifo()) {
                let message = format!("{address:?}, where a stream of it went, is no FIFO");
                return Err(Error::failed_precondition(message));
            }
            Ok(Some(fifo.to_owned()))
        };
        let read = |address: &str| reach(address)?.map(|path| end(&path)).transpose();
        Ok(Fifos {
            stdin: if input { reach(&stdio.stdin)? } else { None },
            stdout: if output { read(&stdio.stdout)? } else { None },
            stderr: if output { read(&stdio.stderr)? } else { None },
            stdio: stdio.clone(),
            folder: None,
        })
    }

    /// For a shim.
    pub(in crate::verb) fn stdio(&self) -> Stdio {
        self.stdio.clone()
    }

    /// Whether its output comes through them.
    pub(in crate::verb) fn has_output(&self) -> bool {
        self.stdout.is_some()
    }

    /// Our ends of the output, for somebody else to read.
    pub(in crate::verb) fn take_output(&mut self) -> (Option<File>, Option<File>) {
        (self.stdout.take(), self.stderr.take())
    }

    /// Lets them stay, for who attaches later.
    pub(in crate::verb) fn keep(&mut self) {
        self.folder = None;
    }
}

impl Drop for Fifos {
    fn drop(&mut self) {
        let Some(folder) = &self.folder else { return };
        for name in ["stdin", "stdout", "stderr"] {
            // Those that were not made.
            let _ = std::fs::remove_file(folder.join(name));
        }
        // Others may have things beside them, and below the folder above.
        let _ = std::fs::remove_dir(folder);
        let _ = folder.parent().map(std::fs::remove_dir);
    }
}

/// Our end of output, without waiting for a shim that is not there yet.
fn end(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map(File::from).map_err(|error| {
        Error::internal(format!("open the FIFO {}", path.display())).with_source(error)
    })
}
