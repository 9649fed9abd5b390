//! A library to preload (`LD_PRELOAD`) into a dispatcher under test, and into nothing else. It stands between the program
//! and the C library's file calls, for the files below one folder, and for all clocks of wall time. With none of its
//! variables set it does nothing.
//!
//! | variable | effect |
//! |---|---|
//! | `DISPATCHER_FAULTS_DIR` | the folder, absolute and without links; files elsewhere are left alone |
//! | `DISPATCHER_FAULTS_LOG` | appends a record of every change there, in order: see `record` |
//! | `DISPATCHER_FAULTS_PLAN` | what is to fail, and when the process is to be killed: see `plan` |
//! | `DISPATCHER_FAULTS_CONTROL` | a file through which a test steers it while it runs: see `control` |
//!
//! The workspace forbids `unsafe`; this crate cannot: functions that replace those of the C library take raw pointers from
//! C, and hand them to the kernel. It is therefore kept apart, small, and out of every program that is shipped.
//!
//! Calls go to the kernel through `syscall` instead of the replaced functions: nothing has to be looked up, nothing can
//! come back here, and `errno` is set as the C library would. What it cannot see: descriptors that were duplicated, files
//! mapped for writing, `copy_file_range`, `fallocate`, `link`, io_uring. The dispatcher uses none of them for what has to
//! last (SQLite's `-shm` is mapped, and made anew after a crash).

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod clock;
mod control;
mod files;
mod paths;
mod plan;
mod record;
mod state;
