//! The log of changes: records one behind the other, in the order in which they took effect.
//!
//! A record is its length after these four bytes (`u32`), its kind (`u8`), a file's number (`u32`), a number (`u64`), all
//! little-endian, and bytes. Paths are relative to the folder, which itself is the empty path.
//!
//! | kind | file | number | bytes |
//! |---|---|---|---|
//! | 1 opened | number it has from here on | 1 created, 2 folder, 4 cut to nothing, or a sum of them | path |
//! | 2 to be written | file | offset | data |
//! | 3 length set | file | length | |
//! | 4 synced | file or folder | how many records there were when the sync began | |
//! | 5 sync failed | file or folder | the same | |
//! | 6 renamed | | | path, a zero byte, path |
//! | 7 removed | | | path |
//! | 8 folder made | | | path |
//!
//! A write comes before it is carried out, everything else after it has succeeded. The log itself is written with one call
//! for each record: who is killed leaves at most its last record incomplete, and that one did not happen.

use std::{cell::Cell, ffi::CStr};

use crate::state::give_up;

pub(crate) const OPENED: u8 = 1;
pub(crate) const WRITE: u8 = 2;
pub(crate) const LENGTH_SET: u8 = 3;
pub(crate) const SYNCED: u8 = 4;
pub(crate) const SYNC_FAILED: u8 = 5;
pub(crate) const RENAMED: u8 = 6;
pub(crate) const REMOVED: u8 = 7;
pub(crate) const FOLDER_MADE: u8 = 8;

/// The log, to which one thread at a time writes.
pub(crate) struct Log {
    fd: Option<i32>,
    records: Cell<u64>,
}

impl Log {
    /// Opens it for append; without a path nothing is recorded.
    pub(crate) fn open(path: Option<&CStr>) -> Log {
        let fd = path.map(|path| {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
            // SAFETY: the path is a C string, and `openat` keeps nothing of it.
            let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
            if fd < 0 {
                give_up("the log cannot be opened");
            }
            fd as i32
        });
        Log { fd, records: Cell::new(0) }
    }

    /// How many records there are.
    pub(crate) fn records(&self) -> u64 {
        self.records.get()
    }

    /// Appends a record; its bytes are `parts`, one behind the other.
    pub(crate) fn append(&self, kind: u8, file: u32, number: u64, parts: &[&[u8]]) {
        self.records.set(self.records.get() + 1);
        let Some(fd) = self.fd else { return };
        let len = 13 + parts.iter().map(|part| part.len()).sum::<usize>();
        let Ok(len32) = u32::try_from(len) else { give_up("a write of 4 GiB cannot be recorded") };
        let mut head = [0; 17];
        head[..4].copy_from_slice(&len32.to_le_bytes());
        head[4] = kind;
        head[5..9].copy_from_slice(&file.to_le_bytes());
        head[9..].copy_from_slice(&number.to_le_bytes());
        let mut pieces = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 9];
        if parts.len() >= pieces.len() {
            give_up("a write of more than eight parts cannot be recorded");
        }
        for (piece, bytes) in pieces.iter_mut().zip([&head[..]].iter().chain(parts)) {
            *piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        }
        // SAFETY: each of the first pieces is a slice that outlives the call, and is only read.
        let written = unsafe { libc::syscall(libc::SYS_writev, fd, pieces.as_ptr(), 1 + parts.len()) };
        if usize::try_from(written) != Ok(4 + len) {
            give_up("the log cannot be written");
        }
    }
}
