//! Every type against its sample, against bodies that nobody sends, and against samples that were tampered with.
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{collections::BTreeSet, fs, path::PathBuf, sync::LazyLock};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Number, Value};
use tencent_chat::{Body, Survey, command, commands};

/// What samples do not have, for it does not occur beside what they have.
const ABSENT: [(&str, &str); 7] = [
    // One kind of receiver, one kind of content.
    ("ContentCallback.ResultNotify", "ContactItem.To_Account"),
    ("ContentCallback.ResultNotify", "FileURL"),
    // Members are listed for one of the messages.
    ("Group.CallbackAfterReadReceipt", "GroupMsgReceiptList[1].ReadReceiptMembers"),
    // Only communities have topics.
    ("Group.CallbackAfterSendMsg", "TopicId"),
    ("Group.CallbackBeforeSendMsg", "TopicId"),
    // A push is about a message to a person or one to a group.
    ("Push.OfflinePush", "Events[0].GroupID"),
    ("Push.OfflinePush", "Events[1].MsgKey"),
];

#[track_caller]
fn survey(name: &str, body: &str) -> Survey {
    let typed = Body::decode(name, body.as_bytes()).unwrap_or_else(|err| panic!("{name}: {err}")).unwrap();
    assert_eq!(typed.command(), name);
    let original: Value = serde_json::from_str(body).unwrap();
    let written = serde_json::to_value(&typed).unwrap();
    assert!(is_kept(&original, &written), "{name}: {original} became {written}");
    typed.survey()
}

#[test]
fn each_sample_is_what_its_type_documents() {
    let mut absent = Vec::new();
    for info in commands() {
        let survey = survey(info.name, info.sample);
        assert_eq!(survey.unknown, [""; 0], "{}", info.name);
        absent.extend(survey.absent.into_iter().map(|place| (info.name, place)));
    }
    assert_eq!(absent, ABSENT.map(|(name, place)| (name, place.to_owned())));
}

#[test]
fn each_variant_is_known_as_a_whole() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples/variants");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        // `C2C.CallbackBeforeSendMsg.every-element.json` is a variant of that command.
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (name, _) = name.rsplit_once('.').unwrap();
        assert!(command(name).is_some(), "{}", file.display());
        let survey = survey(name, &fs::read_to_string(&file).unwrap());
        assert_eq!(survey.unknown, [""; 0], "{}", file.display());
    }
}

/// Whether `written` is `read`, but for what decoding and encoding may change: `null` may be gone, and so may an empty text for an integer; an integer may have
/// lost its quotes, and a number may be an `f64`.
fn is_kept(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            written.keys().all(|name| read.contains_key(name))
                && read.iter().all(|(name, value)| match written.get(name) {
                    Some(written) => is_kept(value, written),
                    None => value.is_null() || value == "",
                })
        }
        (Value::Array(read), Value::Array(written)) => {
            read.len() == written.len() && read.iter().zip(written).all(|(read, written)| is_kept(read, written))
        }
        (Value::String(read), Value::Number(written)) => {
            let is_signed = written.as_i64().is_some_and(|integer| read.parse() == Ok(integer));
            is_signed || written.as_u64().is_some_and(|integer| read.parse() == Ok(integer))
        }
        (Value::Number(read), Value::Number(written)) => read == written || read.as_f64() == written.as_f64(),
        _ => read == written,
    }
}

fn check(name: &str, original: &Value) -> Result<(), TestCaseError> {
    let bytes = serde_json::to_vec(original).unwrap();
    match Body::decode(name, &bytes) {
        Ok(typed) => {
            let typed = typed.unwrap();
            let _ = typed.survey();
            let written = serde_json::to_vec(&typed).unwrap();
            let written_value: Value = serde_json::from_slice(&written).unwrap();
            prop_assert!(is_kept(original, &written_value), "{name}: {original} became {written_value}");
            let again = Body::decode(name, &written).map_err(|err| TestCaseError::fail(format!("{name}: {err}")))?;
            prop_assert_eq!(again, Some(typed));
        }
        Err(err) => prop_assert!(!err.to_string().contains(HUSH), "{name}: {err}"),
    }
    Ok(())
}

