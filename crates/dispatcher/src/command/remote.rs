//! Asking a dispatcher elsewhere, at its `[admin] listen`.

use std::{env, net::IpAddr, path::PathBuf, time::Duration};

use dispatcher_control::{Answer, CONTROL_PATH, ClientError, Request, request_line};
use dispatcher_core::Secret;
use reqwest::{Response, StatusCode, Url};
use tokio::runtime::Runtime;

use super::text;
use crate::{cli::Asked, send};

const URL: &str = "DISPATCHER_ADMIN_URL";
const TOKEN: &str = "DISPATCHER_ADMIN_TOKEN";
const CA: &str = "DISPATCHER_ADMIN_CA";

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The longest line of an answer: a callback with its body, written out.
const LONGEST_LINE: usize = 64 << 20;

/// A dispatcher elsewhere, what opens it, and what it is known by, if not by the system's certificates.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    url: Url,
    token: Secret,
    ca: Option<PathBuf>,
}

impl Remote {
    /// The one that is named on the command line, or in the environment.
    ///
    /// # Errors
    /// It cannot be asked like that; what to write.
    pub(crate) fn wanted(asked: &Asked) -> Result<Option<Remote>, String> {
        let url = asked.admin.clone().or_else(|| env::var(URL).ok()).unwrap_or_default();
        if url.is_empty() {
            return match &asked.ca {
                Some(_) => Err(format!("--ca is for a dispatcher elsewhere; name it with --admin or in {URL}")),
                None => Ok(None),
            };
        }
        let url = control_url(&url)?;
        let token = env::var(TOKEN).ok().and_then(|token| Secret::new(token.trim_end_matches(['\r', '\n'])));
        let token = token.ok_or_else(|| {
            format!("{url} takes a token; put one of its [admin] tokens into the variable {TOKEN} of the environment")
        })?;
        let in_environment = || env::var_os(CA).filter(|file| !file.is_empty()).map(PathBuf::from);
        Ok(Some(Remote { url, token, ca: asked.ca.clone().or_else(in_environment) }))
    }

    /// Asks, and passes each answer to `take` until it says that it was enough, or the last one has come.
    ///
    /// # Errors
    /// There was no last answer.
    pub(crate) fn ask(&self, request: &Request, mut take: impl FnMut(Answer) -> bool) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|err| format!("cannot ask {}: {err}", self.url))?;
        let mut response = runtime.block_on(self.post(request))?;
        if !response.status().is_success() && !is_lines(&response) {
            return Err(runtime.block_on(self.refusal(response)));
        }
        let mut lines = Vec::new();
        // Answers are taken outside of the runtime, where whoever takes them may block.
        while let Some(chunk) = self.chunk(&runtime, &mut response)? {
            lines.extend_from_slice(&chunk);
            let mut rest = lines.as_slice();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let answer = Answer::from_line(&rest[..end]).map_err(|err| err.to_string())?;
                let is_last = answer.is_last();
                if !take(answer) || is_last {
                    return Ok(());
                }
                rest = &rest[end + 1..];
            }
            lines = rest.to_vec();
            if lines.len() > LONGEST_LINE {
                return Err(format!("{} answers without end; is it a dispatcher?", self.url));
            }
        }
        Err(ClientError::Ended.to_string())
    }

    async fn post(&self, request: &Request) -> Result<Response, String> {
        let failed = |err: &dyn std::fmt::Display| format!("cannot ask {}: {err}", self.url);
        let body = request_line(request).map_err(|err| failed(&err))?;
        let client = send::client(self.url.as_str(), self.ca.as_deref())?;
        let client = client.connect_timeout(CONNECT_WITHIN).build().map_err(|err| failed(&send::innermost(&err)))?;
        let post = client.post(self.url.clone()).bearer_auth(self.token.expose()).body(body);
        post.send().await.map_err(|err| {
            format!("cannot reach {}: {}", self.url, send::why(&err.without_url(), "is [admin] listen on there?"))
        })
    }

    fn chunk(&self, runtime: &Runtime, response: &mut Response) -> Result<Option<Vec<u8>>, String> {
        let chunk = runtime.block_on(response.chunk());
        chunk
            .map(|chunk| chunk.map(Vec::from))
            .map_err(|err| format!("no whole answer from {}: {}", self.url, send::innermost(&err.without_url())))
    }

    async fn refusal(&self, response: Response) -> String {
        let (url, status) = (&self.url, response.status());
        if status == StatusCode::UNAUTHORIZED {
            return format!("{url} does not take this token; put one of its [admin] tokens into {TOKEN}");
        }
        let said = response.text().await.unwrap_or_default();
        let said: String = said.lines().next().unwrap_or_default().chars().take(200).collect();
        format!("{url} answers {status}: {}", text::clean(&said))
    }
}

fn is_lines(response: &Response) -> bool {
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes() == b"application/jsonl")
}

/// Where requests are posted to.
fn control_url(given: &str) -> Result<Url, String> {
    let wrong =
        |what: &str| format!("{what}; write a URL such as https://control.example.com or http://127.0.0.1:8081");
    // It is not repeated where somebody may have put a token into it.
    let mut url: Url = given.parse().map_err(|_| wrong("the URL of the dispatcher is none"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the URL of the dispatcher says more than where it is"));
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_near = host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if is_near => {}
        "http" => return Err(wrong("the token would be read on the way")),
        _ => return Err(wrong("the URL of the dispatcher is neither https nor http")),
    }
    let path = format!("{}{CONTROL_PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_nowhere_where_it_could_be_read() {
        for (given, url) in [
            ("https://control.example.com", "https://control.example.com/control"),
            ("https://ops.example.com/dispatcher/", "https://ops.example.com/dispatcher/control"),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081/control"),
            ("http://[::1]:8081/", "http://[::1]:8081/control"),
            ("http://localhost:8081", "http://localhost:8081/control"),
        ] {
            assert_eq!(control_url(given).unwrap().as_str(), url);
        }
        for given in [
            "http://10.0.0.7:8081",
            "http://localhost.example.com",
            "127.0.0.1:8081",
            "control.example.com",
            "ftp://127.0.0.1",
            "https://a-token@control.example.com",
            "https://control.example.com/?token=a-token",
        ] {
            let said = control_url(given).unwrap_err();
            assert!(said.contains("write a URL such as ") && !said.contains("a-token"), "{said}");
        }
    }
}
