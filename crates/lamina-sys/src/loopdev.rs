//! Loop devices: a file as a block device (`loop(4)`, `linux/loop.h`).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, NoArg, Opcode, Setter, Updater};

use crate::error::{Call, Result, SysError, check, from_io};

/// How a file is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopOptions {
    /// The device refuses writes. Needed when the file is open read-only.
    pub read_only: bool,
    /// The kernel detaches the device when its last user (descriptor or mount) is gone.
    pub autoclear: bool,
    /// Bypass the page cache of the file. Left off without error where the file cannot
    /// (Linux decides by alignment), see [`LoopStatus::direct_io`].
    pub direct_io: bool,
}

/// What the kernel says about an attached device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopStatus {
    /// Inode of the file.
    pub ino: u64,
    /// It refuses writes.
    pub read_only: bool,
    /// It will detach itself.
    pub autoclear: bool,
    /// It bypasses the page cache.
    pub direct_io: bool,
}

/// An open loop device. Dropping it only closes the descriptor: with `autoclear` that detaches
/// the file unless the device is mounted by then, without it the device stays.
#[derive(Debug)]
pub struct LoopDevice {
    fd: OwnedFd,
    number: u32,
}

impl LoopDevice {
    /// Attaches a file to a free device. `name` (for people; cut to 63 bytes) is what tools show.
    ///
    /// Another process may take the free device in between: then this tries again, with pauses,
    /// up to 100 times, and fails with `EBUSY`.
    pub fn attach(
        file: impl AsFd,
        name: impl AsRef<OsStr>,
        options: LoopOptions,
    ) -> Result<LoopDevice> {
        let (file, name) = (file.as_fd(), name.as_ref());
        let control = open_control()?;
        let mut pause = Pause::new();
        loop {
            let number = free_number(&control)?;
            let attempt = LoopDevice::open(number, options.read_only)
                .and_then(|device| device.configure(file, name, options).map(|()| device));
            match attempt {
                // Taken by another (BUSY), or removed again by LOOP_CTL_REMOVE (NXIO, NODEV).
                Err(error)
                    if matches!(error.errno(), Errno::BUSY | Errno::NXIO | Errno::NODEV)
                        && pause.sleep() => {}
                result => return result,
            }
        }
    }

    /// Opens `/dev/loopN`, making the node if `/dev` lacks it (no udev, as in containers).
    pub fn open(number: u32, read_only: bool) -> Result<LoopDevice> {
        let path = device_path(number);
        let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let open = || rustix::fs::open(&path, access | OFlags::CLOEXEC, Mode::empty());
        let fd = match open() {
            Err(Errno::NOENT) => {
                make_node(&path, number)?;
                open()
            }
            result => result,
        };
        Ok(LoopDevice { fd: fd.call_on("open", &path)?, number })
    }

