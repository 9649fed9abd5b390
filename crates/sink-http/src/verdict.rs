//! What an answer, or the lack of one, means for the event and for the sink. The README has it as a table.

use dispatcher_core::{DeliveryError, Failure, Outcome};
use dispatcher_http::{Answer, NoAnswer};

/// Whose failure an answer is, if it is one. `proxied`: whether a proxy stands in between.
pub(crate) fn verdict(answer: &Answer, proxied: bool) -> Result<Outcome, DeliveryError> {
    match answer.status.as_u16() {
        200..=299 => Ok(Outcome::Done),
        // The receiver did not wait for all of the request, or did not want it early: this one, this time.
        408 | 425 => Ok(Outcome::Failed(answer.explain(Failure::retry(answer.text())))),
        // These speak of the receiver and not of the event: the next event would fare no better.
        429 | 503 => {
            let down = DeliveryError::down(answer.text());
            Err(match answer.retry_after() {
                Some(wait) => down.retry_after(wait),
                None => down,
            })
        }
        // Said by the proxy, of every request alike.
        407 if proxied => {
            Err(DeliveryError::down(format!("{}; the proxy wants credentials: write them into `proxy`", answer.text())))
        }
        410 => Err(DeliveryError::gone(format!(
            "{}; the receiver says that nothing is to come here any more: correct `url` or remove the sink",
            answer.text()
        ))),
        // A bug that this event meets, or a gateway's bad moment; the two look alike from here. Many in a row count as the
        // sink's in the delivery loop.
        500..=599 => Ok(Outcome::Failed(answer.explain(Failure::retry(answer.text())))),
        300..=399 => Ok(Outcome::Failed(answer.explain(Failure::permanent(answer.redirect())))),
        _ => Ok(Outcome::Failed(answer.explain(Failure::permanent(answer.text())))),
    }
}

/// Whose failure it is that no answer came.
pub(crate) fn without_answer(no_answer: NoAnswer) -> Result<Outcome, DeliveryError> {
    match no_answer {
        NoAnswer::NotConnected(why) => Err(DeliveryError::down(why)),
        // The request may have arrived; the idempotency key tells the receiver when it comes again.
        NoAnswer::Lost(why) => Ok(Outcome::Failed(Failure::retry(why))),
    }
}
