//! A replay that is asked for twice: by whoever made it, and by the successor of its sink, which found it in the journal.

use async_trait::async_trait;
use dispatcher_core::{CheckContext, OpenContext, OpenError, SettingError, Sink, SinkSettings, Takes};
use dispatcher_journal::{Change, JournalOptions, NewReplay, Start};
use tokio::task::LocalSet;

use super::*;

const NAME: &str = "sink:broken";

struct Broken;

#[async_trait]
impl SinkSettings for Broken {
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    fn takes(&self) -> Takes {
        Takes::Any
    }

    async fn open(&self, _: &OpenContext) -> Result<Box<dyn Sink>, OpenError> {
        Err(OpenError::other("no such host"))
    }
}

#[tokio::test]
async fn a_replay_runs_once_however_often_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions::new(folder.path().join("journal.db"))).unwrap();
    journal.register(NAME, Stream::Events, Start::Oldest).unwrap();
    let spec = ReplaySpec { of: NAME.to_owned(), ..ReplaySpec::default() };
    let spec = serde_json::to_string(&spec).unwrap();
    let new = NewReplay { target: NAME.into(), stream: Stream::Events, dead_of: None, first: 1, last: u64::MAX, spec };
    journal.change(Change::BeginReplay(new)).await.unwrap();
    let replay = journal.reader().unwrap().replays().unwrap().remove(0);
    let in_the_deck = async {
        let (_phase, watch_phase) = watch::channel(Phase::Running);
        let mut deck = Deck::new(journal.clone(), journal.reader().unwrap(), watch_phase, Statuses::default());
        let instance = SinkInstance {
            name: "broken".to_owned(),
            settings: Arc::new(Broken),
            threads: 1,
            options: ConsumerOptions::single(1),
            fingerprint: 0,
        };
        let known = find(&mut deck.reader.borrow_mut(), NAME, Stream::Events).unwrap();
        deck.man_sink(Ready::sink(instance).unwrap(), known, None);
        deck.start_replays_of(NAME);
        deck.start_replay(replay.clone());
        deck.obey(Command::Replay(Box::new(replay)));
        assert_eq!(deck.tasks.len(), 1);
    };
    LocalSet::new().run_until(in_the_deck).await;
}