    /// The N of `/dev/loopN`.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> PathBuf {
        device_path(self.number)
    }

    /// Detaches the file. While others use the device, the kernel only marks it to be detached
    /// after them. Fine if nothing is attached any more.
    pub fn detach(&self) -> Result<()> {
        // SAFETY: the opcode takes no argument.
        match unsafe { rustix::ioctl::ioctl(&self.fd, NoArg::<CLR_FD>::new()) } {
            Err(Errno::NXIO) => Ok(()),
            result => result.call_on("ioctl(LOOP_CLR_FD)", self.path()),
        }
    }

    /// What is attached; `ENXIO` (no device) if nothing is.
    pub fn status(&self) -> Result<LoopStatus> {
        let info = self.info()?;
        Ok(LoopStatus {
            ino: info.inode,
            read_only: info.flags & READ_ONLY != 0,
            autoclear: info.flags & AUTOCLEAR != 0,
            direct_io: info.flags & DIRECT_IO != 0,
        })
    }

    /// Turns autoclear on or off.
    pub fn set_autoclear(&self, on: bool) -> Result<()> {
        let mut info = self.info()?;
        info.flags = if on { info.flags | AUTOCLEAR } else { info.flags & !AUTOCLEAR };
        self.set_info(info)
    }

    /// The path of the attached file as the kernel knows it; `None` if nothing is attached.
    pub fn backing_file(&self) -> Result<Option<PathBuf>> {
        backing_file(self.number)
    }

    fn configure(&self, file: BorrowedFd<'_>, name: &OsStr, options: LoopOptions) -> Result<()> {
        let mut flags = 0;
        for (on, flag) in [
            (options.read_only, READ_ONLY),
            (options.autoclear, AUTOCLEAR),
            (options.direct_io, DIRECT_IO),
        ] {
            flags |= if on { flag } else { 0 };
        }
        let mut info = LoopInfo { flags, ..LoopInfo::EMPTY };
        for (to, from) in info.file_name.iter_mut().take(63).zip(name.as_bytes()) {
            *to = *from;
        }
        let config = LoopConfig {
            // A borrowed descriptor is never negative.
            fd: file.as_raw_fd().unsigned_abs(),
            block_size: 0,
            info,
            reserved: [0; 8],
        };
        // SAFETY: the opcode reads `struct loop_config`, which LoopConfig is.
        match unsafe { rustix::ioctl::ioctl(&self.fd, Setter::<CONFIGURE, _>::new(config)) } {
            // Before Linux 5.8 the opcode is unknown.
            Err(Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => self.configure_in_steps(file, info),
            result => result.call_on("ioctl(LOOP_CONFIGURE)", self.path()),
        }
    }

    fn configure_in_steps(&self, file: BorrowedFd<'_>, info: LoopInfo) -> Result<()> {
        let number = file.as_raw_fd().unsigned_abs() as usize;
        // SAFETY: the opcode takes a descriptor number as its argument, borrowed for the call.
        // Read-only follows from how the device and the file are open.
        unsafe { rustix::ioctl::ioctl(&self.fd, IntegerSetter::<SET_FD>::new_usize(number)) }
            .call_on("ioctl(LOOP_SET_FD)", self.path())?;
        if let Err(error) = self.set_info(info) {
            // Do not leave it attached without autoclear; the first error is the one to tell.
            let _ = self.detach();
            return Err(error);
        }
        if info.flags & DIRECT_IO != 0 {
            // SAFETY: the opcode takes 0 or 1. A file that cannot is no error, see LoopOptions.
            let _ = unsafe {
                rustix::ioctl::ioctl(&self.fd, IntegerSetter::<SET_DIRECT_IO>::new_usize(1))
            };
        }
        Ok(())
    }

    fn info(&self) -> Result<LoopInfo> {
        let mut info = LoopInfo::EMPTY;
        // SAFETY: the opcode writes `struct loop_info64`, which LoopInfo is.
        unsafe { rustix::ioctl::ioctl(&self.fd, Updater::<GET_STATUS64, _>::new(&mut info)) }
            .call_on("ioctl(LOOP_GET_STATUS64)", self.path())?;
        Ok(info)
    }

    fn set_info(&self, info: LoopInfo) -> Result<()> {
        // SAFETY: the opcode reads `struct loop_info64`, which LoopInfo is.
        unsafe { rustix::ioctl::ioctl(&self.fd, Setter::<SET_STATUS64, _>::new(info)) }
            .call_on("ioctl(LOOP_SET_STATUS64)", self.path())
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The path of the file attached to `/dev/loopN` as the kernel knows it, from sysfs; `None` if
/// nothing is attached. A file that was deleted ends in ` (deleted)`.
pub fn backing_file(number: u32) -> Result<Option<PathBuf>> {
    let path = format!("/sys/block/loop{number}/loop/backing_file");
    match std::fs::read(&path) {
        Ok(mut text) => {
            if text.last() == Some(&b'\n') {
                text.pop();
            }
            Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(text))))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(from_io("read", &error).on(path)),
    }
}

