//! The manual: a page for the program and one for each of its commands, from the definitions that the help is made of.

use std::{fs, io, path::Path};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

/// A page, and the name of its file.
pub(crate) struct Page {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// The pages of a program of this name: its own first, then those of its commands, in the order of the help.
///
/// # Errors
/// None that is known: the pages are written to memory.
pub(crate) fn pages(command: Command, program: &str) -> io::Result<Vec<Page>> {
    let mut command = command.name(program.to_owned()).disable_help_subcommand(true);
    command.build();
    let source = format!("{program} {}", command.get_version().unwrap_or_default());
    let mut pages = Vec::new();
    write(&command, None, source.trim_end(), &mut pages)?;
    Ok(pages)
}

/// Writes all of them into a folder, which is made if it is missing.
///
/// # Errors
/// What the disk says, with the path that it is about.
pub(crate) fn write_to(folder: &Path, pages: &[Page]) -> Result<(), String> {
    let failed = |path: &Path, err: io::Error| format!("cannot write {}: {err}", path.display());
    fs::create_dir_all(folder).map_err(|err| failed(folder, err))?;
    for page in pages {
        let path = folder.join(&page.file);
        fs::write(&path, &page.text).map_err(|err| failed(&path, err))?;
    }
    Ok(())
}

fn write(command: &Command, parent: Option<&str>, source: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    let mut text = Vec::new();
    // Its usage as the help has it: what clap_mangen makes of the options has no room for their values.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    let man = Man::new(command.clone().override_usage(usage)).source(source);
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    rest(command, parent).to_writer(&mut text)?;
    pages.push(Page { file: man.get_filename(), text: in_ascii(&String::from_utf8_lossy(&text)) });
    let name = command.get_display_name().unwrap_or(command.get_name());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write(sub, Some(name), source, pages)?;
    }
    Ok(())
}

/// Other characters by their names in roff: read as they are, they become two or three of Latin-1.
fn in_ascii(text: &str) -> String {
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    text.chars().map(escaped).collect()
}

/// What stands under the help, each paragraph by the name that it begins with, and the page that this one is a part of.
fn rest(command: &Command, parent: Option<&str>) -> Roff {
    let mut roff = Roff::new();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for paragraph in after.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let (heading, words) = paragraph.split_once(": ").unwrap_or(("Notes", paragraph));
        roff.control("SH", [heading.to_uppercase().as_str()]);
        roff.text([roman(words.replace('\n', " "))]);
    }
    if let Some(parent) = parent {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([roman(format!("{parent}(1)"))]);
    }
    roff
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// A page without what roff makes of hyphens and full stops.
    fn plain(page: &Page) -> String {
        page.text.replace("\\-", "-").replace("\\&", "").replace("\\[u2013]", "–").replace("\\*(Aq", "'")
    }

    #[test]
    fn every_command_has_a_page_with_every_option_and_argument() {
        let pages = pages(Cli::command(), "mine").unwrap();
        let mut command = Cli::command().name("mine").disable_help_subcommand(true);
        command.build();
        let mut left = vec![command];
        let mut n = 0;
        while let Some(command) = left.pop() {
            n += 1;
            let name = command.get_display_name().unwrap_or(command.get_name());
            let page = pages.iter().find(|page| page.file == format!("{name}.1")).unwrap_or_else(|| panic!("{name}"));
            let text = plain(page);
            let about = command.get_about().unwrap().to_string();
            assert!(text.contains(&format!("{name} - {about}")), "{text}");
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
                for line in help.lines() {
                    assert!(text.contains(line), "{name}: {line:?} is not in\n{text}");
                }
                match arg.get_long() {
                    Some(long) => assert!(text.contains(&format!("--{long}")), "{name}: --{long} is not in\n{text}"),
                    None => {
                        let value = &arg.get_value_names().unwrap()[0];
                        assert!(text.contains(&format!("\\fI{value}")), "{name}: {value} is not in\n{text}");
                    }
                }
            }
            for sub in command.get_subcommands() {
                let reference = format!("{name}-{}(1)", sub.get_name());
                assert!(text.contains(&reference), "{reference} is not in\n{text}");
                left.push(sub.clone());
            }
        }
        assert_eq!((pages.len(), &*pages[0].file), (n, "mine.1"));
        assert!(pages.iter().all(|page| page.text.is_ascii()));
    }
}
