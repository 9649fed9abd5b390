//! Retention against a model: appends, commits of several consumers, replays, restarts and trims in any order. Whatever a
//! consumer has before it or pending is there, with its callback; nothing that is gone is taken for damage; no seq comes
//! twice; and in the end, when all are done, nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_core::CommandPattern;
use fastrand::Rng;

use super::*;
use crate::{Change, NewReplay, Pending};

const HANDLERS: [&str; 2] = ["handler:h", "handler:i"];
const SINKS: [&str; 2] = ["sink:a", "sink:b"];

#[derive(Default)]
struct Model {
    /// The commands, by seq − 1.
    callbacks: Vec<Callback>,
    /// The callback of each event, by seq − 1.
    events: Vec<u64>,
    /// How many records of decisions each callback got, since it was appended.
    decisions: BTreeMap<u64, usize>,
    consumers: BTreeMap<String, Known>,
    floors: [u64; 2],
}

#[derive(Debug)]
struct Known {
    stream: Stream,
    checkpoint: u64,
    pending: BTreeSet<u64>,
}

impl Model {
    fn end(&self, stream: Stream) -> u64 {
        match stream {
            Stream::Callbacks => self.callbacks.len() as u64,
            Stream::Events => self.events.len() as u64,
        }
    }

    /// What has to be there.
    fn needed(&self, stream: Stream) -> BTreeSet<u64> {
        let of = self.consumers.values().filter(|known| known.stream == stream);
        of.flat_map(|known| (known.checkpoint + 1..=self.end(stream)).chain(known.pending.iter().copied())).collect()
    }
}

fn retention(rng: &mut Rng) -> Retention {
    let (short, long) = (Duration::ZERO, long());
    let rule = |pattern: &str, keep| (CommandPattern::new(pattern).unwrap(), keep);
    match rng.u8(..4) {
        0 => Retention::keeping(short),
        1 => Retention { rules: vec![rule("State.*", short)], ..Retention::keeping(long) },
        2 => Retention { rules: vec![rule("Group.*", long)], ..Retention::keeping(short) },
        _ => Retention { max_bytes: Some(200 << 10), rules: vec![rule("State.*", short)], ..Retention::keeping(long) },
    }
}

fn play(seed: u64, steps: u32) {
    let mut rng = Rng::with_seed(seed);
    let place = Place::new();
    let retention = retention(&mut rng);
    let mut journal = place.open_with(retention.clone());
    let mut model = Model::default();
    for (names, stream) in [(HANDLERS, Stream::Callbacks), (SINKS, Stream::Events)] {
        for name in names {
            let checkpoint = journal.register(name, stream, Start::Oldest).unwrap();
            model.consumers.insert(name.to_owned(), Known { stream, checkpoint, pending: BTreeSet::new() });
        }
    }
    for step in 0..steps {
        let what = rng.u8(..20);
        match what {
            0..4 => append_some(&journal, &mut model, &mut rng),
            4..6 => {
                append_some(&journal, &mut model, &mut rng);
                decide_some(&journal, &mut model, &mut rng);
            }
            6..14 => commit_some(&journal, &mut model, &mut rng),
            14..18 => trim(&journal),
            18 => {
                journal.close();
                journal = place.open_with(retention.clone());
            }
            _ => begin_replay(&journal, &mut model, &mut rng),
        }
        if what >= 14 {
            look(&journal, &mut model, &format!("seed {seed}, step {step}"));
        }
    }
    finish(&journal, &mut model);
    look(&journal, &mut model, &format!("seed {seed}, at the end"));
    if retention.rules.is_empty() {
        let reader = journal.reader().unwrap();
        for stream in [Stream::Callbacks, Stream::Events] {
            assert_eq!(reader.floor(stream), model.end(stream), "seed {seed}: something is left of the {stream}");
        }
    }
}

fn append_some(journal: &Journal, model: &mut Model, rng: &mut Rng) {
    let commands = ["State.StateChange", "Group.X", "C2C.Y"];
    let callbacks: Vec<Callback> =
        (0..rng.usize(1..150)).map(|_| callback_of(commands[rng.usize(..3)], None)).collect();
    for (result, callback) in append_all(journal, &callbacks).into_iter().zip(callbacks) {
        assert_eq!(result, Ok(Appended::New { seq: model.end(Stream::Callbacks) + 1 }));
        model.callbacks.push(callback);
    }
}

