//! How far long work is: a bar where a person watches, a line now and then where not.

use std::io::{IsTerminal as _, Write as _};

use dispatcher_control::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use super::text::{clean, cut, number};

pub(crate) enum Meter {
    /// On a terminal; the bar is there while there is something to show.
    Bar(Option<ProgressBar>),
    /// Elsewhere: what was said last, with the tenth that was reached, unless nothing is to be said.
    Lines { said: Option<(String, u64)>, is_wanted: bool },
}

impl Meter {
    /// On standard error. Elsewhere than on a terminal, lines are only written if they are wanted.
    pub(crate) fn new(lines_are_wanted: bool) -> Meter {
        if std::io::stderr().is_terminal() {
            Meter::Bar(None)
        } else {
            Meter::Lines { said: None, is_wanted: lines_are_wanted }
        }
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        let Progress { what, done, total } = progress;
        match self {
            Meter::Bar(bar) => {
                let bar = bar.get_or_insert_with(|| {
                    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left");
                    ProgressBar::new(*total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                });
                bar.set_message(cut(what, 60));
                bar.set_length(*total);
                bar.set_position(*done);
            }
            Meter::Lines { said, is_wanted: true } if *total > 0 => {
                let tenth = done.saturating_mul(10) / total;
                if said.as_ref().is_none_or(|said| *said != (what.clone(), tenth)) {
                    *said = Some((what.clone(), tenth));
                    let line = format!("{}: {} of {}", clean(what), number(*done), number(*total));
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
            }
            Meter::Lines { .. } => {}
        }
    }

    /// Takes the bar away, so that other lines have the terminal.
    pub(crate) fn hide(&mut self) {
        if let Meter::Bar(bar) = self
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}
