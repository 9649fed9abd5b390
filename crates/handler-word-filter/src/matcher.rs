//! Finds words and patterns in texts, and masks them.

use std::{borrow::Cow, ops::Range};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;

use crate::{
    fold::{Folded, folded, is_as_folded},
    list::{Place, Word},
};

/// What is looked for.
pub(crate) struct Matcher {
    words: AhoCorasick,
    /// Where the words stand, in the order that `words` knows them in.
    listed: Vec<Word>,
    patterns: Vec<Regex>,
    folds: bool,
    whole_words: bool,
}

/// Something that was found.
#[derive(Clone, Debug)]
pub(crate) struct Hit<'m> {
    /// Where the word or pattern stands that it is.
    pub(crate) place: Cow<'m, Place>,
    /// The word, if it is one.
    pub(crate) word: Option<&'m str>,
    /// Where in the text.
    range: Range<usize>,
}

/// What may be spent on finding everything in a message: how many bytes are looked at once more. Each time that a pattern is
/// found, the search for the next may have to look at all that is left of the text.
pub(crate) struct Effort(usize);

impl Default for Effort {
    /// Some hundredths of a second.
    fn default() -> Effort {
        Effort(8 << 20)
    }
}

/// Up to how many bytes of words the fastest automaton is worth its memory: it takes some hundred times as much.
const FASTEST_UP_TO: usize = 32 << 10;

impl Matcher {
    /// Looks for these. Words that fold to nothing, and patterns that can fit nothing, are to be refused before.
    ///
    /// # Errors
    /// When there are more than can be looked for at once.
    pub(crate) fn new(
        listed: Vec<Word>,
        patterns: Vec<Regex>,
        folds: bool,
        whole_words: bool,
    ) -> Result<Matcher, aho_corasick::BuildError> {
        let texts: Vec<Cow<'_, str>> = listed.iter().map(|word| sought(&word.text, folds)).collect();
        let size: usize = texts.iter().map(|text| text.len()).sum();
        let words = AhoCorasick::builder()
            // Of words that begin at one place the longest; with borders to look at, all of them have to be seen first.
            .match_kind(if whole_words { MatchKind::Standard } else { MatchKind::LeftmostLongest })
            // So that texts of ASCII need no folding.
            .ascii_case_insensitive(folds)
            .kind((size <= FASTEST_UP_TO).then_some(AhoCorasickKind::DFA))
            .build(texts.iter().map(|text| text.as_bytes()))?;
        Ok(Matcher { words, listed, patterns, folds, whole_words })
    }

    /// The first thing found in `text`: a word, if there is one.
    pub(crate) fn find(&self, text: &str) -> Option<Hit<'_>> {
        let seen = self.see(text);
        let haystack = seen.haystack(text);
        if self.whole_words {
            let mut found = self.words.find_overlapping_iter(haystack);
            if let Some(found) = found.find(|found| is_whole(haystack, found.range())) {
                return Some(self.word(found.pattern().as_usize(), seen.original(found.range())));
            }
        } else if let Some(found) = self.words.find(haystack) {
            return Some(self.word(found.pattern().as_usize(), seen.original(found.range())));
        }
        self.patterns.iter().enumerate().find_map(|(idx, pattern)| {
            let found = pattern.find(haystack)?;
            Some(pattern_hit(idx, seen.original(found.range())))
        })
    }

    /// Everything found in `text`, in no particular order. Of words that overlap one is given, the one that begins first, or
    /// else the longest. `None` if that takes more than there is of `effort`.
    pub(crate) fn find_all(&self, text: &str, effort: &mut Effort) -> Option<Vec<Hit<'_>>> {
        let seen = self.see(text);
        let haystack = seen.haystack(text);
        let mut hits = Vec::new();
        let mut word = |found: aho_corasick::Match| {
            hits.push(self.word(found.pattern().as_usize(), seen.original(found.range())));
        };
        if self.whole_words {
            let found = self.words.find_overlapping_iter(haystack);
            let mut found: Vec<_> = found.filter(|found| is_whole(haystack, found.range())).collect();
            found.sort_by_key(|found| (found.start(), std::cmp::Reverse(found.end())));
            let mut end = 0;
            for found in found {
                if found.start() >= end {
                    end = found.end();
                    word(found);
                }
            }
        } else {
            self.words.find_iter(haystack).for_each(word);
        }
        for (idx, pattern) in self.patterns.iter().enumerate() {
            for found in pattern.find_iter(haystack) {
                effort.0 = effort.0.checked_sub(haystack.len() - found.end())?;
                hits.push(pattern_hit(idx, seen.original(found.range())));
            }
        }
        Some(hits)
    }

    fn see(&self, text: &str) -> Seen {
        if self.folds && !is_as_folded(text) { Seen::Folded(Folded::new(text)) } else { Seen::AsItIs }
    }

    fn word(&self, idx: usize, range: Range<usize>) -> Hit<'_> {
        let word = &self.listed[idx];
        Hit { place: Cow::Borrowed(&word.place), word: Some(&word.text), range }
    }
}