/// The numbers of the loop devices that can write to the file at `path` (absolute, without links),
/// as this process sees its path.
pub fn writers_of(path: impl AsRef<Path>) -> Result<Vec<u32>> {
    let (path, sys) = (path.as_ref(), "/sys/block");
    let mut numbers = Vec::new();
    let entries = match std::fs::read_dir(sys) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(numbers),
        Err(error) => return Err(from_io("readdir", &error).on(sys)),
    };
    for entry in entries {
        let name = entry.map_err(|error| from_io("readdir", &error).on(sys))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let Some(number) = number else { continue };
        if backing_file(number)?.is_some_and(|file| file == path) && !refuses_writes(number) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

fn refuses_writes(number: u32) -> bool {
    std::fs::read(format!("/sys/block/loop{number}/ro")).is_ok_and(|text| text.starts_with(b"1"))
}

fn open_control() -> Result<OwnedFd> {
    let path = "/dev/loop-control";
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).call_on("open", path)
}

fn free_number(control: &OwnedFd) -> Result<u32> {
    // SAFETY: the opcode takes no argument and answers a device number.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), CTL_GET_FREE as libc::Ioctl) };
    let number = check(number.into()).call("ioctl(LOOP_CTL_GET_FREE)")?;
    u32::try_from(number).map_err(|_| SysError::new("ioctl(LOOP_CTL_GET_FREE)", Errno::OVERFLOW))
}

fn make_node(path: &Path, number: u32) -> Result<()> {
    let device = rustix::fs::makedev(LOOP_MAJOR, number);
    let mode = Mode::from_raw_mode(0o660);
    match rustix::fs::mknodat(CWD, path, FileType::BlockDevice, mode, device) {
        // udev was faster.
        Err(Errno::EXIST) => Ok(()),
        result => result.call_on("mknodat", path),
    }
}

