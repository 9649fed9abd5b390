//! What is known of the files below the folder, and the variables that say what to do.

use std::{
    env,
    ffi::{CString, OsStr},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    control::Control,
    paths::Relative,
    plan::{self, Rule},
    record::Log,
};

/// How many descriptors can be told apart; the dispatcher has as many as connections.
const DESCRIPTORS: usize = 1 << 16;

/// The number of the file or folder that a descriptor is open for; 0 for one that is not looked at.
static FILES: [AtomicU32; DESCRIPTORS] = [const { AtomicU32::new(0) }; DESCRIPTORS];

pub(crate) struct State {
    pub(crate) folder: Vec<u8>,
    pub(crate) working: Vec<u8>,
    pub(crate) control: &'static Control,
    pub(crate) rules: Vec<Rule>,
    changes: Mutex<Changes>,
}

/// What one thread at a time may do: change files, and record it.
pub(crate) struct Changes {
    pub(crate) log: Log,
    /// Path and inode of each file that was opened. Its number is its place, from 1.
    opened: Vec<(Box<[u8]>, u64)>,
}

static STATE: OnceLock<State> = OnceLock::new();

/// The state, read from the environment at the first call.
pub(crate) fn state() -> &'static State {
    STATE.get_or_init(|| {
        let text = |name: &str| env::var_os(format!("DISPATCHER_FAULTS_{name}")).filter(|text| !text.is_empty());
        let path = |name: &str| text(name).and_then(|text| CString::new(text.into_vec()).ok());
        State {
            folder: text("DIR").map_or_else(Vec::new, |folder| folder.into_vec()),
            working: env::current_dir().map_or_else(|_| Vec::new(), |path| path.into_os_string().into_vec()),
            control: Control::open(path("CONTROL").as_deref()),
            rules: plan::read(text("PLAN").as_deref().map_or(&[], OsStr::as_bytes)),
            changes: Mutex::new(Changes { log: Log::open(path("LOG").as_deref()), opened: Vec::new() }),
        }
    })
}

impl State {
    /// Held while a file is changed, so that the log has the order in which that happened.
    pub(crate) fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// The number of a file that was just opened under this path.
    pub(crate) fn number(&mut self, path: &Relative, inode: u64, is_new: bool) -> u32 {
        let path = path.as_bytes();
        // Under another path it is another file to us: the path is what rules go by, and the log tells them apart by it.
        let known = self.opened.iter().rposition(|(known, of)| **known == *path && *of == inode).filter(|_| !is_new);
        let place = known.unwrap_or_else(|| {
            self.opened.push((path.into(), inode));
            self.opened.len() - 1
        });
        u32::try_from(place + 1).unwrap_or_else(|_| give_up("too many files"))
    }

    /// The path under which the file was opened.
    pub(crate) fn path(&self, file: u32) -> &[u8] {
        self.opened.get(file as usize - 1).map_or(&[], |(path, _)| path)
    }
}

/// The number of the file that a descriptor is open for, if it is one to be looked at.
pub(crate) fn file_of(fd: i32) -> Option<u32> {
    let file = FILES.get(usize::try_from(fd).ok()?)?.load(Ordering::Relaxed);
    (file != 0).then_some(file)
}

/// From here on the descriptor is open for this file; 0 for none.
pub(crate) fn set_file(fd: i32, file: u32) {
    match usize::try_from(fd).ok().and_then(|fd| FILES.get(fd)) {
        Some(place) => place.store(file, Ordering::Relaxed),
        None if file != 0 => give_up("too many descriptors"),
        None => {}
    }
}

/// Ends the process: a run whose record is incomplete proves nothing.
pub(crate) fn give_up(reason: &str) -> ! {
    for text in ["dispatcher-faults: ", reason, "\n"] {
        // SAFETY: the text is valid for its length; the result is of no use to a process that ends.
        unsafe { libc::syscall(libc::SYS_write, 2, text.as_ptr(), text.len()) };
    }
    std::process::abort()
}

/// Ends the process as `kill -9` does.
pub(crate) fn kill() -> ! {
    loop {
        // SAFETY: a signal to this process, which does not survive it.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}