fn pattern_hit(idx: usize, range: Range<usize>) -> Hit<'static> {
    Hit { place: Cow::Owned(Place::Pattern(idx)), word: None, range }
}

/// What is looked for in a text instead of `word`.
pub(crate) fn sought(word: &str, folds: bool) -> Cow<'_, str> {
    if folds { Cow::Owned(folded(word)) } else { Cow::Borrowed(word) }
}

/// `text` with every character of what was found in it replaced by `mask`.
pub(crate) fn mask(text: &str, mut hits: Vec<Hit<'_>>, mask: char) -> String {
    hits.sort_by_key(|hit| hit.range.start);
    let (mut masked, mut end) = (String::with_capacity(text.len()), 0);
    for Hit { range, .. } in hits {
        // What overlaps is masked once.
        let start = range.start.max(end);
        if range.end <= start {
            continue;
        }
        masked.push_str(&text[end..start]);
        masked.extend(text[start..range.end].chars().map(|_| mask));
        end = range.end;
    }
    masked + &text[end..]
}

/// A text as it is looked through.
enum Seen {
    AsItIs,
    Folded(Folded),
}

impl Seen {
    fn haystack<'a>(&'a self, text: &'a str) -> &'a str {
        match self {
            Seen::AsItIs => text,
            Seen::Folded(folded) => folded.as_str(),
        }
    }

    fn original(&self, range: Range<usize>) -> Range<usize> {
        match self {
            Seen::AsItIs => range,
            Seen::Folded(folded) => folded.original(range),
        }
    }
}

