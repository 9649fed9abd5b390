//! One message of every kind, and of none.

use serde_json::{Value, json};

use super::*;
use crate::{TypedBody, c2c::BeforeSendMsg, decode};

fn message(json: &str) -> MessageBody<'_> {
    decode(json.as_bytes()).unwrap_or_else(|err| panic!("{err}: {json}"))
}

/// A message of one element, with its members in both orders.
fn both_orders(msg_type: &str, content: &Value) -> [String; 2] {
    [
        format!(r#"[{{"MsgType":"{msg_type}","MsgContent":{content}}}]"#),
        format!(r#"[{{"MsgContent":{content},"MsgType":"{msg_type}"}}]"#),
    ]
}

#[test]
fn every_type_is_read_in_either_order_and_written_again() {
    for (msg_type, content) in [
        ("TIMTextElem", json!({ "Text": "the ferry\nis late" })),
        ("TIMCustomElem", json!({ "Data": "{}", "Desc": "d", "Ext": "e", "Sound": "s.caf" })),
        ("TIMFaceElem", json!({ "Index": 6, "Data": "gull" })),
        (
            "TIMLocationElem",
            json!({ "Desc": "Pier 4", "Latitude": 29.340656774469956, "Longitude": -116.77497920478824 }),
        ),
        (
            "TIMImageElem",
            json!({ "UUID": "u", "ImageFormat": 1, "ImageInfoArray": [
                { "Type": 1, "Size": 1853095, "Width": 2448, "Height": 3264, "URL": "https://files.example/1" },
                { "Type": 9, "Size": 0, "Width": 0, "Height": 0, "URL": "https://files.example/2" },
            ] }),
        ),
        (
            "TIMSoundElem",
            json!({ "Url": "https://files.example/3", "UUID": "u", "Size": 62351, "Second": 1, "Download_Flag": 2 }),
        ),
        (
            "TIMFileElem",
            json!({ "Url": "https://files.example/4", "UUID": "u", "FileSize": 1773552, "FileName": "a", "fileName": "b", "Download_Flag": 2 }),
        ),
        (
            "TIMVideoFileElem",
            json!({
                "VideoUrl": "https://files.example/5", "VideoUUID": "u", "VideoSize": 1194603, "VideoSecond": 5,
                "VideoFormat": "mp4", "VideoDownloadFlag": 2, "ThumbUrl": "https://files.example/6", "ThumbUUID": "t",
                "ThumbSize": 13907, "ThumbWidth": 720, "ThumbHeight": 1280, "ThumbFormat": "JPG", "ThumbDownloadFlag": 2,
            }),
        ),
        (
            "TIMRelayElem",
            json!({
                "Title": "t", "MsgNum": 1, "CompatibleText": "c", "AbstractList": ["a"], "JsonMsgKey": "k",
                "MsgList": [{
                    "From_Account": "f", "To_Account": "t", "GroupId": "g", "MsgSeq": 5, "MsgRandom": 4294967295_u32,
                    "MsgTimeStamp": 1767313120, "CloudCustomData": "", "MsgBody": [
                        { "MsgContent": { "Text": "inner" }, "MsgType": "TIMTextElem" },
                    ],
                }],
            }),
        ),
        (
            "TIMStreamElem",
            json!({ "CompatibleText": "c", "StreamMsgID": "s", "Chunks": [
                { "EventType": "data", "Index": 1, "Markdown": "**high**", "IsLast": true },
            ] }),
        ),
    ] {
        let [one, other] = both_orders(msg_type, &content);
        for json in [&one, &other] {
            let message = message(json);
            let element = &message.0[0];
            assert!(!matches!(element.content, Content::Other { .. }), "{json}");
            assert_eq!(element.content.msg_type(), Some(msg_type));
            assert_eq!(serde_json::to_value(&message).unwrap(), serde_json::from_str::<Value>(json).unwrap(), "{json}");

            let body = format!(r#"{{"MsgBody":{json}}}"#);
            let survey = decode::<BeforeSendMsg<'_>>(body.as_bytes()).unwrap().survey();
            assert_eq!(survey.unknown, [""; 0], "{json}");
            let absent: Vec<_> = survey.absent.iter().filter(|place| place.starts_with("MsgBody")).collect();
            assert_eq!(absent, [""; 0], "{json}");
        }
        assert_eq!(message(&one), message(&other), "{msg_type}");
    }
}

#[test]
fn what_is_not_known_stays_as_it_came() {
    for json in [
        "[]",
        "[{}]",
        r#"[{"MsgType":"TIMNewElem","MsgContent":{"Deep":[{"x":null}]}}]"#,
        r#"[{"MsgType":"TIMNewElem","MsgContent":7}]"#,
        r#"[{"MsgType":"TIMTextElem"}]"#,
        r#"[{"MsgContent":{"Text":"x"}}]"#,
        r#"[{"MsgContent":"x","New":1}]"#,
        r#"[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x","New":{"y":1}},"Newer":[]}]"#,
        r#"[{"MsgType":"TIMImageElem","MsgContent":{"ImageInfoArray":[{"New":1}]}}]"#,
    ] {
        let written = serde_json::to_value(message(json)).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(json).unwrap());
    }
    let body =
        r#"{"MsgBody":[{"MsgType":"TIMNewElem","MsgContent":1},{"MsgType":"TIMTextElem","MsgContent":{"New":1}}]}"#;
    let survey = decode::<BeforeSendMsg<'_>>(body.as_bytes()).unwrap().survey();
    assert_eq!(survey.unknown, ["MsgBody[0].MsgContent", "MsgBody[1].MsgContent.New"]);
}

#[test]
fn an_error_says_where_in_either_order() {
    let relay = |inner: &str| {
        [
            format!(
                r#"{{"MsgBody":[{{"MsgType":"TIMRelayElem","MsgContent":{{"MsgList":[{{"MsgBody":{inner}}}]}}}}]}}"#
            ),
            format!(
                r#"{{"MsgBody":[{{"MsgContent":{{"MsgList":[{{"MsgBody":{inner}}}]}},"MsgType":"TIMRelayElem"}}]}}"#
            ),
        ]
    };
    for inner in both_orders("TIMTextElem", &json!({ "Text": 5 })) {
        for body in relay(&inner) {
            assert_eq!(
                decode::<BeforeSendMsg<'_>>(body.as_bytes()).unwrap_err().to_string(),
                "the body does not fit at MsgBody[0].MsgContent.MsgList[0].MsgBody[0].MsgContent.Text: \
                 expected a string, found a number",
                "{body}"
            );
        }
    }
    for (body, expected) in [
        (r#"{"MsgBody":{}}"#, "the body does not fit at MsgBody: expected an array, found an object"),
        (r#"{"MsgBody":["secret"]}"#, "the body does not fit at MsgBody[0]: expected an object, found a string"),
        (
            r#"{"MsgBody":[{"MsgContent":"secret","MsgType":"TIMTextElem"}]}"#,
            "the body does not fit at MsgBody[0].MsgContent: expected an object, found a string",
        ),
        (
            r#"{"MsgBody":[{"MsgContent":{},"MsgContent":{}}]}"#,
            "the body does not fit at MsgBody[0]: expected `MsgContent` once, found it twice",
        ),
    ] {
        assert_eq!(decode::<BeforeSendMsg<'_>>(body.as_bytes()).unwrap_err().to_string(), expected, "{body}");
    }
}

#[test]
fn all_texts_are_shown_and_can_be_changed() {
    let json = r#"[
        {"MsgType":"TIMTextElem","MsgContent":{"Text":"1"}},
        {"MsgType":"TIMCustomElem","MsgContent":{"Data":"2","Desc":"3","Ext":"4","Sound":"no"}},
        {"MsgType":"TIMFaceElem","MsgContent":{"Index":6,"Data":"5"}},
        {"MsgType":"TIMLocationElem","MsgContent":{"Desc":"6"}},
        {"MsgType":"TIMFileElem","MsgContent":{"FileName":"7","fileName":"8","UUID":"no"}},
        {"MsgType":"TIMStreamElem","MsgContent":{"Chunks":[{"Markdown":"9"}],"CompatibleText":"10"}},
        {"MsgType":"TIMRelayElem","MsgContent":{"Title":"11","CompatibleText":"12","AbstractList":["13","14"],"MsgList":[
            {"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"15"}}]},
            {},
            {"MsgBody":[{"MsgContent":{"MsgList":[{"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"16"}}]}]},
                "MsgType":"TIMRelayElem"}]}
        ]}}
    ]"#;
    let mut message = message(json);
    let mut seen = Vec::new();
    message.texts(&mut |text| seen.push(text.as_str().to_owned()));
    let expected: Vec<_> = (1..=16).map(|n: u32| n.to_string()).collect();
    assert_eq!(seen, expected);

    message.texts_mut(&mut |text| *text = format!("*{text}*").into());
    let mut changed = Vec::new();
    message.texts(&mut |text| changed.push(text.as_str().to_owned()));
    assert_eq!(changed, expected.iter().map(|text| format!("*{text}*")).collect::<Vec<_>>());
    let written = serde_json::to_string(&message).unwrap();
    assert_eq!(written.matches('*').count(), 32);
    assert!(written.contains(r#""Sound":"no""#) && written.contains(r#""UUID":"no""#));
}

#[test]
fn texts_borrow_unless_they_had_to_be_set_aside() {
    let [one, other] = both_orders("TIMTextElem", &json!({ "Text": "plain" }));
    for (json, borrowed) in [(&one, true), (&other, false)] {
        let mut all = Vec::new();
        message(json).texts(&mut |text| all.push(text.is_borrowed()));
        assert_eq!(all, [borrowed], "{json}");
    }
}

/// Neither order may get around the limit that serde_json sets.
#[test]
fn merged_messages_nest_only_so_deep() {
    for (head, tail) in [
        (r#"[{"MsgType":"TIMRelayElem","MsgContent":{"MsgList":[{"MsgBody":"#, "}]}}]"),
        (r#"[{"MsgContent":{"MsgList":[{"MsgBody":"#, r#"}]},"MsgType":"TIMRelayElem"}]"#),
    ] {
        let nested = |depth: usize| format!("{}[]{}", head.repeat(depth), tail.repeat(depth));
        let deep = nested(25);
        let read = message(&deep);
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::from_str::<Value>(&deep).unwrap());
        let too_deep = nested(20_000);
        let err = decode::<MessageBody<'_>>(too_deep.as_bytes()).unwrap_err();
        assert!(err.to_string().contains("recursion limit exceeded"), "{err}");
    }
}
