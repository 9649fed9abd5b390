//! The preloaded library, from the outside: its variables, its control file. See `crates/dispatcher-faults`.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// How a process is started under it.
pub(crate) struct Preload {
    control: File,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
}

impl Preload {
    /// For files in `data`, with its own files in `folder`. What an earlier one left there is begun anew.
    pub(crate) fn new(library: &Path, folder: &Path, data: &Path, plan: &str) -> io::Result<Preload> {
        let (log, path) = (folder.join("changes.log"), folder.join("control"));
        File::create(&log)?;
        let control = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        control.set_len(4096)?;
        let environment = vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("DISPATCHER_FAULTS_DIR", data.display().to_string()),
            ("DISPATCHER_FAULTS_LOG", log.display().to_string()),
            ("DISPATCHER_FAULTS_CONTROL", path.display().to_string()),
            ("DISPATCHER_FAULTS_PLAN", plan.to_owned()),
        ];
        Ok(Preload { control, environment, log })
    }

    pub(crate) fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// The log of changes, from the start on.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Sets the clock forward or back, from now on.
    pub(crate) fn shift_clock(&self, seconds: i64) -> io::Result<()> {
        self.control.write_all_at(&seconds.to_ne_bytes(), 0)
    }

    /// Ends the faults that last.
    pub(crate) fn release(&self) -> io::Result<()> {
        self.control.write_all_at(&1_u64.to_ne_bytes(), 8)
    }

    /// How many faults there were so far.
    pub(crate) fn n_faults(&self) -> io::Result<u64> {
        let mut number = [0; 8];
        self.control.read_exact_at(&mut number, 16)?;
        Ok(u64::from_ne_bytes(number))
    }
}
