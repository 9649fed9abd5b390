use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::OpenError;

#[test]
fn a_second_dispatcher_is_kept_out() {
    let place = Place::new();
    let journal = place.open();
    let err = Journal::open(place.options()).err().unwrap();
    let path = place.path().display().to_string();
    let said = err.to_string();
    let start = format!("{path}: process {} (`", std::process::id());
    let end = format!(
        "`) has this journal open (it holds the lock on {path}.lock); stop it, wait until it has ended, or choose another \
         [journal] path"
    );
    assert!(said.starts_with(&start) && said.ends_with(&end), "{said}");
    journal.close();
    place.open();
}

#[test]
fn a_format_that_is_not_ours_is_left_alone() {
    let place = Place::new();
    place.open().close();
    place.tamper("PRAGMA user_version = 7");
    let before = std::fs::read(place.path()).unwrap();
    let err = Journal::open(place.options()).err().unwrap();
    let path = place.path().display().to_string();
    assert!(matches!(err, OpenError::Newer { found: 7, known: 3, .. }));
    assert_eq!(
        err.to_string(),
        format!(
            "{path}: this journal has format 7, and this dispatcher knows formats up to 3; use the newer dispatcher that \
             wrote it, or choose another [journal] path"
        )
    );
    assert_eq!(std::fs::read(place.path()).unwrap(), before);

    for foreign in [None, Some("CREATE TABLE theirs (a)")] {
        let place = Place::new();
        match foreign {
            Some(sql) => place.tamper(sql),
            None => {
                std::fs::write(place.path(), "a text that is long enough to be looked at as a database, and is none")
                    .unwrap()
            }
        }
        let err = Journal::open(place.options()).err().unwrap();
        assert!(matches!(err, OpenError::Foreign { .. }), "{err}");
    }
}

#[test]
fn only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/deep/journal.db");
    let journal = Journal::open(JournalOptions::new(&path)).unwrap();
    append(&journal, &callback(None));
    let mode = |path: PathBuf| std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let deep = folder.path().join("made/deep");
    assert_eq!((mode(folder.path().join("made")), mode(deep.clone())), (0o700, 0o700));
    for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"] {
        assert_eq!(mode(deep.join(name)), 0o600, "{name}");
    }
}

#[test]
fn it_is_made_the_way_it_is_described() {
    let place = Place::new();
    place.open().close();
    let connection = Connection::open(place.path()).unwrap();
    let pragma = |name: &str| -> String {
        connection
            .query_row(&format!("SELECT CAST((SELECT * FROM pragma_{name}) AS TEXT)"), [], |row| row.get(0))
            .unwrap()
    };
    for (name, value) in [("page_size", "8192"), ("auto_vacuum", "2"), ("journal_mode", "wal"), ("user_version", "3")] {
        assert_eq!(pragma(name), value, "{name}");
    }
}

#[test]
fn a_path_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let path = folder.path().join("file/journal.db");
    let err = Journal::open(JournalOptions::new(&path)).err().unwrap().to_string();
    let said = format!("{}: cannot make the journal's folder: ", folder.path().join("file").display());
    assert!(err.starts_with(&said), "{err}");
}

#[test]
fn a_damaged_page_that_a_start_needs_is_told_with_what_to_do() {
    for table in ["callbacks", "events", "checkpoint", "pending", "meta"] {
        let place = Place::new();
        let journal = place.open();
        fill(&journal, 3);
        journal.close();
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root: usize =
            Connection::open(place.path()).unwrap().query_row(root, [table], |row| row.get::<_, u32>(0)).unwrap()
                as usize;
        let mut bytes = std::fs::read(place.path()).unwrap();
        bytes[(root - 1) * 8192] = 0xff;
        std::fs::write(place.path(), bytes).unwrap();
        let said = Journal::open(place.options()).err().unwrap().to_string();
        assert!(said.contains("a page of the journal that a start needs is damaged"), "{table}: {said}");
        assert!(said.contains("`dispatcher journal backup`") && said.contains(".recover"), "{table}: {said}");
    }
}
