//! The bundled dispatcher: the library with the plugins it brings, and no others.

use std::process::ExitCode;

// A callback's few small allocations and the journal's pages are made and freed on different threads, which this
// allocator takes better than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dispatcher::run(dispatcher::plugins! {})
}
