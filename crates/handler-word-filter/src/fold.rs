//! Folding: what makes `ＳＰＡＭ`, `Spam` and `s\u{200b}pam` one word, and leads from there back to the text as it was written.
//!
//! It is Unicode's compatibility form (NFKC), without letter case, without the characters that cannot be seen, and with one
//! blank for each run of blanks and line breaks. A text is folded segment by segment: a segment is a character together with those behind it that may merge with it, so that folding
//! the segments one by one gives what folding the whole would.

use std::ops::Range;

use unicode_normalization::{
    IsNormalized, UnicodeNormalization as _,
    char::{canonical_combining_class, decompose_compatible},
    is_nfc_quick,
};

/// A text, folded.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    text: String,
    /// Where each segment begins, in order.
    segments: Vec<Segment>,
    /// How long the text is that was folded.
    original_len: usize,
}

/// Where a segment begins.
#[derive(Clone, Copy, Debug)]
struct Segment {
    folded: usize,
    original: usize,
}

impl Folded {
    /// Folds `text`.
    pub(crate) fn new(text: &str) -> Folded {
        let mut folded = Folded {
            text: String::with_capacity(text.len()),
            segments: Vec::with_capacity(text.len() / 2),
            original_len: text.len(),
        };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            folded.begin_segment(text.len() - rest.len());
            let after = &rest[first.len_utf8()..];
            if let Some(plain) = plain(first)
                && after.chars().next().is_none_or(begins_segment)
            {
                folded.text.push(plain);
                rest = after;
                continue;
            }
            let is_blank = first.is_whitespace();
            let (segment, unseen) = if is_blank { blanks(rest) } else { lengths(rest) };
            if is_blank {
                folded.text.push(' ');
            } else if segment > 0 {
                folded.text.extend(fold(&rest[..segment]));
            }
            if segment > 0 && unseen > 0 {
                folded.begin_segment(text.len() - rest.len() + segment);
            }
            rest = &rest[segment + unseen..];
        }
        folded
    }

    fn begin_segment(&mut self, original: usize) {
        self.segments.push(Segment { folded: self.text.len(), original });
    }

    /// The text as folded.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the segments are, in the text as it was written, that have a part in `range` of the folded one. `range` is not
    /// empty.
    pub(crate) fn original(&self, range: Range<usize>) -> Range<usize> {
        // Of segments that begin at one place all but the last are of characters that cannot be seen.
        let after = |at: usize| self.segments.partition_point(|segment| segment.folded <= at);
        let start = self.segments.get(after(range.start).saturating_sub(1)).map_or(0, |segment| segment.original);
        let end = self.segments.get(after(range.end.saturating_sub(1)));
        start..end.map_or(self.original_len, |segment| segment.original)
    }
}

/// Whether folding `text` changes nothing but letter case, as far as can be told without looking things up.
pub(crate) fn is_as_folded(text: &str) -> bool {
    let mut before = 0;
    text.bytes().all(|byte| {
        let is_second_blank = before == b' ' && byte == b' ';
        before = byte;
        matches!(byte, b' '..=b'~') && !is_second_blank
    })
}

/// Folds one text, whole.
pub(crate) fn folded(text: &str) -> String {
    Folded::new(text).text
}

/// How long the segment is that `rest` begins with, and how much behind it cannot be seen.
fn lengths(rest: &str) -> (usize, usize) {
    let (mut segment, mut end) = (0, 0);
    for (idx, char) in rest.char_indices() {
        if idx > 0 && (begins_segment(char) || (segment == 0 && !is_unseen(char))) {
            break;
        }
        end = idx + char.len_utf8();
        if !is_unseen(char) {
            segment = end;
        }
    }
    (segment, end - segment)
}

/// How long the run of blanks is that `rest` begins with, and how much behind it cannot be seen. Nothing merges with a blank.
fn blanks(rest: &str) -> (usize, usize) {
    let (mut blanks, mut end) = (0, 0);
    for (idx, char) in rest.char_indices() {
        if !char.is_whitespace() && !is_unseen(char) {
            break;
        }
        end = idx + char.len_utf8();
        if char.is_whitespace() {
            blanks = end;
        }
    }
    (blanks, end - blanks)
}

/// Whether nothing before `char` merges with it, and it can be seen.
fn begins_segment(char: char) -> bool {
    plain(char).is_some() || char.is_whitespace() || (!is_unseen(char) && merges_with_nothing_before(char))
}

