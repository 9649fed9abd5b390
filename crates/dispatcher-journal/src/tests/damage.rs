use super::*;

#[test]
fn every_changed_column_is_noticed_and_the_rest_is_read() {
    let changes = [
        ("callbacks", "at", "at + 1"),
        ("callbacks", "received", "received + 1"),
        ("callbacks", "event_time", "0"),
        ("callbacks", "id", "zeroblob(16)"),
        ("callbacks", "app", "app + 1"),
        ("callbacks", "app_name", "'mein'"),
        ("callbacks", "command", "'Group.CallbackAfterGroupFulm'"),
        ("callbacks", "key", "NULL"),
        ("callbacks", "identity", "zeroblob(16)"),
        ("callbacks", "query", "query || ' '"),
        ("callbacks", "body", "replace(body, 'TGS', 'TGT')"),
        ("callbacks", "crc", "crc + 1"),
        ("callbacks", "crc", "-1"),
        ("events", "at", "at + 1"),
        ("events", "callback", "callback - 1"),
        ("events", "handler", "'i'"),
        ("events", "n", "1"),
        ("events", "type", "'u'"),
        ("events", "key", "''"),
        ("events", "time", "time + 1"),
        ("events", "data", "'{}'"),
        ("events", "sinks", "'a,c'"),
        ("events", "crc", "0"),
    ];
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 30);
    journal.close();
    let whole = std::fs::read(place.path()).unwrap();
    for (table, column, value) in changes {
        std::fs::write(place.path(), &whole).unwrap();
        place.tamper(&format!("UPDATE {table} SET {column} = {value} WHERE seq = 9"));
        let journal = place.open();
        let (callbacks, events) = (callbacks(&journal), events(&journal));
        let reason = "fails its checksum";
        let its = format!("its callback 9 {reason}");
        let (of_callbacks, of_events) = if table == "callbacks" {
            (vec![(9, reason)], vec![(9, its.as_str())])
        } else {
            (vec![], vec![(9, reason)])
        };
        assert_eq!(damaged(&callbacks), of_callbacks, "{table}.{column}");
        assert_eq!(damaged(&events), of_events, "{table}.{column}");
        assert_eq!((callbacks.len(), events.len()), (30, 30));
        journal.close();
    }
}

#[test]
fn a_last_row_with_an_impossible_number_moves_neither_the_end_nor_the_clock() {
    for (of_callbacks, of_events) in
        [("seq = 38412, app = 7", "seq = 38412, n = 7"), ("at = 9000000000000000000", "at = 9000000000000000000")]
    {
        let place = Place::new();
        let journal = place.open();
        fill(&journal, 30);
        journal.close();
        place.tamper(&format!(
            "UPDATE callbacks SET {of_callbacks} WHERE seq = 30; UPDATE events SET {of_events} WHERE seq = 30;
             DELETE FROM checkpoint"
        ));
        let journal = place.open();
        assert_eq!(append(&journal, &callback(None)), Appended::New { seq: 31 }, "{of_events}");
        let (callbacks, events) = (callbacks(&journal), events(&journal));
        let seqs = |damaged: Vec<(u64, &str)>| damaged.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
        assert_eq!((callbacks.len(), seqs(damaged(&callbacks))), (31, vec![30]), "{of_callbacks}");
        assert_eq!((events.len(), seqs(damaged(&events))), (30, vec![30]), "{of_events}");
        journal.close();
        let at = "SELECT at FROM callbacks WHERE seq = 31";
        let at: i64 = Connection::open(place.path()).unwrap().query_row(at, [], |row| row.get(0)).unwrap();
        assert!(at < 9_000_000_000_000, "{at}");
    }
}

