//! The sending side of Tencent Cloud Chat.

use std::time::{SystemTime, UNIX_EPOCH};

use dispatcher_http::{Roots, client_tls};
use serde_json::Value;

/// Sends callbacks to one callback URL, as one app.
pub struct Tencent {
    url: String,
    sdk_app_id: u64,
    token: Option<String>,
    platform: String,
    client: reqwest::Client,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body as it came.
    pub text: String,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|err| panic!("the reply is no JSON: {err}: {self:?}"))
    }

    /// Panics unless this is the plain OK.
    ///
    /// # Panics
    /// When it is anything else.
    #[track_caller]
    pub fn expect_ok(&self) {
        assert_eq!((self.status, self.text.as_str()), (200, tencent_chat::OK));
    }
}

impl Tencent {
    /// For the callback URL `url` of this app; with a token, callbacks are signed.
    ///
    /// # Panics
    /// When the system gives no HTTP client.
    #[must_use]
    pub fn new(url: &str, sdk_app_id: u64, token: Option<&str>) -> Tencent {
        let client = client().expect("a client without certificates needs nothing of the system");
        Tencent { url: url.to_owned(), sdk_app_id, token: token.map(str::to_owned), platform: "iOS".to_owned(), client }
    }

    /// Sends callbacks of what happened on this platform (`OptPlatform`), such as `RESTAPI`. Without this: `iOS`.
    #[must_use]
    pub fn on_platform(mut self, platform: &str) -> Tencent {
        platform.clone_into(&mut self.platform);
        self
    }

    /// Sends a callback of `command` with `body`.
    ///
    /// # Panics
    /// When there is no answer; see [`try_send`](Tencent::try_send).
    pub async fn send(&self, command: &str, body: &str) -> Reply {
        self.try_send(command, body).await.unwrap_or_else(|err| panic!("no answer from {}: {err}", self.url))
    }

    /// Sends a callback of `command` with `body`; `Err` says why there was no answer.
    ///
    /// # Errors
    /// When the connection could not be made or broke.
    pub async fn try_send(&self, command: &str, body: &str) -> Result<Reply, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let sign_with = self.token.as_deref().map(|token| (token, now));
        let platform = Some(&*self.platform);
        let query = tencent_chat::query_string(self.sdk_app_id, command, Some("203.0.113.7"), platform, sign_with);
        self.post(&query, body).await
    }

    /// Sends any body with any query.
    ///
    /// # Errors
    /// When the connection could not be made or broke.
    pub async fn post(&self, query: &str, body: &str) -> Result<Reply, String> {
        let request = self.client.post(format!("{}?{query}", self.url)).body(body.to_owned());
        let response = request.send().await.map_err(|err| err.to_string())?;
        let status = response.status().as_u16();
        Ok(Reply { status, text: response.text().await.map_err(|err| err.to_string())? })
    }

    /// Sends a group-attribute callback about `group`, told apart from others by `nth`.
    ///
    /// # Panics
    /// Unless it is answered OK.
    pub async fn change_attribute(&self, group: &str, nth: u64) {
        self.send("Group.CallbackAfterGroupAttrChanged", &attribute_body(group, nth)).await.expect_ok();
    }
}

/// A client for plain HTTP.
fn client() -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    Ok(reqwest::Client::builder().no_proxy().tls_backend_preconfigured(client_tls(Roots::Nobody)?).build()?)
}

/// The body of a group-attribute callback about `group`, told apart from others by `nth`.
fn attribute_body(group: &str, nth: u64) -> String {
    serde_json::json!({
        "CallbackCommand": "Group.CallbackAfterGroupAttrChanged",
        "GroupId": group,
        "Type": "Public",
        "Operator_Account": "mara",
        "OptionType": "modify",
        "GroupAttr": [{ "key": "nth", "value": nth.to_string() }],
        "EventTime": 1_767_000_000_000_u64 + nth,
    })
    .to_string()
}
