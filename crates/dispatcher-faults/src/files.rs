//! The C library's calls on files.
//!
//! What is variadic in C has its last argument spelled out here: on the 64-bit ABIs of Linux it comes in the same register,
//! and one that was not passed is not looked at, for the kernel ignores the mode of an `open` that does not create.

use std::{
    ffi::{c_char, c_int, c_void},
    slice,
};

use libc::{AT_FDCWD, iovec, mode_t, off_t, size_t, ssize_t, stat};

use crate::{
    paths::Relative,
    plan::{Call, Verdict, judge},
    record,
    state::{file_of, give_up, kill, set_file, state},
};

/// How many parts a write may have.
const PARTS: usize = 8;

/// # Safety
/// `path` must be a C string.
unsafe fn relative(path: *const c_char) -> Option<Relative> {
    let state = state();
    // SAFETY: the caller's promise.
    unsafe { Relative::new(path, &state.folder, &state.working) }
}

fn fail(error: c_int) -> ssize_t {
    // SAFETY: the place of this thread's `errno` is valid for as long as the thread runs.
    unsafe { *libc::__errno_location() = error };
    -1
}

fn status_of(fd: c_int) -> stat {
    // SAFETY: all bytes zero are a valid `stat`.
    let mut status: stat = unsafe { std::mem::zeroed() };
    // SAFETY: `status` may be written to.
    if unsafe { libc::fstat(fd, &raw mut status) } != 0 {
        give_up("an open file has no status");
    }
    status
}

/// # Safety
/// As the C library's `openat`.
unsafe fn open_file(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise is the kernel's condition, here and below.
    let call = || unsafe { libc::syscall(libc::SYS_openat, folder, path, flags, mode) as c_int };
    // SAFETY: the same.
    let Some(relative) = (unsafe { relative(path) }) else { return call() };
    let mut changes = state().changes();
    // SAFETY: the same.
    let is_there = unsafe { libc::syscall(libc::SYS_faccessat, folder, path, libc::F_OK) } == 0;
    let fd = call();
    if fd < 0 {
        return fd;
    }
    let status = status_of(fd);
    let is_folder = status.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let file = changes.number(&relative, status.st_ino, !is_there);
    let is_cut = is_there && flags & libc::O_TRUNC != 0;
    let what = u64::from(!is_there) | u64::from(is_folder) << 1 | u64::from(is_cut) << 2;
    changes.log.append(record::OPENED, file, what, &[relative.as_bytes()]);
    set_file(fd, file);
    fd
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_file(AT_FDCWD, path, flags, mode) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_file(AT_FDCWD, path, flags, mode) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise. A path relative to a folder that is not the working one is taken for one that is:
    // nothing below the folder of a test is opened in that way.
    unsafe { open_file(folder, path, flags, mode) }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { open_file(folder, path, flags, mode) }
}

#[unsafe(no_mangle)]
extern "C" fn close(fd: c_int) -> c_int {
    // Before the number can be given to another file.
    set_file(fd, 0);
    // SAFETY: whose descriptor it is, is the caller's affair, as with the C library's.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// # Safety
/// `parts` must be `n` valid pieces of memory.
unsafe fn write_parts(fd: c_int, file: u32, parts: *const iovec, n: usize, offset: Option<off_t>) -> ssize_t {
    let mut pieces: [&[u8]; PARTS] = [&[]; PARTS];
    if n > PARTS {
        give_up("a write of more than eight parts");
    }
    for (idx, piece) in pieces.iter_mut().enumerate().take(n) {
        // SAFETY: the caller's promise; a piece of no bytes may have no address, and is left out.
        unsafe {
            let part = &*parts.add(idx);
            if part.iov_len > 0 {
                *piece = slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len);
            }
        }
    }
    let mut len: usize = pieces.iter().map(|piece| piece.len()).sum();
    let state = state();
    let changes = state.changes();
    let verdict = judge(&state.rules, state.control, Call::Write, changes.path(file));
    match verdict {
        Verdict::Fail(error) => return fail(error),
        Verdict::Kill => kill(),
        Verdict::Half => len /= 2,
        Verdict::Pass | Verdict::PassAndKill => {}
    }
    let mut left = len;
    for piece in &mut pieces {
        *piece = &piece[..piece.len().min(left)];
        left -= piece.len();
    }
    let at = position(fd, offset);
    changes.log.append(record::WRITE, file, at.cast_unsigned(), &pieces[..n]);
    let vectors = pieces.map(|piece| iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() });
    // SAFETY: the pieces are valid, and only read.
    let written = unsafe {
        match offset {
            None => libc::syscall(libc::SYS_writev, fd, vectors.as_ptr(), n),
            Some(offset) => libc::syscall(libc::SYS_pwritev, fd, vectors.as_ptr(), n, offset, 0),
        }
    };
    if usize::try_from(written) != Ok(len) {
        give_up("the disk itself failed a write");
    }
    if verdict == Verdict::PassAndKill {
        kill();
    }
    written as ssize_t
}

/// Where a write goes. What is open for append appends, whatever the offset.
fn position(fd: c_int, offset: Option<off_t>) -> off_t {
    // SAFETY: asks for a number, here and below.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags & libc::O_APPEND != 0 {
        return status_of(fd).st_size;
    }
    // SAFETY: the same.
    offset.unwrap_or_else(|| unsafe { libc::syscall(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) })
}

/// # Safety
/// As the C library's: `bytes` must be valid for `len`.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: size_t) -> ssize_t {
    let Some(file) = file_of(fd) else {
        // SAFETY: the caller's promise is the kernel's condition.
        return unsafe { libc::syscall(libc::SYS_write, fd, bytes, len) as ssize_t };
    };
    let part = iovec { iov_base: bytes.cast_mut(), iov_len: len };
    // SAFETY: the caller's promise.
    unsafe { write_parts(fd, file, &raw const part, 1, None) }
}

