//! All texts of a message, for whoever looks for words in them.

use super::{Content, MessageBody};
use crate::Text;

/// The same walk for reading and for changing.
macro_rules! walk {
    ($(#[$doc:meta])* $name:ident $iter:ident $($mut:ident)?) => {
        $(#[$doc])*
        pub fn $name(&$($mut)? self, each: &mut dyn FnMut(&$($mut)? Text<'a>)) {
            for element in self.0.$iter() {
                match &$($mut)? element.content {
                    Content::Text(text) => parts!(each, $iter; text.text),
                    Content::Custom(custom) => parts!(each, $iter; custom.data, custom.desc, custom.ext),
                    Content::Face(face) => parts!(each, $iter; face.data),
                    Content::Location(location) => parts!(each, $iter; location.desc),
                    Content::File(file) => parts!(each, $iter; file.file_name, file.file_name_in_table),
                    Content::Stream(stream) => {
                        for chunk in stream.chunks.$iter().flatten() {
                            parts!(each, $iter; chunk.markdown);
                        }
                        parts!(each, $iter; stream.compatible_text);
                    }
                    Content::Relay(relay) => {
                        parts!(each, $iter; relay.title, relay.compatible_text);
                        for line in relay.abstract_list.$iter().flatten() {
                            each(line);
                        }
                        for message in relay.msg_list.$iter().flatten() {
                            message.msg_body.$iter().for_each(|body| body.$name(each));
                        }
                    }
                    Content::Image(_) | Content::Sound(_) | Content::Video(_) | Content::Other { .. } => {}
                }
            }
        }
    };
}

macro_rules! parts {
    ($each:ident, $iter:ident; $($holder:ident.$field:ident),*) => {{
        $($holder.$field.$iter().for_each(&mut *$each);)*
    }};
}

impl<'a> MessageBody<'a> {
    walk! {
        /// Shows every part that people may have written: text, an app's own data, description and extension, the name
        /// of a place or a file, what an emoji carries, the pieces of a stream, and all of these in merged messages,
        /// with their title, summary and substitute. Not the unknown: `extra`, and elements of an unknown type.
        texts iter
    }

    walk! {
        /// The same parts as [`texts`](Self::texts), in the same order, to be changed.
        texts_mut iter_mut mut
    }
}
