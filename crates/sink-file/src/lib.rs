//! Appends events to files, each as a line of JSON, sets full and old files aside, compresses them and deletes the oldest.
//!
//! A batch is done once the disk has it: one write and one `fdatasync` for each file it goes to, and that is one unless
//! the path has `{app}` in it. After a failure or a crash its lines may appear twice, and readers drop repeats by
//! `idempotencykey`. No reader ever sees a line glued to half of another.
//!
//! Not here: attempts, backoff and the size of a batch, which belong to the dispatcher.

mod config;
mod gzip;
mod log_file;
mod open_files;
mod rotation;
mod set_aside;
mod sink;
mod step;
mod template;
#[cfg(test)]
mod tests;
mod turn;

inventory::submit! { dispatcher_core::sink!(config::FileConfig, "file", one_lane) }
