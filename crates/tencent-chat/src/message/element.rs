//! One element of a message: a type, and what that type says there is.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::{Map, Value};

use super::{Custom, Face, File, Image, Location, PlainText, Relay, Sound, Stream, Video};
use crate::{
    Text,
    decode_error::read_aside,
    packet::{fill, keep},
    survey::Surveyor,
    text::Name,
    wire::{NullableSeed, Wire},
};

/// One element of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Element<'a> {
    /// What it is: `MsgType` and `MsgContent` on the wire.
    pub content: Content<'a>,
    /// Members beside these two, kept as they came; written again behind the others.
    pub extra: Map<String, Value>,
}

impl<'a> Element<'a> {
    /// An element of text.
    #[must_use]
    pub fn text(text: impl Into<Text<'a>>) -> Element<'a> {
        Content::Text(PlainText { text: Some(text.into()), ..PlainText::default() }).into()
    }
}

impl<'a> From<Content<'a>> for Element<'a> {
    fn from(content: Content<'a>) -> Element<'a> {
        Element { content, extra: Map::new() }
    }
}

/// Reads the two members in either order. What comes before its type is set aside first, and read when its type is known.
struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Element<'de>, A::Error> {
        let mut msg_type: Option<Text<'de>> = None;
        let mut content: Option<Content<'de>> = None;
        let mut aside: Option<Value> = None;
        let mut extra = Map::new();
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            match &*name {
                "MsgType" => fill(&mut msg_type, "MsgType", &mut members)?,
                "MsgContent" if content.is_some() || aside.is_some() => {
                    return Err(A::Error::duplicate_field("MsgContent"));
                }
                "MsgContent" => match &msg_type {
                    Some(msg_type) if Content::knows(msg_type) => content = Content::next(msg_type, &mut members)?,
                    _ => aside = members.next_value_seed(NullableSeed(PhantomData))?,
                },
                _ => keep(&mut extra, name, &mut members)?,
            }
        }
        let content = match (msg_type, content, aside) {
            (_, Some(content), _) => content,
            (Some(msg_type), None, Some(aside)) if Content::knows(&msg_type) => Content::aside(&msg_type, aside)?,
            (msg_type, None, content) => Content::Other { msg_type, content },
        };
        Ok(Element { content, extra })
    }
}

/// Makes the enumeration from its one table of types and names.
macro_rules! contents {
    ($($(#[$doc:meta])* $variant:ident($type:ty) = $msg_type:literal),* $(,)?) => {
        /// What an element is.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Content<'a> {
            $($(#[$doc])* #[doc = concat!("\n\n`", $msg_type, "`.")] $variant($type),)*
            /// Anything else: a type that is not known, or an element that lacks its type or its content. Encoded as it
            /// came.
            Other {
                /// `MsgType`.
                msg_type: Option<Text<'a>>,
                /// `MsgContent`.
                content: Option<Value>,
            },
        }

        impl<'a> Content<'a> {
            /// Its `MsgType`, if it has one.
            #[must_use]
            pub fn msg_type(&self) -> Option<&str> {
                match self {
                    $(Self::$variant(_) => Some($msg_type),)*
                    Self::Other { msg_type, .. } => msg_type.as_deref(),
                }
            }

            fn knows(msg_type: &str) -> bool {
                matches!(msg_type, $($msg_type)|*)
            }

            /// Reads the content of a type that is known; none if it is `null`.
            fn next<A: MapAccess<'a>>(msg_type: &str, members: &mut A) -> Result<Option<Self>, A::Error> {
                match msg_type {
                    $($msg_type => Ok(members.next_value_seed(NullableSeed(PhantomData))?.map(Self::$variant)),)*
                    _ => Ok(None),
                }
            }

            /// Reads a content that was set aside, of a type that is known.
            fn aside<E: Error>(msg_type: &str, content: Value) -> Result<Self, E> {
                match msg_type {
                    $($msg_type => read_aside("MsgContent", content, |content| <$type>::read(content)).map(Self::$variant),)*
                    _ => Ok(Self::Other { msg_type: Some(Text::from(msg_type.to_owned())), content: Some(content) }),
                }
            }

            fn write<M: SerializeMap>(&self, members: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$variant(content) => {
                        members.serialize_entry("MsgType", $msg_type)?;
                        members.serialize_entry("MsgContent", content)
                    })*
                    Self::Other { msg_type, content } => {
                        if let Some(msg_type) = msg_type {
                            members.serialize_entry("MsgType", msg_type)?;
                        }
                        match content {
                            Some(content) => members.serialize_entry("MsgContent", content),
                            None => Ok(()),
                        }
                    }
                }
            }

            fn survey_into(&self, surveyor: &mut Surveyor) {
                match self {
                    $(Self::$variant(content) => {
                        surveyor.field("MsgContent", Some(content), Wire::survey_into);
                    })*
                    Self::Other { msg_type, content } => {
                        surveyor.field("MsgType", msg_type.as_ref(), |_, _| ());
                        surveyor.field("MsgContent", content.as_ref(), |_, _| ());
                        if msg_type.as_deref().is_some_and(|msg_type| !Self::knows(msg_type)) && content.is_some() {
                            surveyor.unknown("MsgContent");
                        }
                    }
                }
            }
        }
    };
}

// What is large and rare is in a box: a list of elements is moved while it is read, and each takes the room of the largest.
contents! {
    /// Text.
    Text(PlainText<'a>) = "TIMTextElem",
    /// Whatever the app makes of it.
    Custom(Custom<'a>) = "TIMCustomElem",
    /// An emoji of the app's own set.
    Face(Face<'a>) = "TIMFaceElem",
    /// A place.
    Location(Location<'a>) = "TIMLocationElem",
    /// A picture.
    Image(Image<'a>) = "TIMImageElem",
    /// A voice message.
    Sound(Sound<'a>) = "TIMSoundElem",
    /// A file.
    File(Box<File<'a>>) = "TIMFileElem",
    /// A video and a picture of it.
    Video(Box<Video<'a>>) = "TIMVideoFileElem",
    /// Messages that were merged.
    Relay(Box<Relay<'a>>) = "TIMRelayElem",
    /// Text that arrives piece by piece.
    Stream(Stream<'a>) = "TIMStreamElem",
}

impl<'de: 'a, 'a> Wire<'de> for Element<'a> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ElementVisitor)
    }

    fn survey_into(&self, surveyor: &mut Surveyor) {
        self.content.survey_into(surveyor);
        surveyor.extra(&self.extra);
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(deserializer)
    }
}

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        self.content.write(&mut members)?;
        for (name, value) in &self.extra {
            members.serialize_entry(name, value)?;
        }
        members.end()
    }
}