fn merges_with_nothing_before(char: char) -> bool {
    let mut first = None;
    decompose_compatible(char, |part| first = first.or(Some(part)));
    let first = first.unwrap_or(char);
    canonical_combining_class(first) == 0 && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
}

/// What `char` folds to, if it is one of most of those that people write: it merges with nothing before it then, and folds to
/// one character. What this says is held against Unicode's tables by a test.
fn plain(char: char) -> Option<char> {
    match char {
        '!'..='~' => Some(char.to_ascii_lowercase()),
        // Punctuation, hiragana, katakana, ideographs, and syllables of Korean.
        '\u{3001}'..='\u{3029}'
        | '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' => Some(char),
        // ASCII in full width.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(char) - 0xfee0).map(|narrow| narrow.to_ascii_lowercase()),
        _ => None,
    }
}

fn fold(segment: &str) -> impl Iterator<Item = char> {
    let seen = segment.chars().filter(|char| !is_unseen(*char));
    // There and back: so ß becomes ss, and a final sigma a sigma.
    let caseless = seen.nfkc().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    caseless.nfkc()
}

/// Whether nothing shows that `char` is there: soft hyphens, joiners, marks of direction, variation selectors and the like,
/// which Unicode calls `Default_Ignorable_Code_Point`; control characters that are no blanks, and marks of annotations.
fn is_unseen(char: char) -> bool {
    matches!(char,
        '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' |
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_alike_folds_alike() {
        for (text, expected) in [
            ("Spam", "spam"),
            ("ＳＰＡＭ", "spam"),
            ("s\u{200b}p\u{ad}am", "spam"),
            ("ｶﾞｽ", "ガス"),
            ("か\u{3099}", "が"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("STRAẞE", "strasse"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("e\u{301}", "é"),
            ("É", "é"),
            ("e\u{200d}\u{301}", "é"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("ﬁn", "fin"),
            ("①②", "12"),
            ("ПРИВЕТ", "привет"),
            ("群聊", "群聊"),
            ("\u{200b}", ""),
            ("s\u{0}p\u{1f}a\u{7f}\u{9f}\u{fff9}\u{fffb}m", "spam"),
            ("buy\nnow", "buy now"),
            ("buy\t\u{b}\u{c}\r\u{85}\u{200b}\u{3000} now ", "buy now "),
            ("buy\u{200b} \u{200b}now", "buy now"),
            ("", ""),
        ] {
            assert_eq!(folded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn plain_characters_are_plain() {
        for (char, plain) in ('\0'..=char::MAX).filter_map(|char| Some((char, plain(char)?))) {
            assert_eq!(fold(&char.to_string()).collect::<String>(), plain.to_string(), "{char:?}");
            assert!(merges_with_nothing_before(char) && !is_unseen(char) && !char.is_whitespace(), "{char:?}");
        }
        assert!(('\0'..=char::MAX).all(|char| !(char.is_whitespace() && is_unseen(char))));
    }

    /// What folding is, without a way back.
    fn reference(text: &str) -> String {
        let mut seen = String::new();
        for char in text.chars().filter(|char| !is_unseen(*char)) {
            match char {
                char if !char.is_whitespace() => seen.push(char),
                _ if seen.ends_with(' ') => {}
                _ => seen.push(' '),
            }
        }
        fold(&seen).collect()
    }

    #[test]
    fn a_place_in_the_folded_text_leads_to_the_characters_it_comes_from() {
        for (text, found, expected) in [
            ("a ＳＰＡＭ b", "spam", "ＳＰＡＭ"),
            ("a s\u{200b}pam\u{200b} b", "spam", "s\u{200b}pam"),
            ("\u{200b}spam", "spam", "spam"),
            ("ﬁn", "i", "ﬁ"),
            ("xﾊﾞy", "バ", "ﾊﾞ"),
            ("一二三", "二", "二"),
            ("spam", "m", "m"),
        ] {
            let folded = Folded::new(text);
            let start = folded.as_str().find(found).unwrap();
            assert_eq!(&text[folded.original(start..start + found.len())], expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn segments_fold_as_the_whole_does(text in "(\\PC|[a-zA-Z \n\u{0}\u{3000}\u{300}-\u{345}\u{200b}\u{200d}\u{1100}-\u{11ff}ｦ-ﾟ]){0,12}") {
            prop_assert_eq!(folded(&text), reference(&text));
            if is_as_folded(&text) {
                prop_assert_eq!(folded(&text), text.to_ascii_lowercase());
            }
        }
    }
}