fn device_path(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// Pauses that grow from 1 ms to 50 ms, 99 of them, spread by pid and clock so that processes in
/// a race fall out of step.
struct Pause {
    tries: u32,
}

impl Pause {
    fn new() -> Pause {
        Pause { tries: 0 }
    }

    /// Sleeps; `false` when there were enough.
    fn sleep(&mut self) -> bool {
        if self.tries >= 99 {
            return false;
        }
        self.tries += 1;
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        let spread = u64::from(clock ^ std::process::id()) % 1000;
        let base = u64::from(self.tries.min(49)) * 1000;
        std::thread::sleep(Duration::from_micros(base + spread));
        true
    }
}

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl LoopInfo {
    const EMPTY: LoopInfo = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);

const LOOP_MAJOR: u32 = 7;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;
const SET_FD: Opcode = 0x4C00;
const CLR_FD: Opcode = 0x4C01;
const SET_STATUS64: Opcode = 0x4C04;
const GET_STATUS64: Opcode = 0x4C05;
const SET_DIRECT_IO: Opcode = 0x4C08;
const CONFIGURE: Opcode = 0x4C0A;
const CTL_GET_FREE: Opcode = 0x4C82;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{self, MountFlags};
    use crate::testing::{Mounted, TempDir, need_root, or_skip, run};
    use crate::{Outcome, fs};

    const PLAIN: LoopOptions = LoopOptions { read_only: false, autoclear: true, direct_io: false };

    fn image(temp: &TempDir, size: u64) -> OwnedFd {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let file = fs::open_at(temp.fd(), "image", flags, 0o600).unwrap();
        fs::truncate(&file, size).unwrap();
        file
    }

    #[test]
    fn privileged_ext4_on_a_file() {
        const NAME: &str = "privileged_ext4_on_a_file";
        need_root!("privileged_ext4_on_a_file");
        let temp = TempDir::new();
        let file = image(&temp, 8 << 20);
        let path = temp.path().join("image");
        if let Err(error) = run("mkfs.ext4", &["-q".as_ref(), path.as_os_str()]) {
            return eprintln!("SKIP {NAME}: {error}");
        }
        let device = or_skip!("privileged_ext4_on_a_file", LoopDevice::attach(&file, &path, PLAIN));
        let status = device.status().unwrap();
        assert!(status.autoclear && !status.read_only);
        assert_eq!(status.ino, fs::stat(&file).unwrap().ino);
        assert_eq!(device.backing_file().unwrap(), Some(path.canonicalize().unwrap()));
        let target = temp.mkdir("mnt");
        let mounted = Mounted(target.clone());
        mount::mount(device.path(), &target, "ext4", MountFlags::empty(), "").unwrap();
        std::fs::write(target.join("f"), b"x").unwrap();
        let number = device.number();
        drop(device);
        assert!(backing_file(number).unwrap().is_some(), "the mount keeps it");
        drop(mounted);
        wait_until_free(number, &path);
    }

    /// Autoclear works a moment after the last close.
    fn wait_until_free(number: u32, path: &Path) {
        for _ in 0..200 {
            let found = backing_file(number).unwrap();
            if found.as_deref() != Some(path) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("/dev/loop{number} is still attached to {}", path.display());
    }

    #[test]
    fn privileged_read_only_and_detach() {
        need_root!("privileged_read_only_and_detach");
        let temp = TempDir::new();
        let file = image(&temp, 1 << 20);
        let options = LoopOptions { read_only: true, autoclear: true, direct_io: true };
        let device =
            or_skip!("privileged_read_only_and_detach", LoopDevice::attach(&file, "x", options));
        assert!(device.status().unwrap().read_only);
        device.set_autoclear(false).unwrap();
        assert!(!device.status().unwrap().autoclear);
        device.set_autoclear(true).unwrap();
        device.detach().unwrap();
        let path = temp.path().join("image").canonicalize().unwrap();
        let number = device.number();
        drop(device);
        wait_until_free(number, &path);
    }

    #[test]
    fn privileged_the_old_ioctls_do_the_same() {
        need_root!("privileged_the_old_ioctls_do_the_same");
        let temp = TempDir::new();
        let file = image(&temp, 1 << 20);
        let control = or_skip!("privileged_the_old_ioctls_do_the_same", open_control());
        // Others attach at the same time, so the free one may be taken.
        let mut pause = Pause::new();
        let device = loop {
            let device = LoopDevice::open(free_number(&control).unwrap(), false).unwrap();
            let info = LoopInfo { flags: AUTOCLEAR, ..LoopInfo::EMPTY };
            match device.configure_in_steps(file.as_fd(), info) {
                Err(error) if error.is_busy() && pause.sleep() => {}
                result => break result.map(|()| device).unwrap(),
            }
        };
        assert!(device.status().unwrap().autoclear);
        assert_eq!(device.status().unwrap().ino, fs::stat(&file).unwrap().ino);
    }

    #[test]
    fn privileged_many_at_once_get_different_devices() {
        need_root!("privileged_many_at_once_get_different_devices");
        let temp = TempDir::new();
        let file = image(&temp, 1 << 20);
        or_skip!("privileged_many_at_once_get_different_devices", open_control());
        let devices: Vec<LoopDevice> = std::thread::scope(|scope| {
            let attach = || LoopDevice::attach(&file, "race", PLAIN).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(attach)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut numbers: Vec<_> = devices.iter().map(LoopDevice::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 8);
    }

    #[test]
    fn privileged_a_directory_cannot_be_attached() {
        need_root!("privileged_a_directory_cannot_be_attached");
        let temp = TempDir::new();
        or_skip!("privileged_a_directory_cannot_be_attached", open_control());
        let error = LoopDevice::attach(temp.fd(), "x", PLAIN).unwrap_err();
        assert_eq!(error.outcome(), Outcome::InvalidArgument, "{error}");
    }
}