/// Stands in each string that is made up here: no error may repeat it.
const HUSH: &str = "hush";

/// Names that mean something somewhere.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    fn collect(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                names.insert(name.clone());
                collect(value, names);
            }),
            Value::Array(elements) => elements.iter().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    for info in commands() {
        collect(&serde_json::from_str(info.sample).unwrap(), &mut names);
    }
    names.into_iter().collect()
});

fn names() -> impl Strategy<Value = String> {
    prop_oneof![4 => select(&NAMES[..]), 1 => "[a-zA-Z_.\u{1}\u{2}`\\[\\] ,:\"]{0,12}"]
}

fn leaves() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0..20_i64).prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        any::<i64>().prop_map(|number| number.to_string().into()),
        "\\PC{0,6}hush, expected (at line )?\\PC{0,6}".prop_map(Value::from),
        select(vec!["TIMTextElem", "TIMCustomElem", "TIMRelayElem", "TIMImageElem", "TIMNewElem", "iOS", "IOS", ""])
            .prop_map(Value::from),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    leaves().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![vec(inner.clone(), 0..5).prop_map(Value::Array), objects_of(inner).prop_map(Value::Object)]
    })
}

fn objects_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    vec((names(), values), 0..6).prop_map(|members| members.into_iter().collect())
}

/// What is done to one place of a sample.
#[derive(Clone, Debug)]
enum Harm {
    Remove(usize),
    Replace(Value),
    Add(String, Value),
    Quote,
    Wrap,
}

fn harms() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (0..20_usize).prop_map(Harm::Remove),
        values().prop_map(Harm::Replace),
        (names(), values()).prop_map(|(name, value)| Harm::Add(name, value)),
        Just(Harm::Quote),
        Just(Harm::Wrap),
    ]
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(members) => members.values().map(count).sum(),
        Value::Array(elements) => elements.iter().map(count).sum(),
        _ => 0,
    }
}

/// Harms the place that is `steps` places further on, in reading order.
fn harm(value: &mut Value, steps: &mut usize, how: &Harm) {
    let is_here = *steps == 0;
    *steps = steps.wrapping_sub(1); // Once it is done, no other place is reached any more.
    if is_here {
        return match (how, &mut *value) {
            (Harm::Replace(new), _) => *value = new.clone(),
            (Harm::Add(name, new), Value::Object(members)) => drop(members.insert(name.clone(), new.clone())),
            (Harm::Remove(which), Value::Object(members)) => {
                if let Some(name) = members.keys().nth(which % members.len().max(1)).cloned() {
                    members.remove(&name);
                }
            }
            (Harm::Remove(_), Value::Array(elements)) => drop(elements.pop()),
            (Harm::Quote, Value::Number(number)) => *value = number.to_string().into(),
            (Harm::Wrap, _) => *value = Value::Array(vec![value.take()]),
            _ => *value = Value::Null,
        };
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| harm(value, steps, how)),
        Value::Array(elements) => elements.iter_mut().for_each(|value| harm(value, steps, how)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_object_goes_through_every_type(object in objects_of(values())) {
        let object = Value::Object(object);
        for info in commands() {
            check(info.name, &object)?;
        }
    }

    #[test]
    fn samples_that_were_tampered_with_lose_nothing(all in vec((any::<proptest::sample::Index>(), harms()), 1..4)) {
        for info in commands() {
            let mut body: Value = serde_json::from_str(info.sample).unwrap();
            for (place, how) in &all {
                let mut steps = place.index(count(&body));
                harm(&mut body, &mut steps, how);
            }
            check(info.name, &body)?;
        }
    }
}