/// Whether what is at `range` is no part of a longer word.
fn is_whole(text: &str, range: Range<usize>) -> bool {
    let is_letter = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    let (before, found, after) = (&text[..range.start], &text[range.clone()], &text[range.end..]);
    let goes_on_before = is_letter(before.chars().next_back()) && is_letter(found.chars().next());
    let goes_on_after = is_letter(found.chars().next_back()) && is_letter(after.chars().next());
    !goes_on_before && !goes_on_after
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(words: &[&str], patterns: &[&str], folds: bool, whole_words: bool) -> Matcher {
        let word = |(idx, text): (usize, &&str)| Word { text: (*text).to_owned(), place: Place::Word(idx) };
        let patterns =
            patterns.iter().map(|pattern| regex::RegexBuilder::new(pattern).case_insensitive(folds).build().unwrap());
        let words = words.iter().enumerate().map(word).collect();
        Matcher::new(words, patterns.collect(), folds, whole_words).unwrap()
    }

    #[track_caller]
    fn check(matcher: &Matcher, text: &str, expected: &str) {
        let hits = matcher.find_all(text, &mut Effort::default()).unwrap();
        assert_eq!(matcher.find(text).is_some(), !hits.is_empty(), "on {text:?}");
        assert_eq!(mask(text, hits, '*'), expected, "on {text:?}");
    }

    #[test]
    fn words_are_masked_as_they_were_written() {
        let filter = matcher(&["spam", "spam pie", "ab", "bc", "群", "ss", "ガス"], &[], true, false);
        for (text, expected) in [
            ("no words", "no words"),
            ("Spam!", "****!"),
            ("a spam pie", "a ********"),
            ("spam pies", "********s"),
            ("abc", "**c"),
            ("大群。ＳＰＡＭ！", "大*。****！"),
            ("s\u{200b}pam, \u{200b}群", "*****, \u{200b}*"),
            ("Straße", "Stra*e"),
            ("ｶﾞｽ x", "*** x"),
            ("spamspam", "********"),
            ("s\u{0}p\u{7f}am\u{fffa}!", "******\u{fffa}!"),
            ("a spam\n pie", "a *********"),
            ("spam\u{2028}\u{200b} \u{a0}pie\u{200b}", "***********\u{200b}"),
            ("", ""),
        ] {
            check(&filter, text, expected);
        }
    }

    #[test]
    fn everything_is_not_looked_for_without_end() {
        // Each time it looks for a z to the end of the text, and finds none.
        let filter = matcher(&[], &["(?s)a.*z|a"], true, false);
        let found = |n: usize| filter.find_all(&"a".repeat(n), &mut Effort(1000)).map(|hits| hits.len());
        assert_eq!((found(45), found(46)), (Some(45), None));
        let mut effort = Effort(1000);
        assert!(filter.find_all(&"a".repeat(40), &mut effort).is_some());
        assert!(filter.find_all(&"a".repeat(40), &mut effort).is_none(), "in all texts of a message together");
        let words = matcher(&["a"], &["b"], true, false);
        assert!(words.find_all(&"a".repeat(9999), &mut Effort(0)).is_some(), "words take one pass");
    }

    #[test]
    fn without_folding_nothing_but_the_word_itself_is_found() {
        let filter = matcher(&["spam", "群"], &["[0-9]{3}"], false, false);
        for (text, expected) in [
            ("Spam spam", "Spam ****"),
            ("ｓｐａｍ群", "ｓｐａｍ*"),
            ("１２３ 1234", "１２３ ***4"),
            ("sp\u{0}am", "sp\u{0}am"),
        ] {
            check(&filter, text, expected);
        }
    }

    #[test]
    fn a_whole_word_is_no_part_of_a_longer_one() {
        let filter = matcher(&["bar", "foo bar", "bar baz", "@x", "c++"], &[], true, true);
        for (text, expected) in [
            ("bar", "***"),
            ("barn", "barn"),
            ("a bar.", "a ***."),
            ("ＢＡＲ?", "***?"),
            ("foo barn bar", "foo barn ***"),
            ("foo bar", "*******"),
            ("foo bar baz", "******* baz"),
            ("a@x b", "a** b"),
            ("a@xy", "a@xy"),
            ("c++11", "***11"),
            ("_bar", "_bar"),
        ] {
            check(&filter, text, expected);
        }
    }

    #[test]
    fn patterns_are_held_against_the_folded_text() {
        let filter = matcher(&["spam"], &["[0-9]{3,}", "x+", "m [0-9]", "p"], true, false);
        for (text, expected) in [
            ("call １２３４ now", "call **** now"),
            ("no xX, 12", "no **, 12"),
            ("spam 123", "********"),
            ("spa123m", "s*a***m"),
            ("a spam 1", "a ******"),
        ] {
            check(&filter, text, expected);
        }
        assert_eq!(*filter.find("123").unwrap().place, Place::Pattern(0));
        assert_eq!(*filter.find("123 spam").unwrap().place, Place::Word(0));
    }

    /// Texts of few characters, so that words are found in them, and of all kinds of characters.
    const TEXT: &str = "([abßſｱﾞＡ群\u{200b}\u{301} .\n\u{0}\u{3000}]|\\PC){0,24}";

    proptest! {
        #[test]
        fn masking_leaves_nothing_and_changes_nothing_else(
            words in proptest::collection::vec("[abßsｱﾞ群 ]{1,3}", 1..5),
            text in TEXT,
            folds: bool,
            whole_words: bool,
        ) {
            let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !sought(word, folds).is_empty()).collect();
            let filter = matcher(&words, &[], folds, whole_words);
            let masked = mask(&text, filter.find_all(&text, &mut Effort::default()).unwrap(), '*');
            prop_assert_eq!(masked.chars().count(), text.chars().count());
            prop_assert!(filter.find(&masked).is_none(), "{:?} is left in {:?}", filter.find(&masked), masked);
            prop_assert_eq!(masked == text, filter.find(&text).is_none());
            for (before, after) in text.chars().zip(masked.chars()) {
                prop_assert!(after == before || after == '*', "{before:?} became {after:?}");
            }
            // Every stretch that was masked has a word in it.
            let is_masked: Vec<bool> = text.chars().zip(masked.chars()).map(|(before, after)| before != after).collect();
            let chars: Vec<char> = text.chars().collect();
            for stretch in is_masked.chunk_by(|a, b| a == b).scan(0, |at, stretch| {
                *at += stretch.len();
                Some((*at - stretch.len()..*at, stretch[0]))
            }).filter(|(_, is_masked)| *is_masked).map(|(range, _)| range) {
                let stretch: String = chars[stretch].iter().collect();
                let without_borders = matcher(&words, &[], folds, false);
                prop_assert!(without_borders.find(&stretch).is_some(), "{stretch:?} was masked");
            }
        }
    }
}
