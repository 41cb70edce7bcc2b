//! Device-mapper (`linux/dm-ioctl.h`): mapped devices, their tables, and messages to their targets.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, opcode};

use crate::error::{Call, Result, SysError};

/// Where the nodes of mapped devices lie.
pub const DIRECTORY: &str = "/dev/mapper";

/// The open control device.
#[derive(Debug)]
pub struct Control(OwnedFd);

/// One line of a device's table: a target over some of its sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How many sectors of 512 bytes it has; the first begins at 0.
    pub sectors: u64,
    /// The kind, such as `thin`.
    pub kind: String,
    /// What the kind takes, or, when asked for, says of itself.
    pub parameters: String,
}

/// What the kernel says about a mapped device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its number, as of `stat`.
    pub device: u64,
    /// How often it is open, mounts included.
    pub open_count: u32,
    /// It holds back what is written to it.
    pub suspended: bool,
    /// It has a table, and so works.
    pub active: bool,
    /// Each target's word about itself.
    pub targets: Vec<Target>,
}

/// When a device goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Now, or `EBUSY` while it is open.
    Now,
    /// When nobody has it open any more.
    Deferred,
}

impl Control {
    /// Opens it; `ENOENT`, `ENXIO` or `ENODEV` where the kernel has no device-mapper.
    pub fn open() -> Result<Control> {
        let path = format!("{DIRECTORY}/control");
        let fd = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        Ok(Control(fd.call_on("open", &path)?))
    }

    /// Makes a device with this one target, and its node below [`DIRECTORY`]. `EBUSY` if the name
    /// is taken. Nothing stays of one that the target refuses.
    pub fn create(&self, name: &str, target: &Target) -> Result<()> {
        let made = self.call::<DEV_CREATE>("dm(DEV_CREATE)", Request::new(name)?)?;
        let worked = self.load(name, target).and_then(|()| self.resume(name));
        if let Err(error) = worked.and_then(|()| make_node(name, made.header.device)) {
            // The first error is the one to tell.
            let _ = self.remove(name, Removal::Now);
            return Err(error);
        }
        Ok(())
    }

    fn load(&self, name: &str, target: &Target) -> Result<()> {
        let mut request = Request::new(name)?;
        request.header.target_count = 1;
        let mut spec = [0_u8; SPEC];
        spec[8..16].copy_from_slice(&target.sectors.to_ne_bytes());
        let kind = target.kind.as_bytes();
        if kind.len() >= 16 {
            return Err(SysError::new("dm(TABLE_LOAD)", Errno::INVAL).on(&target.kind));
        }
        spec[24..24 + kind.len()].copy_from_slice(kind);
        request.push(&spec)?;
        request.push(target.parameters.as_bytes())?;
        self.call::<TABLE_LOAD>("dm(TABLE_LOAD)", request).map(drop)
    }

    /// Lets a device work, with the table that was loaded last.
    pub fn resume(&self, name: &str) -> Result<()> {
        self.call::<DEV_SUSPEND>("dm(DEV_RESUME)", Request::new(name)?).map(drop)
    }

    /// Writes out what a device's file system holds, and holds everything else back.
    pub fn suspend(&self, name: &str) -> Result<()> {
        let mut request = Request::new(name)?;
        request.header.flags = SUSPEND;
        self.call::<DEV_SUSPEND>("dm(DEV_SUSPEND)", request).map(drop)
    }

    /// Removes a device and its node. `EBUSY` if it is open and shall go now; one that is not there
    /// is `ENXIO`.
    pub fn remove(&self, name: &str, when: Removal) -> Result<()> {
        let mut request = Request::new(name)?;
        if when == Removal::Deferred {
            request.header.flags = DEFERRED_REMOVE;
        }
        let answer = self.call::<DEV_REMOVE>("dm(DEV_REMOVE)", request)?;
        let stays = answer.header.flags & DEFERRED_REMOVE != 0;
        match std::fs::remove_file(node(name)) {
            _ if stays => Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(crate::error::from_io("unlink", &error).on(node(name)))
            }
            _ => Ok(()),
        }
    }

    /// Sends a message to a device's target.
    pub fn message(&self, name: &str, message: &str) -> Result<()> {
        let mut request = Request::new(name)?;
        request.push(&0_u64.to_ne_bytes())?;
        request.push(message.as_bytes())?;
        self.call::<TARGET_MSG>("dm(TARGET_MSG)", request)
            .map(drop)
            .map_err(|error| error.because(message))
    }

    /// What a device is, and what its targets say; none if there is no such device.
    pub fn status(&self, name: &str) -> Result<Option<Status>> {
        let request = Request::new(name)?;
        let answer = match self.call::<TABLE_STATUS>("dm(TABLE_STATUS)", request) {
            Err(error) if error.errno() == Errno::NXIO => return Ok(None),
            answer => answer?,
        };
        let header = &answer.header;
        Ok(Some(Status {
            device: header.device,
            open_count: header.open_count.unsigned_abs(),
            suspended: header.flags & SUSPEND != 0,
            active: header.flags & ACTIVE_PRESENT != 0,
            targets: answer.targets(),
        }))
    }

    fn call<const CODE: Opcode>(
        &self,
        call: &'static str,
        mut request: Request,
    ) -> Result<Request> {
        let name = request.name();
        // SAFETY: the opcode reads and writes a `struct dm_ioctl` and what follows it, up to the
        // `data_size` in it, which ends within Request.
        unsafe { rustix::ioctl::ioctl(&self.0, Updater::<CODE, Request>::new(&mut request)) }
            .call_on(call, &name)?;
        Ok(request)
    }
}

