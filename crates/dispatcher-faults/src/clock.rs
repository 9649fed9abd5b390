//! Wall time, shifted. Monotonic clocks are the kernel's own.

use std::ptr;

use libc::{c_int, c_long, clockid_t, time_t, timespec, timeval};

use crate::state::state;

/// # Safety
/// As the C library's: `time` may be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's promise is the kernel's condition.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    let is_wall = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
    if result == 0 && is_wall && !time.is_null() {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += state().control.clock_offset() };
    }
    result as c_int
}

/// # Safety
/// As the C library's: `time` may be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(time: *mut timeval, zone: *mut libc::c_void) -> c_int {
    // SAFETY: the caller's promise is the kernel's condition.
    let result = unsafe { libc::syscall(libc::SYS_gettimeofday, time, zone) };
    if result == 0 && !time.is_null() {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += state().control.clock_offset() };
    }
    result as c_int
}

/// # Safety
/// As the C library's: `into` is null or may be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn time(into: *mut time_t) -> time_t {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 as c_long };
    // SAFETY: `now` is ours.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, ptr::from_mut(&mut now)) };
    let seconds = now.tv_sec + state().control.clock_offset();
    if !into.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *into = seconds };
    }
    seconds
}
