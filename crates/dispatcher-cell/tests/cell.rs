//! Code in a cell can panic, wait for ever and block, and only its own caller learns of it.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{future, sync::mpsc, thread, time::Duration};

use dispatcher_cell::{Caller, Cell, CellError, Off, Reopening};
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_millis(20);
const PLENTY: Duration = Duration::from_secs(30);

#[tokio::test]
async fn runs_on_threads_of_its_own() {
    for threads in [1, 3] {
        let cell = Cell::open("handler:mine", threads).unwrap();
        let name = cell.run(async { thread::current().name().map(str::to_owned) }).await.unwrap();
        assert_eq!(name.as_deref(), Some("handler:mine"), "with {threads} threads");
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_cell_goes_on() {
    let cell = Cell::open("panics", 1).unwrap();
    let told = cell.run_for(PLENTY, async { panic!("no such group") }).await;
    assert_eq!(told, Err::<(), _>(CellError::Panicked("no such group".into())));
    // What was put together may quote somebody.
    let quoted = String::from("quoted");
    let told = cell.run_for(PLENTY, async move { panic!("no such group: {quoted}") }).await;
    let Err::<(), _>(CellError::Panicked(told)) = told else { panic!("{told:?}") };
    assert!(told.starts_with("its words are left out") && !told.contains("quoted"), "{told}");
    assert_eq!(cell.run(async { 7 }).await, Ok(7));
}

#[tokio::test]
async fn a_panic_can_be_caught_in_the_cell() {
    let cell = Cell::open("catches", 1).unwrap();
    let caught = cell.run(async { (Cell::catch(async { panic!("one") }).await, Cell::catch(async { 2 }).await) }).await;
    assert_eq!(caught, Ok((Err::<(), _>("one".to_owned()), Ok(2))));
}

#[tokio::test]
async fn a_late_call_is_dropped() {
    let cell = Cell::open("late", 1).unwrap();
    let (held, dropped) = oneshot::channel::<()>();
    let late = cell.run_for(SOON, async move {
        let _held = held;
        future::pending::<()>().await;
    });
    assert_eq!(late.await, Err(CellError::Late));
    assert!(dropped.await.is_err(), "what the call held is dropped with it");
    assert_eq!(cell.run(async { 7 }).await, Ok(7));
}

#[tokio::test]
async fn calls_that_were_started_are_answered_each_for_itself() {
    for threads in [1, 3] {
        let cell = Cell::open("starts", threads).unwrap();
        let calls: Vec<_> = (0..1_000)
            .map(|nth| {
                cell.start(async move {
                    tokio::task::yield_now().await;
                    assert_ne!(nth, 500, "one panics");
                    nth
                })
            })
            .collect();
        for (nth, call) in calls.into_iter().enumerate() {
            match call.await {
                Ok(back) => assert_eq!(back, nth),
                Err(err) => assert!(nth == 500 && matches!(err, CellError::Panicked(_)), "{nth}: {err}"),
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_told_to_stop() {
    let cell = Cell::open("stops", 1).unwrap();
    let (begun, begins) = oneshot::channel();
    let (held, dropped) = oneshot::channel::<()>();
    let call = cell.start(async move {
        let _held = held;
        let _ = begun.send(());
        future::pending::<()>().await;
    });
    begins.await.unwrap();
    drop(call);
    assert!(dropped.await.is_err(), "what the call held is dropped with it");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_does_not_begin() {
    let cell = Cell::open("begins", 1).unwrap();
    let (release, blocked) = mpsc::channel::<()>();
    let first = cell.start(async move { blocked.recv().is_ok() });
    let (held, dropped) = oneshot::channel::<()>();
    drop(cell.start(async move {
        let _ = held.send(());
    }));
    release.send(()).unwrap();
    assert_eq!(first.await, Ok(true));
    assert!(dropped.await.is_err(), "it never ran");
}

#[tokio::test]
async fn a_call_into_a_cell_that_is_closed_says_so() {
    let cell = Cell::open("closes", 1).unwrap();
    let call = cell.start(future::pending::<()>());
    drop(cell);
    assert_eq!(call.await, Err(CellError::Closed));
}

#[tokio::test]
async fn a_caller_hands_over_what_else_is_ready_has_called_and_is_told_in_bulk() {
    const CALLS: usize = 1_000;
    for threads in [1, 3] {
        let (cell, caller) = (Cell::open("bulk", threads).unwrap(), Caller::default());
        let (begin, begun) = mpsc::channel();
        let calls = (0..CALLS).map(|nth| {
            let begin = begin.clone();
            cell.start_for(Some(&caller), async move {
                let _ = begin.send(());
                if nth % 2 == 1 {
                    tokio::task::yield_now().await;
                }
                assert_ne!(nth, 500, "one panics");
                nth
            })
        });
        let calls: Vec<_> = calls.collect();
        assert!(begun.try_recv().is_err(), "nothing begins before the pump runs");
        let pump = caller.clone();
        let pump = tokio::spawn(async move { pump.pump().await });
        for (nth, call) in calls.into_iter().enumerate() {
            match call.await {
                Ok(back) => assert_eq!(back, nth),
                Err(err) => assert!(nth == 500 && matches!(err, CellError::Panicked(_)), "{nth}: {err}"),
            }
        }
        assert_eq!(begun.try_iter().count(), CALLS);
        pump.abort();
    }
}

#[tokio::test]
async fn a_call_that_left_its_caller_needs_no_pump_to_be_told() {
    let (cell, caller) = (Cell::open("leaves", 1).unwrap(), Caller::default());
    let (release, released) = oneshot::channel::<()>();
    let (begin, begun) = oneshot::channel();
    let mut call = cell.start_for(Some(&caller), async move {
        let _ = begin.send(());
        released.await.is_ok()
    });
    tokio::select! {
        () = caller.pump() => {}
        begun = begun => begun.unwrap(),
        // Polled too, so that it has a waker to be told by.
        _ = &mut call => panic!("it is not released"),
    }
    call.leave_caller();
    release.send(()).unwrap();
    assert_eq!(call.await, Ok(true));
}

#[tokio::test]
async fn a_blocked_thread_is_stuck_and_left_behind() {
    for threads in [1, 2] {
        let (release, blocked) = mpsc::channel::<()>();
        let cell = Cell::open("stuck", threads).unwrap();
        let stuck = cell.run_for(SOON, async move { blocked.recv().is_ok() });
        assert_eq!(stuck.await, Err(CellError::Stuck));
        drop(cell); // Must not wait for the thread, which is blocked until the next line.
        drop(release);
    }
}

#[tokio::test]
async fn an_instance_is_off_after_its_third_new_cell() {
    let instance = Reopening::open("again", 1).unwrap();
    for generation in 0..3 {
        assert_eq!(instance.cell().unwrap().1, generation);
        assert_eq!(instance.leave(generation), Ok(true));
        assert_eq!(instance.leave(generation), Ok(false), "another lane saw the same blocked thread");
    }
    assert_eq!(instance.cell().unwrap().0.run(async { 7 }).await, Ok(7));
    assert_eq!(instance.leave(3), Err(Off));
    assert_eq!(instance.cell().unwrap_err(), Off);
    assert_eq!(instance.leave(3), Err(Off));
}
