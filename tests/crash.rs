//! Nothing acknowledged is ever lost: a few rounds of each fault of `crates/dispatcher-crash`, which does as many as you
//! like by hand.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::path::{Path, PathBuf};

use dispatcher_crash::{Fault, HEAD, Harness, Programs};

/// One fault after the other: they load the machine, and would measure each other.
#[test]
fn nothing_acknowledged_is_lost() {
    let harness = Harness {
        programs: Programs::beside_test(Path::new(env!("CARGO_BIN_EXE_dispatcher"))).unwrap(),
        dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        seed: 1,
        progress: |_| {},
    };
    let rounds = [
        (Fault::Kill, 10),
        (Fault::Step, 30),
        (Fault::Power, 6),
        (Fault::Control, 6),
        (Fault::Error, 8),
        (Fault::Flip, 12),
        (Fault::Clock, 4),
        (Fault::Sink, 6),
    ];
    for (fault, rounds) in rounds {
        let outcome = harness.run(fault, rounds).unwrap();
        println!("{HEAD}\n{outcome}");
        assert!(outcome.is_clean(), "{outcome}");
        assert!(outcome.reached > 0 && outcome.acknowledged > 0, "the fault was never met: {outcome}");
    }
}
