//! What an answer says about a callback that wants an acknowledgement. The README has it as a table.

use dispatcher_core::{Failure, HandlerError};
use dispatcher_http::{Answer, BodyEnd, NoAnswer};
use serde::Deserialize;

/// Whether the endpoint has it, and if not, whose failure that is.
pub(crate) fn acknowledged(answer: Result<Answer, NoAnswer>) -> Result<(), HandlerError> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(NoAnswer::NotConnected(why)) => return Err(HandlerError::down(why)),
        // It may have arrived; `webhook-id` tells the endpoint when it comes again.
        Err(NoAnswer::Lost(why)) => return Err(HandlerError::retry(why)),
    };
    let failure = match answer.status.as_u16() {
        200..=299 => match error_code(&answer) {
            Ok(0) => return Ok(()),
            Ok(code) => Failure::retry(format!("ErrorCode {code} from {}", answer.from())),
            Err(why) => Failure::retry(format!("{}, and {why}", answer.text())),
        },
        // These speak of the endpoint and not of the callback: the next one would fare no better.
        429 | 503 => {
            let down = HandlerError::down(answer.text());
            return Err(match answer.retry_after() {
                Some(wait) => down.retry_after(wait),
                None => down,
            });
        }
        408 | 425 | 500..=599 => Failure::retry(answer.text()),
        300..=399 => Failure::permanent(answer.redirect()),
        _ => Failure::permanent(answer.text()),
    };
    Err(answer.explain(failure).into())
}

#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(rename = "ErrorCode")]
    error_code: i64,
}

fn error_code(answer: &Answer) -> Result<i64, &'static str> {
    match answer.end {
        BodyEnd::Whole => {}
        BodyEnd::TooLong => return Err("its body is longer than 64 KiB"),
        BodyEnd::Broken => return Err("its body breaks off"),
    }
    // A list of its members would do as well, for serde.
    let body = answer.body.trim_ascii_start();
    let read = serde_json::from_slice(body).ok().filter(|_| body.starts_with(b"{"));
    let Acknowledgement { error_code } = read.ok_or("its body is no JSON object with an ErrorCode")?;
    Ok(error_code)
}
