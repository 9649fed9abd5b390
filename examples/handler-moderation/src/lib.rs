//! Takes e-mail addresses and telephone numbers out of messages before they are delivered.
//!
//! Decides about `C2C.CallbackBeforeSendMsg` and `Group.CallbackBeforeSendMsg`, which can be answered with another message:
//! <https://www.tencentcloud.com/document/product/1047/34364>.

use async_trait::async_trait;
use dispatcher_core::{
    Callback, DecideContext, Decision, Handler, HandlerConfig, HandlerError, Message, OpenContext, OpenError, handler,
};
use regex::{Captures, Regex};
use schemars::JsonSchema;
use serde::Deserialize;
use tencent_chat::{
    Text,
    message::{Content, Element, MessageBody, PlainText},
};

inventory::submit! {
    handler!(
        ModerationConfig,
        "moderation",
        ["C2C.CallbackBeforeSendMsg", "Group.CallbackBeforeSendMsg"],
        role = decide,
    )
}

/// `[handlers.moderation]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ModerationConfig {
    /// What stands in the place of an address or number. Default `"[removed]"`.
    #[serde(default = "default_replacement")]
    replacement: String,
    /// Domains whose e-mail addresses stay, such as the team's own. Default: none.
    #[serde(default)]
    keep_domains: Vec<String>,
    /// A text that is added to a message from which something was taken. Default: none.
    #[serde(default)]
    notice: Option<String>,
}

fn default_replacement() -> String {
    "[removed]".to_owned()
}

#[async_trait]
impl HandlerConfig for ModerationConfig {
    type Handler = Moderation;

    async fn open(&self, _: &OpenContext) -> Result<Moderation, OpenError> {
        let contact = Regex::new(CONTACT).map_err(OpenError::other)?;
        let keep_domains = self.keep_domains.iter().map(|domain| domain.to_lowercase()).collect();
        Ok(Moderation { contact, replacement: self.replacement.clone(), keep_domains, notice: self.notice.clone() })
    }
}

/// An e-mail address, or seven digits and more with what people put between them.
const CONTACT: &str = r"[\w.+-]+@(?<domain>[\w-]+(?:\.[\w-]+)+)|\+?[0-9](?:[ ()/-]{0,2}[0-9]){6,}";

struct Moderation {
    contact: Regex,
    replacement: String,
    keep_domains: Vec<String>,
    notice: Option<String>,
}

/// What this handler needs of the packet; the same in both commands.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "MsgBody", borrow)]
    elements: Option<MessageBody<'a>>,
    #[serde(rename = "CloudCustomData", borrow)]
    custom_data: Option<Text<'a>>,
}

#[async_trait]
impl Handler for Moderation {
    async fn decide(&self, callback: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        // A body that does not fit is a failure: what `if_failed` says is answered then.
        let Sent { elements: Some(mut elements), custom_data } = callback.body()? else { return Ok(None) };
        let mut n_removed = 0;
        // Only what people type: an app's own data may have numbers in it that must stay. `texts_mut` would walk all of it.
        for element in &mut elements.0 {
            let Content::Text(PlainText { text: Some(text), .. }) = &mut element.content else { continue };
            let (moderated, n) = self.moderated(text);
            if n > 0 {
                *text = moderated.into();
                n_removed += n;
            }
        }
        if n_removed == 0 {
            return Ok(None);
        }
        if let Some(notice) = &self.notice {
            elements.0.push(Element::text(notice.as_str()));
        }
        // For the team, who can look it up with the callback: how much, and nothing of what people write.
        let rewrite = Message::rewrite(format!("{n_removed} addresses or numbers removed")).elements(&elements)?;
        Ok(Some(match custom_data {
            // It may not outlive new elements unless it is said again.
            Some(data) => rewrite.custom_data(data).into(),
            None => rewrite.into(),
        }))
    }
}

impl Moderation {
    /// The text without addresses and numbers, and how many were in it.
    fn moderated(&self, text: &str) -> (String, usize) {
        let mut n_removed = 0;
        let moderated = self.contact.replace_all(text, |found: &Captures<'_>| {
            let domain = found.name("domain").map(|domain| domain.as_str().to_lowercase());
            if domain.is_some_and(|domain| self.keep_domains.contains(&domain)) {
                return found[0].to_owned();
            }
            n_removed += 1;
            self.replacement.clone()
        });
        (moderated.into_owned(), n_removed)
    }
}
