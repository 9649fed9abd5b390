//! Bodies as typed values.

use serde::{Deserialize, Serialize};

use crate::{DecodeError, Survey};

/// The body of one command.
///
/// A field that Tencent does not promise is an `Option`, which is nearly every field. Decoding a body and encoding it
/// again loses nothing, at any level: what a type does not know it keeps in its `extra`. What may change is the
/// spelling: the order of members; integers in quotes become numbers; `null` for a known field becomes absence; and a
/// number that fits neither 64 bits nor an `f64` exactly is rounded to the latter where the type does not know it.
pub trait TypedBody<'a>: Deserialize<'a> + Serialize {
    /// The command whose body it is.
    const COMMAND: &'static str;

    /// Compares it with what is documented.
    fn survey(&self) -> Survey;
}

/// Decodes a body, borrowing from it where `T` does.
///
/// # Errors
///
/// The body does not fit. Finding out where takes a second pass, which bodies that fit do not pay for.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|err| DecodeError::diagnose::<T>(body, &err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Text, c2c::AfterC2CMsgExtension};

    #[test]
    fn nothing_of_a_body_is_lost() {
        let body = r#"{"CallbackCommand":"x","Seq":"7","MsgKey":null,"New":{"a":[1,null]},
            "ExtensionList":[{"Key":"k","Newer":1.1}],"OperateType":9}"#;
        let typed: AfterC2CMsgExtension<'_> = decode(body.as_bytes()).unwrap();
        assert_eq!(typed.seq, Some(7));
        assert!(typed.callback_command.as_ref().is_some_and(Text::is_borrowed));
        assert_eq!(
            serde_json::to_string(&typed).unwrap(),
            r#"{"CallbackCommand":"x","OperateType":9,"ExtensionList":[{"Key":"k","Newer":1.1}],"Seq":7,"New":{"a":[1,null]}}"#
        );
        let survey = typed.survey();
        assert_eq!(survey.unknown, ["ExtensionList[0].Newer", "New"]);
        assert_eq!(
            survey.absent,
            ["From_Account", "To_Account", "MsgKey", "ExtensionList[0].Value", "ExtensionList[0].Seq", "EventTime"]
        );
    }
}
