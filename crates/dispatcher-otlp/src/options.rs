//! The settings, read.

use std::{collections::BTreeMap, time::Duration};

use dispatcher_core::{Secret, SettingError};
use dispatcher_http::{read_headers, target};
use reqwest::{Url, header::HeaderMap};

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is posted to.
    pub(crate) endpoint: Url,
    /// What each request says beside its own.
    pub(crate) headers: HeaderMap,
    /// The share of traces that is exported where nobody else has decided that, from 0 to 1.
    pub(crate) sample: f64,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// Who sends them: `service.name`.
    pub(crate) service_name: String,
}

impl Options {
    /// Reads the settings of `[observe.otlp]`. Contacts nobody.
    ///
    /// # Errors
    /// Everything that is wrong, by key, with what to write.
    pub fn read(
        endpoint: &str,
        headers: &BTreeMap<String, Secret>,
        sample: f64,
        timeout: Duration,
        service_name: &str,
    ) -> Result<Options, Vec<SettingError>> {
        let mut findings = Vec::new();
        let endpoint = target::parse(endpoint).and_then(whole);
        let endpoint = endpoint.map_err(|message| findings.push(SettingError::new("endpoint", message))).ok();
        let headers = read_headers(headers, "exporter", &mut findings);
        if !(0.0..=1.0).contains(&sample) {
            findings.push(SettingError::new("sample", "not a share; write a number from 0.0 to 1.0, such as 0.1"));
        }
        if timeout.is_zero() {
            findings.push(SettingError::new("timeout", "nothing is exported in no time; write \"10s\""));
        }
        if service_name.trim().is_empty() {
            findings.push(SettingError::new("service_name", "is empty; write a name, such as \"dispatcher\""));
        }
        match endpoint {
            Some(endpoint) if findings.is_empty() => {
                Ok(Options { endpoint, headers, sample, timeout, service_name: service_name.to_owned() })
            }
            _ => Err(findings),
        }
    }
}

/// A collector answers under a path, and not at its root.
fn whole(url: Url) -> Result<Url, String> {
    match url.path() {
        "" | "/" => Err("names no path; write the whole URL, which mostly ends in /v1/traces".to_owned()),
        _ => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_found_at_once() {
        let secret = |text| Secret::new(text).unwrap();
        let headers = BTreeMap::from([("Host".to_owned(), secret("x")), ("X-Team".to_owned(), secret("a-secret"))]);
        let wrong = Options::read("http://collector:4318", &headers, 1.5, Duration::ZERO, " ").unwrap_err();
        let keys: Vec<String> = wrong.iter().map(|finding| finding.path.join(".")).collect();
        assert_eq!(keys, ["endpoint", "headers.Host", "sample", "timeout", "service_name"]);
        let second = Duration::from_secs(1);
        for endpoint in ["collector:4318/v1/traces", "grpc://collector/v1", "http://a:b@collector/v1/traces"] {
            let wrong = Options::read(endpoint, &BTreeMap::new(), 0.0, second, "x").unwrap_err();
            assert_eq!(wrong.len(), 1, "{endpoint}: {wrong:?}");
            assert!(!wrong[0].message.contains("a:b"), "{wrong:?}");
        }
        assert!(Options::read("http://collector:4318/v1/traces", &BTreeMap::new(), f64::NAN, second, "x").is_err());
        let right = Options::read("https://collector/otlp/v1/traces", &BTreeMap::new(), 1.0, second, "x").unwrap();
        assert_eq!(right.endpoint.path(), "/otlp/v1/traces");
    }
}