#[test]
fn a_flipped_bit_in_what_retention_noted_hides_no_row() {
    for (table, key) in [("callbacks", "floor"), ("events", "floor"), ("callbacks", "mark"), ("events", "mark")] {
        let place = Place::new();
        let journal = place.open();
        fill(&journal, 30);
        journal.close();
        let key = format!("{table}_{key}");
        // What was deleted rightly, and then said to be more.
        let noted = crate::meta::text(&key, if key.ends_with("floor") { 4 } else { 30 });
        let flipped = noted.replacen(['4', '0'], "9", 1);
        place.tamper(&format!(
            "INSERT OR REPLACE INTO meta VALUES ('{key}', '{flipped}'); DELETE FROM checkpoint;
             DELETE FROM callbacks WHERE seq <= 4; DELETE FROM events WHERE seq <= 4"
        ));
        let journal = place.open();
        let mut reader = journal.reader().unwrap();
        assert_eq!((reader.end(Stream::Callbacks), reader.end(Stream::Events)), (30, 30), "{key}");
        let rows = |rows: usize| assert!(rows >= 26, "{rows} rows are left, with {key} flipped");
        rows(reader.callbacks(0, 512, usize::MAX).unwrap().into_iter().filter_map(Row::intact).count());
        rows(reader.events(0, 512, usize::MAX).unwrap().into_iter().filter_map(Row::intact).count());
    }
}

#[test]
fn a_missing_row_is_noticed_wherever_it_was() {
    for (sql, missing) in [
        ("DELETE FROM callbacks WHERE seq = 1", vec![1]),
        (
            "DELETE FROM callbacks WHERE seq IN (5, 6, 13, 14, 15, 16, 17, 18, 19, 20, 21)",
            [5, 6].into_iter().chain(13..=21).collect(),
        ),
        ("DELETE FROM callbacks WHERE seq > 28", vec![29, 30]),
        ("DELETE FROM callbacks", (1..=30).collect()),
        // A seq that moved: neither place has what was appended there.
        ("DELETE FROM callbacks WHERE seq = 20; UPDATE callbacks SET seq = 20 WHERE seq = 8", vec![8, 20]),
        ("UPDATE callbacks SET seq = seq + 1000000 WHERE seq = 8", vec![8]),
    ] {
        let place = Place::new();
        let journal = place.open();
        fill(&journal, 30);
        let ends = *journal.ends().borrow();
        journal.close();
        place.tamper(sql);
        let journal = place.open();
        // What is beyond the end – a seq that moved there – was told to nobody, and is not looked at here.
        let mut reader = journal.reader().unwrap();
        let rows = pages(
            |after| {
                let room = usize::try_from(ends.callbacks - after).unwrap();
                if room == 0 { Vec::new() } else { reader.callbacks(after, room.min(7), usize::MAX).unwrap() }
            },
            |row| row.seq,
        );
        let seqs: Vec<u64> = damaged(&rows).iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, missing, "after {sql}");
        assert_eq!(rows.len(), 30);
    }
}

#[test]
fn a_flipped_byte_in_the_file_costs_its_row_alone() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &distinct(200));
    journal.close();
    let mut file = std::fs::read(place.path()).unwrap();
    // Pages that were split keep a copy of what moved; all copies of this row are hit.
    for at in places_of(&id_of(&place, 78), &file) {
        file[at + 20] ^= 0x10;
    }
    std::fs::write(place.path(), &file).unwrap();
    let journal = place.open();
    let rows = callbacks(&journal);
    let damaged = damaged(&rows);
    assert_eq!((rows.len(), damaged), (200, vec![(78, "fails its checksum")]));
}

#[test]
fn a_page_that_cannot_be_read_costs_its_rows_alone() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &distinct(400));
    journal.close();
    let mut file = std::fs::read(place.path()).unwrap();
    // The page that has row 200 becomes none at all.
    let page = places_of(&id_of(&place, 200), &file)[0] / 8192;
    file[page * 8192..(page + 1) * 8192].fill(0xff);
    std::fs::write(place.path(), &file).unwrap();
    let journal = place.open();
    let rows = callbacks(&journal);
    let damaged = damaged(&rows);
    assert_eq!(rows.len(), 400);
    assert!(damaged.iter().any(|(seq, _)| *seq == 200), "{damaged:?}");
    assert!(damaged.len() < 60, "{} rows are lost", damaged.len());
    assert!(damaged.iter().all(|(_, reason)| reason.starts_with("cannot be read: ")), "{damaged:?}");
}

fn id_of(place: &Place, seq: i64) -> Vec<u8> {
    let connection = Connection::open(place.path()).unwrap();
    connection.query_row("SELECT id FROM callbacks WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
}

fn places_of(id: &[u8], file: &[u8]) -> Vec<usize> {
    file.windows(id.len()).enumerate().filter(|(_, bytes)| *bytes == id).map(|(at, _)| at).collect()
}

fn distinct(n: usize) -> Vec<Callback> {
    (0..n).map(|_| callback(None)).collect()
}