/// Verdicts come late, some of them for callbacks that are gone; some have events, for which those come back.
fn decide_some(journal: &Journal, model: &mut Model, rng: &mut Rng) {
    let end = model.end(Stream::Callbacks);
    for _ in 0..rng.u64(..60) {
        let seq = rng.u64(1..=end);
        let handlers: &[&str] = if rng.u8(..4) == 0 { &["h"] } else { &[] };
        let place = crate::Place::new();
        place.settle(Some(crate::place::Seat { seq, is_repeat: false }));
        let source = Arc::new(model.callbacks[seq as usize - 1].clone());
        assert!(journal.attach(&place, record(DecisionKind::Late, "x", handlers), source));
        model.events.extend(vec![seq; handlers.len()]);
        *model.decisions.entry(seq).or_default() += 1;
    }
    settle(journal);
}

/// Some consumer goes on: items are done, or pending; pending ones end; handlers emit events of what is done.
fn commit_some(journal: &Journal, model: &mut Model, rng: &mut Rng) {
    let names: Vec<String> = model.consumers.keys().cloned().collect();
    let name = &names[rng.usize(..names.len())];
    let Some(known) = model.consumers.get(name) else { return };
    let stream = known.stream;
    let upto = (known.checkpoint + rng.u64(..300)).min(model.end(stream));
    let mut done: Vec<u64> = Vec::new();
    let mut pending: Vec<u64> = Vec::new();
    for seq in known.checkpoint + 1..=upto {
        if rng.u8(..100) == 0 { pending.push(seq) } else { done.push(seq) }
    }
    let settled: Vec<u64> = known.pending.iter().copied().filter(|_| rng.bool()).collect();
    done.extend(&settled);
    let mut events = Vec::new();
    if stream == Stream::Callbacks {
        for &seq in &done {
            let n = rng.usize(..3);
            let source = &model.callbacks[seq as usize - 1];
            events.push(emitted(seq, source, vec![NewEvent::forwarding("t"); n]));
            model.events.extend(vec![seq; n]);
        }
    }
    let known = model.consumers.get_mut(name).unwrap();
    known.checkpoint = upto;
    settled.iter().for_each(|seq| assert!(known.pending.remove(seq)));
    known.pending.extend(&pending);
    let pending = pending.into_iter().map(|seq| Pending {
        seq,
        key: None,
        app: 1,
        attempt: 1,
        first_at: Timestamp::from_millis(1),
        age: Duration::ZERO,
        due: Timestamp::from_millis(1),
        error: String::new(),
    });
    let pending = pending.collect();
    let made =
        Commit { consumer: (**name).into(), checkpoint: Some(upto), events, settled, pending, ..Commit::default() };
    commit(journal, made).unwrap();
    let is_done = model.consumers[name].pending.is_empty() && upto == model.end(stream);
    if let Some(id) = name.strip_prefix("replay:").filter(|_| is_done) {
        let end = Change::EndReplay { id: id.parse().unwrap(), cancelled: false };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(journal.change(end)).unwrap();
        model.consumers.remove(name);
    }
}

