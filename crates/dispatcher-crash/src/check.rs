//! Whether a history keeps the promises.

use std::collections::{HashMap, HashSet};

use crate::history::{Answer, Delivery, Record};

/// What is wrong with a history, a sentence each; all empty when it keeps the promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged, and neither delivered nor a dead letter.
    pub lost: Vec<String>,
    /// Delivered for the first time after a later one of its key.
    pub reordered: Vec<String>,
    /// Never sent, or not like this.
    pub invented: Vec<String>,
    /// Stored as two: one event's id with two contents, or a repeat that was not recognised though nothing crashed.
    pub doubled: Vec<String>,
    /// What else was not as it has to be: an answer, an end, a wait.
    pub other: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Findings::default()
    }

    /// Adds what another history was found with.
    pub(crate) fn add(&mut self, more: Findings) {
        self.lost.extend(more.lost);
        self.reordered.extend(more.reordered);
        self.invented.extend(more.invented);
        self.doubled.extend(more.doubled);
        self.other.extend(more.other);
    }

    /// Everything, with its kind.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let lists = [
            ("lost", &self.lost),
            ("reordered", &self.reordered),
            ("invented", &self.invented),
            ("doubled", &self.doubled),
            ("other", &self.other),
        ];
        lists.into_iter().flat_map(|(kind, list)| list.iter().map(move |finding| (kind, finding)))
    }
}

