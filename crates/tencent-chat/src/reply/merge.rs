//! Several who decide on one request: each sees what the earlier ones changed, and one reply says it all.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, value::RawValue};

use super::{Reply, ReplyFamily, targets::fields};

impl Reply {
    /// What this reply and one that was given after it, to the request that [`apply`](Reply::apply) made, say together.
    ///
    /// A refusal or drop takes everything with it. Of two rewrites of one thing the later speaks, and what either refused
    /// stays refused.
    #[must_use]
    pub fn then(mut self, later: Reply) -> Reply {
        if later.error_code != 0 {
            return later;
        }
        let both = |mut earlier: Vec<String>, later: Vec<String>| {
            let known: HashSet<String> = earlier.iter().cloned().collect();
            earlier.extend(later.into_iter().filter(|account| !known.contains(account)));
            earlier
        };
        self.msg_body = later.msg_body.or(self.msg_body);
        self.cloud_custom_data = later.cloud_custom_data.or(self.cloud_custom_data);
        self.refused_members = merge(self.refused_members, later.refused_members, both);
        self.refused_subscribers = merge(self.refused_subscribers, later.refused_subscribers, both);
        self.rsp_data =
            merge(self.rsp_data, later.rsp_data, |earlier, later| if later.is_empty() { earlier } else { later });
        self.results = merge(self.results, later.results, |mut earlier, later| {
            let places: HashMap<String, usize> =
                earlier.iter().enumerate().map(|(idx, item)| (item.to_account.clone(), idx)).collect();
            for item in later {
                match places.get(&item.to_account) {
                    Some(&place) if earlier[place].result_code == 0 => earlier[place] = item,
                    Some(_) => {}
                    None => earlier.push(item),
                }
            }
            earlier
        });
        self
    }

    /// The request as it is after this reply: with the message as rewritten, without those who were refused. `None` when it
    /// is the same.
    #[must_use]
    pub fn apply(&self, family: ReplyFamily, request: &[u8]) -> Option<Vec<u8>> {
        if self.is_plain_allow() {
            return None;
        }
        let mut body: Value = serde_json::from_slice(request).ok()?;
        let members = body.as_object_mut()?;
        let mut is_changed = false;
        if let Some(elements) = &self.msg_body {
            members.insert("MsgBody".to_owned(), serde_json::from_str(elements.get()).ok()?);
            is_changed = true;
        }
        if let Some(data) = &self.cloud_custom_data {
            members.insert("CloudCustomData".to_owned(), Value::String(data.clone()));
            is_changed = true;
        }
        let refused: HashSet<&str> = self.refused().into_iter().collect();
        if let Some((lists, account)) = fields(family)
            && !refused.is_empty()
        {
            for list in lists {
                let Some(Value::Array(entries)) = members.get_mut(*list) else { continue };
                entries.retain(|entry| {
                    !entry.get(account).and_then(Value::as_str).is_some_and(|account| refused.contains(account))
                });
                is_changed = true;
            }
        }
        is_changed.then(|| serde_json::to_vec(&body).ok())?
    }

    /// The accounts that it refuses, of those that the request names.
    #[must_use]
    pub fn refused(&self) -> Vec<&str> {
        let lists = self.refused_members.iter().flatten().chain(self.refused_subscribers.iter().flatten());
        let friends = self.results.iter().flatten().filter(|item| item.result_code != 0).map(|item| &item.to_account);
        lists.chain(friends).map(String::as_str).collect()
    }

    /// Whether both say the same to Tencent and to the user, however they put it.
    #[must_use]
    pub fn says_the_same(&self, other: &Reply) -> bool {
        let is_own = self.error_code > 2;
        let json = |elements: &Option<Box<RawValue>>| {
            elements.as_ref().map(|json| serde_json::from_str::<Value>(json.get()).unwrap_or_default())
        };
        // What is said beside a plain code, or to those who are allowed, nobody is shown.
        let verdicts = |reply: &Reply| -> HashSet<(String, i64, String)> {
            let refused = reply.results.iter().flatten().filter(|item| item.result_code != 0);
            refused.map(|item| (item.to_account.clone(), item.result_code, item.result_info.clone())).collect()
        };
        let accounts = |list: &Option<Vec<String>>| list.iter().flatten().cloned().collect::<HashSet<String>>();
        self.error_code == other.error_code
            && (!is_own || self.error_info == other.error_info)
            && json(&self.msg_body) == json(&other.msg_body)
            && self.cloud_custom_data == other.cloud_custom_data
            && accounts(&self.refused_members) == accounts(&other.refused_members)
            && accounts(&self.refused_subscribers) == accounts(&other.refused_subscribers)
            && verdicts(self) == verdicts(other)
            && self.rsp_data.as_deref().unwrap_or_default() == other.rsp_data.as_deref().unwrap_or_default()
    }

