//! What the allocator does with memory that was freed.

/// Blocks of this many bytes and more go back to the kernel when they are freed.
#[cfg(target_env = "gnu")]
const LARGE: std::ffi::c_int = 256 << 10;

/// So many pools of small blocks, whatever the number of threads: what lies free in one is of no use to
/// the threads of another.
#[cfg(target_env = "gnu")]
const ARENAS: std::ffi::c_int = 2;

/// Has large blocks go back to the kernel when they are freed, in the whole process from now on.
/// Otherwise glibc raises what it takes for large with each such block that is freed, up to 32 MiB, and
/// keeps those below in its arenas (mallopt(3), `M_MMAP_THRESHOLD`). Other allocators are left as they are.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes numbers of the allocator and touches no memory of ours; glibc takes its
    // lock. It says no for a number that it does not have, and then all stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}