/// Checks a history that has come to its end. `dead` has the numbers that became dead letters, by receiver.
#[must_use]
pub fn check(record: &Record, receivers: &[&'static str], dead: &HashMap<&'static str, HashSet<u64>>) -> Findings {
    let mut findings = Findings { other: record.nonsense.clone(), ..Findings::default() };
    for &receiver in receivers {
        let delivered = record.delivered.get(receiver).map_or(&[][..], Vec::as_slice);
        look_for_lost(record, receiver, delivered, dead.get(receiver), &mut findings);
        look_for_invented(record, receiver, delivered, &mut findings);
        look_for_reordered(record, receiver, delivered, &mut findings);
        look_for_doubled(record, receiver, delivered, &mut findings);
    }
    findings
}

fn look_for_lost(
    record: &Record,
    receiver: &str,
    delivered: &[Delivery],
    dead: Option<&HashSet<u64>>,
    findings: &mut Findings,
) {
    let taken: HashSet<u64> = delivered.iter().filter(|one| one.is_taken).map(|one| one.number).collect();
    let mut lost: Vec<u64> = record
        .sent
        .iter()
        .filter(|(_, sent)| sent.answer == Answer::Ok)
        .map(|(&number, _)| number)
        .filter(|number| !taken.contains(number) && !dead.is_some_and(|dead| dead.contains(number)))
        .collect();
    lost.sort_unstable();
    findings.lost.extend(
        lost.iter().map(|number| format!("{number} was acknowledged and is not at {receiver}, nor a dead letter")),
    );
}

fn look_for_invented(record: &Record, receiver: &str, delivered: &[Delivery], findings: &mut Findings) {
    for one in delivered {
        match record.sent.get(&one.number) {
            None => findings.invented.push(format!("{} at {receiver} was never sent: {}", one.number, one.event)),
            Some(sent) if sent.key != one.key => {
                let (number, key) = (one.number, one.key);
                findings.invented.push(format!("{number} at {receiver} has key {key}, and was sent with {}", sent.key));
            }
            Some(_) => {}
        }
    }
}

/// First deliveries of a key are in the order in which its callbacks were sent. One that was refused may have been stored
/// late, and is left out.
fn look_for_reordered(record: &Record, receiver: &str, delivered: &[Delivery], findings: &mut Findings) {
    let mut seen = HashSet::new();
    let mut last: HashMap<usize, u64> = HashMap::new();
    for one in delivered.iter().filter(|one| !one.is_chance && seen.insert(one.number)) {
        if record.sent.get(&one.number).is_none_or(|sent| matches!(sent.answer, Answer::Late | Answer::Refused)) {
            continue;
        }
        let last = last.entry(one.key).or_insert(one.number);
        if one.number < *last {
            findings.reordered.push(format!("{} of key {} is at {receiver} after {last}", one.number, one.key));
        } else {
            *last = one.number;
        }
    }
}

fn look_for_doubled(record: &Record, receiver: &str, delivered: &[Delivery], findings: &mut Findings) {
    let mut number_of: HashMap<&str, u64> = HashMap::new();
    let mut callbacks_of: HashMap<u64, HashSet<&str>> = HashMap::new();
    for one in delivered {
        let known = *number_of.entry(&one.event).or_insert(one.number);
        if known != one.number {
            findings.doubled.push(format!("event {} at {receiver} is {known} and {}", one.event, one.number));
        }
        let callback = one.event.split('.').next().unwrap_or_default();
        callbacks_of.entry(one.number).or_default().insert(callback);
    }
    for (number, callbacks) in callbacks_of {
        // What was remembered of it may have gone with a crash between it and its repeat.
        let may_be_two =
            record.sent.get(&number).is_some_and(|sent| sent.is_repeated && sent.starts.0 != sent.starts.1);
        if callbacks.len() > 1 && !may_be_two {
            findings.doubled.push(format!("{number} at {receiver} was stored {} times", callbacks.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Sent;

    /// Three callbacks of one key, all acknowledged, and their deliveries as `(number, event)`.
    fn record(delivered: &[(u64, &str)]) -> Record {
        let mut record = Record::default();
        for number in 1..=3 {
            record.sent.insert(number, Sent { key: 7, answer: Answer::Ok, is_repeated: true, starts: (1, 1) });
        }
        let delivery = |&(number, event): &(u64, &str)| Delivery {
            number,
            key: 7,
            event: event.to_owned(),
            is_taken: true,
            is_chance: false,
        };
        record.delivered.insert("relay", delivered.iter().map(delivery).collect());
        record
    }

    fn checked(record: &Record) -> Findings {
        check(record, &["relay"], &HashMap::new())
    }

    const ALL: [(u64, &str); 3] = [(1, "a.h.0"), (2, "b.h.0"), (3, "c.h.0")];

    #[test]
    fn deliveries_in_order_and_again_are_fine() {
        let all = record(&[ALL[0], ALL[1], ALL[0], ALL[1], ALL[2]]);
        assert!(checked(&all).is_clean(), "{:?}", checked(&all));
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        let mut some = record(&ALL[..2]);
        assert_eq!(checked(&some).lost.len(), 1);
        let dead = HashMap::from([("relay", HashSet::from([3]))]);
        assert!(check(&some, &["relay"], &dead).is_clean(), "a dead letter is not lost");
        assert_eq!(check(&some, &["relay", "archive"], &dead).lost.len(), 3, "at another receiver it is");
        some.sent.get_mut(&3).unwrap().answer = Answer::None;
        assert!(checked(&some).is_clean(), "what was not acknowledged may be missing");
        let mut refused = record(&ALL);
        refused.delivered.get_mut("relay").unwrap()[1].is_taken = false;
        assert_eq!(checked(&refused).lost.len(), 1, "seen and not taken is not delivered");
    }

    #[test]
    fn first_deliveries_out_of_order_are_found() {
        let mut swapped = record(&[ALL[0], ALL[2], ALL[1]]);
        assert_eq!(checked(&swapped).reordered.len(), 1);
        swapped.sent.get_mut(&2).unwrap().answer = Answer::None;
        assert_eq!(checked(&swapped).reordered.len(), 1, "whether or not it was acknowledged");
        swapped.sent.get_mut(&2).unwrap().answer = Answer::Refused;
        assert!(checked(&swapped).is_clean(), "a refused one may be stored late");
        swapped.sent.get_mut(&2).unwrap().answer = Answer::Ok;
        swapped.delivered.get_mut("relay").unwrap()[1].is_chance = true;
        assert!(checked(&swapped).is_clean(), "what a power cut left by chance says nothing of order");
        swapped.delivered.get_mut("relay").unwrap()[1].is_chance = false;
        swapped.sent.get_mut(&2).unwrap().key = 8;
        swapped.delivered.get_mut("relay").unwrap()[2].key = 8;
        assert!(checked(&swapped).is_clean(), "another key has its own order");
    }

    #[test]
    fn what_was_never_sent_is_found() {
        let mut more = record(&ALL);
        let stranger = Delivery { number: 9, key: 7, event: "d.h.0".to_owned(), is_taken: true, is_chance: false };
        more.delivered.get_mut("relay").unwrap().push(stranger);
        assert_eq!(checked(&more).invented.len(), 1);
        let mut other_key = record(&ALL);
        other_key.delivered.get_mut("relay").unwrap()[1].key = 8;
        assert_eq!(checked(&other_key).invented.len(), 1);
    }

    #[test]
    fn one_event_with_two_contents_is_found() {
        let twice = record(&[ALL[0], (2, "a.h.0"), ALL[2]]);
        assert_eq!(checked(&twice).doubled.len(), 1);
    }

    #[test]
    fn a_repeat_that_was_stored_is_found_unless_there_was_a_crash() {
        let mut twice = record(&[ALL[0], ALL[1], (2, "x.h.0"), ALL[2]]);
        assert_eq!(checked(&twice).doubled.len(), 1);
        twice.sent.get_mut(&2).unwrap().starts = (1, 2);
        assert!(checked(&twice).is_clean());
        twice.sent.get_mut(&2).unwrap().is_repeated = false;
        assert_eq!(checked(&twice).doubled.len(), 1, "what was sent once is stored once, crash or not");
    }

    #[test]
    fn nonsense_is_a_finding() {
        let mut odd = record(&ALL);
        odd.nonsense.push("half a line".to_owned());
        assert_eq!(checked(&odd).other.len(), 1);
    }
}
