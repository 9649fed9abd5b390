//! What a compression finds when it begins, and what happens while it runs.
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use super::*;
use crate::{tests::Disk, turn::UnderWay};

const LINE: &str = "{\"sequence\":\"1\"}\n";

#[test]
fn finishes_or_cleans_up_what_a_crash_left() {
    let equal = gzip(LINE);
    let cut = equal[..equal.len() - 1].to_vec();
    let longer = gzip(&[LINE, LINE].concat());
    for (found, left) in [
        // Before the compressed file was complete, and before it had its name.
        (vec![("x.1", LINE.into()), ("x.gz.tmp", cut.clone())], vec!["x", "x.1.gz"]),
        (vec![("x.1", LINE.into()), ("x.gz.tmp", equal.clone())], vec!["x", "x.1.gz"]),
        // Before the other was deleted.
        (vec![("x.1", LINE.into()), ("x.1.gz", equal.clone())], vec!["x", "x.1.gz"]),
        (vec![("x.1", LINE.into()), ("x.1.gz", equal.clone()), ("x.gz.tmp", vec![])], vec!["x", "x.1.gz"]),
        // Nothing that a crash leaves: neither is touched.
        (vec![("x.1", LINE.into()), ("x.1.gz", cut)], vec!["x", "x.1", "x.1.gz"]),
        (vec![("x.1", LINE.into()), ("x.1.gz", longer)], vec!["x", "x.1", "x.1.gz"]),
        (vec![("x.1", LINE.into()), ("x.1.gz", gzip(""))], vec!["x", "x.1", "x.1.gz"]),
        // And others' files.
        (vec![("x.1.bak", LINE.into()), ("y.1", LINE.into())], vec!["x", "x.1.bak", "y.1"]),
    ] {
        let disk = Disk::new(0);
        let mut pass = pass(&disk);
        fs::write(disk.path("x"), LINE).unwrap();
        for (name, contents) in &found {
            fs::write(disk.path(name), contents).unwrap();
        }
        for _ in 0..2 {
            pass.run(Timestamp::from_millis(0));
            assert_eq!(disk.names(), left, "of {found:?}");
        }
        if left[1..] == ["x.1.gz"] {
            assert_eq!(disk.lines("x.1.gz"), [1]);
        }
    }
}

#[test]
fn a_sink_that_compresses_nothing_cleans_up_and_leaves_a_running_compression_alone() {
    let disk = Disk::new(0);
    let pass = pass(&disk);
    fs::write(disk.path("x.gz.tmp"), "").unwrap();
    let running = pass.turn.compression();
    tidy(&pass.template, &pass.turn, Timestamp::from_millis(0)).unwrap();
    assert_eq!(disk.names(), ["x.gz.tmp"]);
    drop(running);
    disk.open("x", serde_json::json!({}));
    assert_eq!(disk.names(), ["x"]);
}

/// Stops the compression before each of its steps, and lets something happen there.
#[test]
fn whatever_happens_meanwhile_the_lines_are_somewhere() {
    type Happening = fn(&Disk, &mut UnderWay);
    let rotated: Happening = |disk, under_way| {
        fs::write(disk.path("x"), "{\"sequence\":\"2\"}\n").unwrap();
        rotation::set_aside(&disk.path("x"), under_way).unwrap();
    };
    let written: Happening = |disk, _| {
        let mut file = File::options().append(true).open(disk.path("x.1")).unwrap();
        file.write_all(b"{\"sequence\":\"3\"}\n").unwrap();
    };
    let replaced: Happening = |disk, _| {
        fs::write(disk.path("other"), "{\"sequence\":\"4\"}\n").unwrap();
        fs::rename(disk.path("other"), disk.path("x.1")).unwrap();
    };
    let moved: Happening = |disk, _| fs::rename(disk.path("x.1"), disk.path("moved")).unwrap();
    let deleted: Happening = |disk, _| fs::remove_file(disk.path("x.1")).unwrap();
    for (what, happening, before_publish, before_finish) in [
        ("rotated", rotated, vec!["x.1:2", "x.2.gz:1"], vec!["x.1:2", "x.2.gz:1"]),
        ("written", written, vec!["x.1:1,3"], vec!["x.1:1,3"]),
        ("replaced", replaced, vec!["x.1:4"], vec!["x.1.gz:1", "x.1:4"]),
        ("moved", moved, vec!["moved:1"], vec!["moved:1", "x.1.gz:1"]),
        ("deleted", deleted, vec![], vec!["x.1.gz:1"]),
    ] {
        for (step, left) in [before_publish, before_finish].into_iter().enumerate() {
            let disk = Disk::new(0);
            let pass = pass(&disk);
            fs::write(disk.path("x.1"), LINE).unwrap();
            let (source, unfinished) = (File::open(disk.path("x.1")).unwrap(), disk.path("x.gz.tmp"));
            let meta = source.metadata().unwrap();
            pass.turn.names().begin(&disk.path("x.1"));
            let len = pass.write(&source, &meta, &unfinished).unwrap();
            if step == 0 {
                happening(&disk, &mut pass.turn.names());
            }
            let published = pass.publish(&unfinished, &meta, len).unwrap();
            if step == 1 {
                happening(&disk, &mut pass.turn.names());
            }
            match published {
                Some(len) => drop(pass.finish(&source, len).unwrap()),
                None => fs::remove_file(&unfinished).unwrap(),
            }
            let contents = |name: &String| {
                let lines: Vec<String> = disk.lines(name).iter().map(u64::to_string).collect();
                format!("{name}:{}", lines.join(","))
            };
            let mut found: Vec<String> = disk.names().iter().map(contents).collect();
            found.sort_unstable();
            assert_eq!(found, left, "{what} before step {step}");
        }
    }
}

#[test]
fn one_file_that_cannot_be_compressed_holds_up_no_other() {
    let disk = Disk::new(0);
    let mut pass = pass(&disk);
    for name in ["x.1", "x.2"] {
        fs::write(disk.path(name), LINE).unwrap();
    }
    fs::write(disk.path("x.1.gz"), "not gzip").unwrap();
    pass.run(Timestamp::from_millis(0));
    assert_eq!(disk.names(), ["x.1", "x.1.gz", "x.2.gz"]);
}

#[test]
fn a_sink_that_is_closed_ends_the_compression_and_leaves_the_file_whole() {
    let disk = Disk::new(0);
    let mut pass = pass(&disk);
    fs::write(disk.path("x.1"), LINE).unwrap();
    pass.stop.store(true, Ordering::Relaxed);
    pass.run(Timestamp::from_millis(0));
    assert_eq!(disk.names(), ["x.1"]);
    pass.stop.store(false, Ordering::Relaxed);
    pass.run(Timestamp::from_millis(0));
    assert_eq!(disk.names(), ["x.1.gz"]);
}

fn pass(disk: &Disk) -> Pass {
    Pass::new(Template::parse(&disk.text("x")).unwrap(), disk.turn("x"))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
