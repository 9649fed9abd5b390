use super::*;

fn outcomes(results: Vec<Result<Appended, AppendError>>) -> Vec<Appended> {
    results.into_iter().map(Result::unwrap).collect()
}

#[test]
fn an_equal_callback_is_stored_once() {
    let place = Place::new();
    let journal = place.open();
    let (new, repeat) = (|seq| Appended::New { seq }, |seq| Appended::Repeat { seq });
    let of = |identities: &[Option<u128>]| -> Vec<Callback> { identities.iter().map(|&id| callback(id)).collect() };
    // In one batch, and after its commit.
    let one = append_all(&journal, &of(&[Some(1), Some(2), Some(1), None, None, Some(1 << 64)]));
    assert_eq!(outcomes(one), [new(1), new(2), repeat(1), new(3), new(4), new(5)]);
    assert_eq!(outcomes(append_all(&journal, &of(&[Some(2), Some(3)]))), [repeat(2), new(6)]);
    // A batch of nothing but repeats is no transaction.
    let batches = journal.counts().batches;
    assert_eq!(append(&journal, &callback(Some(3))), repeat(6));
    assert_eq!(journal.counts().batches, batches);
    assert_eq!((journal.counts().appended, journal.counts().repeats), (6, 3));
    journal.close();

    let journal = place.open();
    while !journal.recalled() {
        std::thread::yield_now();
    }
    assert_eq!(outcomes(append_all(&journal, &of(&[Some(3), Some(1), Some(4)]))), [repeat(6), repeat(1), new(7)]);
    assert_eq!(callbacks(&journal).len(), 7);
}

#[test]
fn beyond_the_window_it_is_a_callback_of_its_own() {
    for (window, entries) in [(Duration::ZERO, 100), (long(), 0)] {
        let place = Place::new();
        let options = JournalOptions { dedupe_window: window, dedupe_entries: entries, ..place.options() };
        let journal = Journal::open(options).unwrap();
        let results = append_all(&journal, &[callback(Some(1)), callback(Some(1))]);
        assert_eq!(outcomes(results), [Appended::New { seq: 1 }, Appended::New { seq: 2 }]);
    }
    // What was stored longer ago than the window is not remembered after a restart.
    let place = Place::new();
    let journal = place.open();
    append(&journal, &callback(Some(1)));
    journal.close();
    place.tamper("UPDATE callbacks SET at = at - 600000");
    let journal = place.open();
    while !journal.recalled() {
        std::thread::yield_now();
    }
    assert_eq!(append(&journal, &callback(Some(1))), Appended::New { seq: 2 });
}

#[test]
fn a_repeat_shares_the_outcome_of_the_batch() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, &callback(Some(1)));
    journal.hook(|hooked| hooked.tables.fault = Some(super::trouble::full()));
    let results = append_all(&journal, &[callback(Some(2)), callback(Some(2)), callback(Some(1))]);
    let failed = |result: &Result<_, _>| matches!(result, Err(AppendError::Failed(_)));
    assert!(failed(&results[0]) && failed(&results[1]), "{results:?}");
    assert_eq!(results[2], Ok(Appended::Repeat { seq: 1 }), "its row was durable before");
    // Nothing of the failed batch is remembered.
    assert_eq!(append(&journal, &callback(Some(2))), Appended::New { seq: 2 });
    assert_eq!(append(&journal, &callback(Some(2))), Appended::Repeat { seq: 2 });
}