/// # Safety
/// As the C library's: `bytes` must be valid for `len`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, len: size_t, offset: off_t) -> ssize_t {
    let Some(file) = file_of(fd) else {
        // SAFETY: the caller's promise is the kernel's condition.
        return unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, len, offset) as ssize_t };
    };
    let part = iovec { iov_base: bytes.cast_mut(), iov_len: len };
    // SAFETY: the caller's promise.
    unsafe { write_parts(fd, file, &raw const part, 1, Some(offset)) }
}

/// # Safety
/// As the C library's: `bytes` must be valid for `len`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, len: size_t, offset: off_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { pwrite(fd, bytes, len, offset) }
}

/// # Safety
/// As the C library's: `parts` must be `n` valid pieces of memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, n: c_int) -> ssize_t {
    match file_of(fd) {
        // SAFETY: the caller's promise is the kernel's condition.
        None => unsafe { libc::syscall(libc::SYS_writev, fd, parts, n) as ssize_t },
        // SAFETY: the caller's promise.
        Some(file) => unsafe { write_parts(fd, file, parts, usize::try_from(n).unwrap_or(0), None) },
    }
}

/// # Safety
/// As the C library's: `parts` must be `n` valid pieces of memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev(fd: c_int, parts: *const iovec, n: c_int, offset: off_t) -> ssize_t {
    match file_of(fd) {
        // SAFETY: the caller's promise is the kernel's condition.
        None => unsafe { libc::syscall(libc::SYS_pwritev, fd, parts, n, offset, 0) as ssize_t },
        // SAFETY: the caller's promise.
        Some(file) => unsafe { write_parts(fd, file, parts, usize::try_from(n).unwrap_or(0), Some(offset)) },
    }
}

/// # Safety
/// As the C library's: `parts` must be `n` valid pieces of memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev64(fd: c_int, parts: *const iovec, n: c_int, offset: off_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { pwritev(fd, parts, n, offset) }
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate(fd: c_int, len: off_t) -> c_int {
    // SAFETY: a number; the kernel checks both.
    let call = || unsafe { libc::syscall(libc::SYS_ftruncate, fd, len) as c_int };
    let Some(file) = file_of(fd) else { return call() };
    let state = state();
    let changes = state.changes();
    let verdict = judge(&state.rules, state.control, Call::Write, changes.path(file));
    match verdict {
        Verdict::Fail(error) => return fail(error) as c_int,
        Verdict::Kill => kill(),
        Verdict::Half | Verdict::Pass | Verdict::PassAndKill => {}
    }
    let result = call();
    if result == 0 {
        changes.log.append(record::LENGTH_SET, file, len.cast_unsigned(), &[]);
    }
    if verdict == Verdict::PassAndKill {
        kill();
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(fd: c_int, len: off_t) -> c_int {
    ftruncate(fd, len)
}

fn sync(fd: c_int, number: libc::c_long) -> c_int {
    // SAFETY: a number; the kernel checks it.
    let call = || unsafe { libc::syscall(number, fd) as c_int };
    let Some(file) = file_of(fd) else { return call() };
    let state = state();
    let changes = state.changes();
    let covered = changes.log.records();
    let verdict = judge(&state.rules, state.control, Call::Sync, changes.path(file));
    match verdict {
        Verdict::Fail(error) => {
            changes.log.append(record::SYNC_FAILED, file, covered, &[]);
            return fail(error) as c_int;
        }
        Verdict::Kill => kill(),
        Verdict::Half | Verdict::Pass | Verdict::PassAndKill => {}
    }
    drop(changes); // What others write meanwhile is not covered.
    let result = call();
    if result != 0 {
        give_up("the disk itself failed a sync");
    }
    state.changes().log.append(record::SYNCED, file, covered, &[]);
    if verdict == Verdict::PassAndKill {
        kill();
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

/// # Safety
/// As the C library's: both must be C strings.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller's promise, here and below.
    let names = unsafe { (relative(from), relative(to)) };
    // SAFETY: the same.
    let call = || unsafe { libc::syscall(libc::SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0) as c_int };
    let (Some(old), Some(new)) = names else { return call() };
    let changes = state().changes();
    let result = call();
    if result == 0 {
        changes.log.append(record::RENAMED, 0, 0, &[old.as_bytes(), b"\0", new.as_bytes()]);
    }
    result
}

/// # Safety
/// As the C library's: `path` must be a C string.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { unlinkat(AT_FDCWD, path, 0) }
}

/// # Safety
/// As the C library's: `path` must be a C string.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's promise, here and below.
    let call = || unsafe { libc::syscall(libc::SYS_unlinkat, folder, path, flags) as c_int };
    // SAFETY: the same.
    let Some(name) = (unsafe { relative(path) }) else { return call() };
    let changes = state().changes();
    let result = call();
    if result == 0 {
        changes.log.append(record::REMOVED, 0, 0, &[name.as_bytes()]);
    }
    result
}

/// # Safety
/// As the C library's: `path` must be a C string.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise, here and below.
    let call = || unsafe { libc::syscall(libc::SYS_mkdirat, AT_FDCWD, path, mode) as c_int };
    // SAFETY: the same.
    let Some(name) = (unsafe { relative(path) }) else { return call() };
    let changes = state().changes();
    let result = call();
    if result == 0 {
        changes.log.append(record::FOLDER_MADE, 0, 0, &[name.as_bytes()]);
    }
    result
}
