//! Appends events to one file, each as a line of JSON, and rotates the file by size.
//!
//! A batch is done once the disk has it: one write and one `fdatasync` for all of it. After a failure or a crash its lines
//! may appear twice, and readers drop repeats by `idempotencykey`. No reader ever sees a line glued to half of another.
//!
//! Not here: attempts, backoff and the size of a batch, which belong to the dispatcher.

mod config;
mod log_file;
mod rotation;
mod sink;
mod step;

inventory::submit! { dispatcher_core::sink!(config::FileConfig, "file", one_lane) }