/// The node of a device.
pub fn node(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes the node, where no udev does.
fn make_node(name: &str, device: u64) -> Result<()> {
    let path = node(name);
    // What is there may be of another device that had the name.
    let number = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).map(|found| found.rdev())
    };
    // The kernel's form of a number is that of `makedev` for the majors there are.
    if number(&path).is_ok_and(|found| found == device) {
        return Ok(());
    }
    let made = || {
        rustix::fs::mknodat(CWD, &path, FileType::BlockDevice, Mode::from_raw_mode(0o600), device)
    };
    match made() {
        Err(Errno::EXIST) => {
            let _ = std::fs::remove_file(&path);
            match made() {
                Err(Errno::EXIST) => Ok(()),
                again => again.call_on("mknodat", &path),
            }
        }
        result => result.call_on("mknodat", &path),
    }
}

/// Gives all blocks of a block device back to what is below it.
pub fn discard(device: impl AsFd, bytes: u64) -> Result<()> {
    // SAFETY: the opcode reads two numbers, the first byte and how many.
    unsafe { rustix::ioctl::ioctl(device, Setter::<BLKDISCARD, [u64; 2]>::new([0, bytes])) }
        .call("ioctl(BLKDISCARD)")
}

/// `struct dm_ioctl`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    unused: [u8; 7],
}

/// A header and what belongs to it.
#[repr(C)]
struct Request {
    header: Header,
    data: [u8; DATA],
    /// How much of `data` is taken. The kernel is told of a size that ends before this.
    used: usize,
}

impl Request {
    fn new(name: &str) -> Result<Request> {
        let mut header = Header {
            version: [4, 0, 0],
            data_size: (size_of::<Header>() + DATA) as u32,
            data_start: size_of::<Header>() as u32,
            target_count: 0,
            open_count: 0,
            flags: 0,
            event: 0,
            padding: 0,
            device: 0,
            name: [0; 128],
            uuid: [0; 129],
            unused: [0; 7],
        };
        if name.is_empty() || name.len() >= 128 {
            return Err(SysError::new("dm", Errno::INVAL).on(name));
        }
        header.name[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Request { header, data: [0; DATA], used: 0 })
    }

    fn name(&self) -> String {
        text(&self.header.name)
    }

    /// Adds to the data; what follows the last byte is zero.
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.used + bytes.len();
        if end >= DATA {
            return Err(SysError::new("dm", Errno::TOOBIG).on(self.name()));
        }
        self.data[self.used..end].copy_from_slice(bytes);
        self.used = end;
        Ok(())
    }

    /// The targets that the kernel wrote into the data.
    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let start = (self.header.data_start as usize).saturating_sub(size_of::<Header>());
        let mut at = start;
        for _ in 0..self.header.target_count {
            let Some(spec) = self.data.get(at..at + SPEC) else { break };
            let number = |from: usize| {
                spec[from..from + 8]
                    .iter()
                    .rev()
                    .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
            };
            let (sectors, next) = (number(8), number(16) >> 32);
            let parameters = text(self.data.get(at + SPEC..).unwrap_or_default());
            targets.push(Target { sectors, kind: text(&spec[24..40]), parameters });
            // Counted from the first one.
            at = start + next as usize;
        }
        targets
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

const DATA: usize = 4096;
/// The size of `struct dm_target_spec`.
const SPEC: usize = 40;

const _: () = assert!(size_of::<Header>() == 312);
const _: () = assert!(std::mem::offset_of!(Request, used) == 312 + DATA);

const SUSPEND: u32 = 1 << 1;
const ACTIVE_PRESENT: u32 = 1 << 5;
const DEFERRED_REMOVE: u32 = 1 << 17;

const DEV_CREATE: Opcode = opcode::read_write::<Header>(0xfd, 3);
const DEV_REMOVE: Opcode = opcode::read_write::<Header>(0xfd, 4);
const DEV_SUSPEND: Opcode = opcode::read_write::<Header>(0xfd, 6);
const TABLE_LOAD: Opcode = opcode::read_write::<Header>(0xfd, 9);
const TABLE_STATUS: Opcode = opcode::read_write::<Header>(0xfd, 12);
const TARGET_MSG: Opcode = opcode::read_write::<Header>(0xfd, 14);
const BLKDISCARD: Opcode = 0x1277;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_header_file() {
        assert_eq!(DEV_CREATE, 0xc138_fd03);
        assert_eq!(TARGET_MSG, 0xc138_fd0e);
    }

    #[test]
    fn names_and_tables_have_bounds() {
        assert!(Request::new("").is_err());
        assert!(Request::new(&"x".repeat(128)).is_err());
        let mut request = Request::new("x").unwrap();
        request.push(&[1; DATA - 1]).unwrap();
        assert_eq!(request.push(&[1]).unwrap_err().errno(), Errno::TOOBIG);
    }

    #[test]
    fn targets_are_read_from_what_the_kernel_writes() {
        let mut request = Request::new("x").unwrap();
        request.header.target_count = 2;
        for (at, next, kind, parameters) in [(0, 56, "thin", "8 15"), (56, 112, "linear", "")] {
            request.data[at + 8] = 9;
            request.data[at + 20] = next;
            request.data[at + 24..at + 24 + kind.len()].copy_from_slice(kind.as_bytes());
            request.data[at + 40..at + 40 + parameters.len()]
                .copy_from_slice(parameters.as_bytes());
        }
        let targets = request.targets();
        let target = |kind: &str, parameters: &str| Target {
            sectors: 9,
            kind: kind.to_owned(),
            parameters: parameters.to_owned(),
        };
        assert_eq!(targets, [target("thin", "8 15"), target("linear", "")]);
    }
}
