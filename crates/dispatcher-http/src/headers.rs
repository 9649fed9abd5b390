//! Headers out of a configuration.

use std::collections::BTreeMap;

use dispatcher_core::{Secret, SettingError};
use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// Reads the setting `headers`: names and values, which are secrets. What is wrong with one is added to `findings`; `plugin`
/// is what such a plugin is called there, `"sink"` or `"handler"`.
pub fn read_headers(section: &BTreeMap<String, Secret>, plugin: &str, findings: &mut Vec<SettingError>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in section {
        let read = read(name, value, plugin).and_then(|(header, value)| {
            if headers.contains_key(&header) {
                return Err("is there twice, in two spellings; leave one".to_owned());
            }
            Ok((header, value))
        });
        match read {
            Ok((header, value)) => {
                headers.insert(header, value);
            }
            Err(message) => findings.push(SettingError::at(vec!["headers".to_owned(), name.clone()], message)),
        }
    }
    headers
}

fn read(name: &str, value: &Secret, plugin: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "not a header name; write letters, digits and hyphens, such as \"X-Team\"")?;
    let ours = [
        ACCEPT_ENCODING,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        EXPECT,
        HOST,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    if ours.contains(&name) || name.as_str().starts_with("webhook-") || name.as_str() == "keep-alive" {
        return Err(format!("is set by the {plugin} itself; leave it out"));
    }
    let mut value = HeaderValue::from_str(value.expose())
        .map_err(|_| "its value has characters that no header can have; write visible ASCII and blanks")?;
    value.set_sensitive(true);
    Ok((name, value))
}
