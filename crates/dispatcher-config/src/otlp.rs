//! `[observe.otlp]`, in a program that can export spans and in one that cannot.

use dispatcher_core::SettingError;

use crate::OtlpSection;

/// What spans are exported by.
#[cfg(feature = "otlp")]
pub use dispatcher_otlp::Options as OtlpOptions;

/// Nothing: this program cannot export spans.
#[cfg(not(feature = "otlp"))]
#[derive(Clone, Debug)]
pub enum OtlpOptions {}

/// Reads the section.
#[cfg(feature = "otlp")]
pub(crate) fn read(section: &OtlpSection) -> Result<OtlpOptions, Vec<SettingError>> {
    let OtlpSection { endpoint, headers, sample, timeout, service_name } = section;
    OtlpOptions::read(endpoint, headers, *sample, timeout.get(), service_name)
}

/// Refuses the section.
#[cfg(not(feature = "otlp"))]
pub(crate) fn read(_: &OtlpSection) -> Result<OtlpOptions, Vec<SettingError>> {
    let message = "this program was built without it; leave this section out, or build it with `cargo build --release -p \
                   dispatcher --features otlp`";
    Err(vec![SettingError::at(Vec::new(), message)])
}
