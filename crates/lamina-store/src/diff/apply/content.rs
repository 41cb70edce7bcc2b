//! The content of a file: from the stream to its descriptor.
//!
//! Write-back of large files is started as they grow, so that little is left for the barrier
//! before the snapshot's row.

use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use lamina_core::{Error, Result};
use lamina_sys::fs;
use tar_core::SparseEntry;

use super::error;
use super::header::{Kind, Record};
use super::options::ApplyOptions;
use super::reader::TarReader;
use crate::snapshot::driver::Contents;

/// Writes files, and keeps an eye on the space that must stay free.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    options: &'a ApplyOptions<'a>,
    since_look: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(options: &'a ApplyOptions<'a>) -> Self {
        // The first write looks.
        Writer { options, since_look: LOOK_EVERY }
    }

    /// Fills a new file with an entry's content; answers it with nothing but content.
    pub(super) fn fill<R: BufRead>(
        &mut self,
        fd: OwnedFd,
        record: &Record,
        reader: &mut TarReader<'_, R>,
    ) -> Result<OwnedFd> {
        if let Some(contents) = self.options.contents {
            self.apart(&fd, record, reader, contents)?;
            return Ok(fd);
        }
        let mut file = File::from(fd);
        match &record.kind {
            Kind::Sparse { size, regions } => {
                for region in regions {
                    self.region(&file, region, reader)?;
                }
                fs::truncate(&file, *size).map_err(|cause| error::sys("set its size", cause))?;
            }
            _ => self.whole(&mut file, reader)?,
        }
        Ok(file.into())
    }

    fn whole<R: BufRead>(&mut self, file: &mut File, reader: &mut TarReader<'_, R>) -> Result<()> {
        let (mut written, mut started) = (0u64, 0u64);
        loop {
            let chunk = reader.content(u64::MAX)?;
            let len = chunk.len();
            if len == 0 {
                break;
            }
            file.write_all(chunk).map_err(error::write)?;
            reader.consume(len);
            written += len as u64;
            self.account(&*file, len)?;
            if written - started >= WRITEBACK {
                start_writeback(&*file, started, written - started);
                started = written;
            }
        }
        if started > 0 && written > started {
            start_writeback(&*file, started, written - started);
        }
        Ok(())
    }

    /// Leaves a new file empty, and its content to somebody else.
    fn apart<R: BufRead>(
        &mut self,
        file: &OwnedFd,
        record: &Record,
        reader: &mut TarReader<'_, R>,
        contents: &dyn Contents,
    ) -> Result<()> {
        let found = fs::stat(file).map_err(|cause| error::sys("look at the new file", cause))?;
        contents.begin(found.identity()).map_err(error::write)?;
        let mut pass = |most: u64| -> Result<()> {
            let mut left = most;
            while left > 0 {
                let chunk = reader.content(left)?;
                let len = chunk.len();
                match (len, most) {
                    (0, u64::MAX) => break,
                    (0, _) => return Err(Error::invalid_argument("its sparse map is malformed")),
                    _ => contents.append(chunk).map_err(error::write)?,
                }
                reader.consume(len);
                self.account(file, len)?;
                left -= len as u64;
            }
            Ok(())
        };
        let Kind::Sparse { size, regions } = &record.kind else { return pass(u64::MAX) };
        let mut at = 0;
        for region in regions {
            // In order and inside the file: the header was checked.
            contents.skip(region.offset.saturating_sub(at)).map_err(error::write)?;
            pass(region.length)?;
            at = region.offset.saturating_add(region.length);
        }
        contents.skip(size.saturating_sub(at)).map_err(error::write)
    }

    fn region<R: BufRead>(
        &mut self,
        file: &File,
        region: &SparseEntry,
        reader: &mut TarReader<'_, R>,
    ) -> Result<()> {
        let mut done = 0;
        while done < region.length {
            let chunk = reader.content(region.length - done)?;
            let len = chunk.len();
            if len == 0 {
                return Err(Error::invalid_argument("its sparse map is malformed"));
            }
            file.write_all_at(chunk, region.offset + done).map_err(error::write)?;
            reader.consume(len);
            done += len as u64;
            self.account(file, len)?;
        }
        Ok(())
    }

    fn account(&mut self, fd: impl AsFd, len: usize) -> Result<()> {
        self.options.check_cancelled()?;
        self.since_look += len as u64;
        let reserve = self.options.limits.free_bytes;
        if reserve == 0 || self.since_look < LOOK_EVERY {
            return Ok(());
        }
        self.since_look = 0;
        let info = fs::fs_info(self.options.space.unwrap_or(fd.as_fd()))
            .map_err(|cause| error::sys("look at the space that is free", cause))?;
        if info.available_bytes < reserve {
            return Err(Error::resource_exhausted(format!(
                "{} bytes are free, and {reserve} are to stay so",
                info.available_bytes
            )));
        }
        Ok(())
    }
}

fn start_writeback(fd: impl AsFd, offset: u64, len: u64) {
    // A hint: where it fails, the barrier has more to do and reports what is wrong.
    let _ = fs::start_writeback(fd, offset, len);
}

/// Large enough that write-back goes in long runs, small enough that the disk is not idle.
const WRITEBACK: u64 = 8 << 20;
const LOOK_EVERY: u64 = 32 << 20;