fn begin_replay(journal: &Journal, model: &mut Model, rng: &mut Rng) {
    let (target, stream) = if rng.bool() { ("handler:h", Stream::Callbacks) } else { ("sink:a", Stream::Events) };
    let floor = journal.reader().unwrap().floor(stream);
    let first = rng.u64(1..=model.end(stream) + 1);
    let new = NewReplay { target: target.into(), stream, dead_of: None, first, last: u64::MAX, spec: String::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = runtime.block_on(journal.change(Change::BeginReplay(new))).unwrap();
    // What retention has swept above the floor is gone for it too; the model knows nothing of that, so it begins behind.
    let swept = journal.hook_gone(stream);
    let checkpoint = first.max(floor + 1).saturating_sub(1).min(model.end(stream)).max(swept.min(model.end(stream)));
    commit(
        journal,
        Commit { consumer: format!("replay:{id}").into(), checkpoint: Some(checkpoint), ..Commit::default() },
    )
    .unwrap();
    model.consumers.insert(format!("replay:{id}"), Known { stream, checkpoint, pending: BTreeSet::new() });
}

fn finish(journal: &Journal, model: &mut Model) {
    // Handlers first: the sinks then do what they made.
    let names: Vec<String> = model.consumers.keys().cloned().collect();
    for name in names {
        let end = model.end(model.consumers[&name].stream);
        let known = model.consumers.get_mut(&name).unwrap();
        let settled = std::mem::take(&mut known.pending).into_iter().collect();
        known.checkpoint = end;
        let made = Commit { consumer: name.into(), checkpoint: Some(end), settled, ..Commit::default() };
        commit(journal, made).unwrap();
    }
    trim(journal);
}

/// Everything that has to hold, held against the file and not against what is in memory.
fn look(journal: &Journal, model: &mut Model, when: &str) {
    journal.hook(|hooked| hooked.forget_tail());
    let mut reader = journal.reader().unwrap();
    for stream in [Stream::Callbacks, Stream::Events] {
        let floor = reader.floor(stream);
        let (mut found, mut after) = (BTreeSet::new(), 0);
        loop {
            let page: Vec<u64> = match stream {
                Stream::Callbacks => {
                    let page = reader.callbacks(after, 512, usize::MAX).unwrap();
                    page.into_iter()
                        .map(|row| match row {
                            Row::Intact(row) => {
                                assert_eq!(row.callback.id(), model.callbacks[row.seq as usize - 1].id(), "{when}");
                                row.seq
                            }
                            Row::Damaged { seq, reason } => panic!("{when}: callback {seq} {reason}"),
                        })
                        .collect()
                }
                Stream::Events => {
                    let page = reader.events(after, 512, usize::MAX).unwrap();
                    page.into_iter()
                        .map(|row| match row {
                            Row::Intact(row) => {
                                assert_eq!(row.callback_seq, model.events[row.event.seq as usize - 1], "{when}");
                                row.event.seq
                            }
                            Row::Damaged { seq, reason } => panic!("{when}: event {seq} {reason}"),
                        })
                        .collect()
                }
            };
            let Some(&last) = page.last() else { break };
            assert!(page[0] > after && page.is_sorted(), "{when}");
            found.extend(page);
            after = last;
        }
        let missing: Vec<u64> = model.needed(stream).difference(&found).copied().collect();
        assert_eq!(missing, Vec::<u64>::new(), "{when}: these of the {stream} are needed, and gone");
        assert_eq!(journal.ends().borrow().of(stream), model.end(stream), "{when}");
        assert!(floor >= model.floors[stream as usize], "{when}: the floor of the {stream} fell");
        assert!(found.first().is_none_or(|&first| first > floor), "{when}");
        model.floors[stream as usize] = floor;
    }
    let (mut found, mut after) = (BTreeMap::<u64, usize>::new(), 0);
    while let Some(upto) = {
        let page = reader.decisions_page(after, 512).unwrap();
        assert_eq!(page.damaged, [], "{when}");
        page.rows.iter().for_each(|row| *found.entry(row.callback_seq).or_default() += 1);
        page.upto
    } {
        after = upto;
    }
    for seq in model.needed(Stream::Callbacks) {
        assert_eq!(found.get(&seq), model.decisions.get(&seq), "{when}: of callback {seq}");
    }
    // Of what is gone nothing is left behind.
    let sql = "SELECT count(*) FROM decisions WHERE id / 256 NOT IN (SELECT seq FROM callbacks)";
    let (tell, told) = mpsc::channel();
    journal.hook(move |hooked| {
        let orphans = hooked.tables.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
        tell.send(orphans.unwrap()).unwrap();
    });
    assert_eq!(told.recv(), Ok(0), "{when}");
}

#[test]
fn nothing_that_is_needed_goes_and_nothing_that_is_gone_is_damage() {
    for seed in 0..12 {
        play(seed, 50);
    }
}

/// As many as the variable says, from there on; for those who changed retention.
#[test]
#[ignore = "runs for as long as it is told to"]
fn the_same_for_long() {
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1000);
    for seed in 0..seeds {
        play(1_000_000 + seed, 120);
    }
}