    /// The elements that it gives a message, if it does.
    #[must_use]
    pub fn elements(&self) -> Option<&RawValue> {
        self.msg_body.as_deref()
    }
}

fn merge<T>(earlier: Option<T>, later: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(both(earlier, later)),
        (earlier, later) => later.or(earlier),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_rules;

    const MESSAGE: &str =
        r#"{"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a"}}],"CloudCustomData":"x","Other":1}"#;

    fn elements(text: &str) -> Option<Box<RawValue>> {
        let json = format!(r#"[{{"MsgType":"TIMTextElem","MsgContent":{{"Text":"{text}"}}}}]"#);
        Some(RawValue::from_string(json).unwrap())
    }

    #[test]
    fn the_next_one_sees_the_message_as_it_is_rewritten() {
        let first = Reply { msg_body: elements("b"), ..Reply::default() };
        let seen: Value =
            serde_json::from_slice(&first.apply(ReplyFamily::Message, MESSAGE.as_bytes()).unwrap()).unwrap();
        assert_eq!(seen["MsgBody"][0]["MsgContent"]["Text"], "b");
        assert_eq!((&seen["CloudCustomData"], &seen["Other"]), (&"x".into(), &1.into()));
        assert_eq!(Reply::default().apply(ReplyFamily::Message, MESSAGE.as_bytes()), None);

        let second = Reply { cloud_custom_data: Some("y".into()), ..Reply::default() };
        let both = first.clone().then(second);
        assert_eq!(both.elements().unwrap().get(), elements("b").unwrap().get());
        assert_eq!(both.cloud_custom_data.as_deref(), Some("y"));
        let refusal = Reply { error_code: 1, ..Reply::default() };
        assert_eq!(both.then(refusal.clone()), refusal);
    }

    #[test]
    fn what_nobody_is_shown_makes_no_difference() {
        let allow = Reply::default();
        let same = [
            Reply { error_info: "success".into(), ..Reply::default() },
            Reply { refused_members: Some(vec![]), ..Reply::default() },
            Reply { rsp_data: Some(String::new()), ..Reply::default() },
        ];
        assert!(same.iter().all(|reply| reply.says_the_same(&allow)));
        let refusal = |code, info: &str| Reply { error_code: code, error_info: info.into(), ..Reply::default() };
        assert!(refusal(1, "a").says_the_same(&refusal(1, "b")));
        assert!(!refusal(120_001, "a").says_the_same(&refusal(120_001, "b")));
        assert!(!refusal(1, "").says_the_same(&allow));
        let refuse = |accounts: &[&str]| Reply {
            refused_members: Some(accounts.iter().map(ToString::to_string).collect()),
            ..Reply::default()
        };
        assert!(refuse(&["a", "b"]).says_the_same(&refuse(&["b", "a"])));
        assert!(refuse(&["a"]).then(refuse(&["a"])) == refuse(&["a"]));
    }

    #[test]
    fn who_was_refused_stays_refused_and_is_not_asked_about_again() {
        let rules = decision_rules("Sns.CallbackPrevFriendAdd").unwrap();
        let request = br#"{"FriendItem":[{"To_Account":"a"},{"To_Account":"b"},{"To_Account":"c"}]}"#;
        let mut first = rules.allow(request);
        first.results.as_mut().unwrap()[0].result_code = 38_001;
        let seen = first.apply(rules.family, request).unwrap();
        let mut second = rules.allow(&seen);
        assert_eq!(second.results.as_ref().unwrap().len(), 2);
        second.results.as_mut().unwrap()[1].result_code = 38_002;
        let both = first.then(second);
        assert_eq!(both.refused(), ["a", "c"]);
        assert_eq!(both.check(rules, request), Ok(()));
    }
}
