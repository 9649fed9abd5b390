//! The URL that is posted to, and the form in which people may see it.

use dispatcher_core::{Callback, Secret};
use url::{Host, Url};

/// Reads the URL of a receiver.
///
/// # Errors
/// What is wrong with it and what to write; never the URL itself, which may hold a password.
pub fn parse(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|err| format!("not a URL: {err}; write one such as \"https://example.com/in\""))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("has to begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password; write them into `headers`, such as \
                    Authorization = \"Basic ${CREDENTIALS}\", which are never shown"
            .to_owned());
    }
    Ok(url)
}

/// The URL without user, password, query and fragment: those are where secrets are.
#[must_use]
pub fn shown(url: &Url) -> String {
    let host = url.host().map_or_else(String::new, |host: Host<&str>| host.to_string());
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// The URL with the callback's parameters after its own, as Tencent would append them: signed with `token` at `time`, Unix
/// seconds, or unsigned without one.
#[must_use]
pub fn with_query_of(callback: &Callback, url: &Url, token: Option<&Secret>, time: i64) -> Url {
    let raw = callback.query();
    let query = match token {
        Some(token) => tencent_chat::resign(raw, token.expose(), u64::try_from(time).unwrap_or(0)),
        None => tencent_chat::without_signature(raw).into_owned(),
    };
    let mut url = url.clone();
    let query = match url.query() {
        Some(own) if !own.is_empty() => format!("{own}&{query}"),
        _ => query,
    };
    url.set_query(Some(&query));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_without_what_could_be_secret() {
        for (url, text) in [
            ("https://user:pass@Example.com:8443/in/a?token=t#frag", "https://example.com:8443/in/a"),
            ("http://[::1]:80?x", "http://[::1]/"),
            ("https://example.com:443", "https://example.com/"),
        ] {
            assert_eq!(shown(&Url::parse(url).unwrap()), text);
        }
    }
}
