//! Where answers are shown: standard output for what was asked for, standard error for what is beside it.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use dispatcher_control::{Answer, DamagedView, Done};

use super::{progress::Meter, text};

/// The lines of an answer.
type Show<'a> = Box<dyn FnMut(&Answer) -> Vec<String> + 'a>;

/// Shows answers.
pub(crate) struct Screen<'a> {
    meter: Meter,
    /// Shows one answer; lines go to standard output.
    show: Show<'a>,
    /// Whether standard output still takes anything: `head` goes when it has enough.
    is_open: bool,
}

impl<'a> Screen<'a> {
    /// One that shows nothing but progress and what is said at the end. `is_long`: whether lines about progress are wanted
    /// where there is no terminal.
    pub(crate) fn new(is_long: bool) -> Screen<'a> {
        Screen::with(is_long, |_| Vec::new())
    }

    /// One that shows answers as `show` has it.
    pub(crate) fn with(is_long: bool, show: impl FnMut(&Answer) -> Vec<String> + 'a) -> Screen<'a> {
        Screen { meter: Meter::new(is_long), show: Box::new(show), is_open: true }
    }

    /// Shows an answer; false when nobody reads any more.
    pub(crate) fn take(&mut self, answer: &Answer) -> bool {
        match answer {
            Answer::Progress(progress) => self.meter.show(progress),
            Answer::Damaged(DamagedView { stream, seq, damaged }) => {
                self.meter.hide();
                note(&format!("{stream}/{seq} {}", text::clean(damaged)));
            }
            Answer::Done(Done { note: said, .. }) => {
                self.meter.hide();
                if let Some(said) = said {
                    note(said);
                }
            }
            Answer::Failed(message) => {
                self.meter.hide();
                note(&text::clean(message));
            }
            other => {
                let lines = (self.show)(other);
                for line in lines {
                    self.line(&line);
                }
            }
        }
        self.is_open
    }

    /// A line of what was asked for.
    pub(crate) fn line(&mut self, line: &str) {
        self.meter.hide();
        let mut stdout = std::io::stdout().lock();
        self.is_open &= writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok();
    }
}

/// A line beside what was asked for.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether a person is there to be asked.
pub(crate) fn is_attended() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a person.
pub(crate) fn confirm(question: &str) -> bool {
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
