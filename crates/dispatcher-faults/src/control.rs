//! The control file: three numbers of eight bytes, native order, shared with the test that made it.
//!
//! | at | what |
//! |---|---|
//! | 0 | seconds to add to wall time, signed; written by the test |
//! | 8 | not zero: faults that last end now; written by the test |
//! | 16 | how many faults there were; written here |

use std::{
    ffi::CStr,
    ptr,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

/// The numbers of the control file.
#[repr(C)]
pub(crate) struct Control {
    clock_offset: AtomicI64,
    is_released: AtomicU64,
    faults: AtomicU64,
}

/// Without a control file: nothing is shifted, and nothing ends.
static NONE: Control =
    Control { clock_offset: AtomicI64::new(0), is_released: AtomicU64::new(0), faults: AtomicU64::new(0) };

impl Control {
    /// Maps the file at `path`, which must be at least a page long.
    pub(crate) fn open(path: Option<&CStr>) -> &'static Control {
        let Some(path) = path else { return &NONE };
        // SAFETY: the path is a C string, and `open` keeps nothing of it.
        let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDWR) };
        let Ok(fd) = i32::try_from(fd) else { return &NONE };
        if fd < 0 {
            crate::state::give_up("the control file cannot be opened");
        }
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no memory of this process.
        let map =
            unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0) };
        // SAFETY: the descriptor is ours; the mapping stays without it.
        unsafe { libc::syscall(libc::SYS_close, fd) };
        if map == libc::MAP_FAILED {
            crate::state::give_up("the control file cannot be mapped");
        }
        // SAFETY: the mapping is never undone, is aligned to a page, and holds three atomics, which any bytes are valid
        // for and which may be written by another process at any time.
        unsafe { &*map.cast::<Control>() }
    }

    pub(crate) fn clock_offset(&self) -> i64 {
        self.clock_offset.load(Ordering::Relaxed)
    }

    pub(crate) fn is_released(&self) -> bool {
        self.is_released.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }
}
