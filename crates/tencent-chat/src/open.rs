//! Enumerations that may grow: each value that is not known is kept as it came.

use std::hash::{Hash, Hasher};

/// How a value was spelt, where Tencent spells one value in several ways. All spellings are equal; the one that was read
/// is the one that is written.
#[derive(Clone, Copy, Debug)]
pub struct Spelling(pub(crate) &'static str);

impl PartialEq for Spelling {
    fn eq(&self, _: &Spelling) -> bool {
        true
    }
}

impl Eq for Spelling {}

impl Hash for Spelling {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Makes an enumeration of strings. A value with several spellings is written `Ios(Spelling) = "iOS" | "IOS"`; it is
/// matched as `Ios(_)`, and `From<&str>` makes it.
macro_rules! open_enum {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $(
                $(#[$doc:meta])*
                $variant:ident $(($spelling:ident))? = $text:literal $(| $other_text:literal)*
            ),* $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant $(($crate::$spelling))?,)*
            /// A value that was not known when this was written.
            Other(String),
        }

        impl $name {
            /// The value as Tencent writes it.
            #[must_use]
            #[allow(unused_variables, reason = "a value with several spellings does not need the first")]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant $((spelt @ $crate::$spelling { .. }))? => {
                        let text = $text;
                        $(let $crate::$spelling(text) = *spelt;)?
                        text
                    })*
                    Self::Other(text) => text,
                }
            }

            fn known(text: &str) -> Option<$name> {
                Some(match text {
                    $(
                        $text => Self::$variant $(($crate::$spelling($text)))?,
                        $($other_text => Self::$variant($crate::Spelling($other_text)),)*
                    )*
                    _ => return None,
                })
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                Self::known(text).unwrap_or_else(|| Self::Other(text.to_owned()))
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = $crate::Text::deserialize(deserializer)?;
                Ok(Self::known(&text).unwrap_or_else(|| Self::Other(text.into())))
            }
        }

        impl<'de> $crate::wire::Wire<'de> for $name {
            fn read<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                ::serde::Deserialize::deserialize(deserializer)
            }
        }
    };
}

/// Makes an enumeration of integers.
macro_rules! open_integer_enum {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $code:literal),* $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A value that was not known when this was written.
            Other(i64),
        }

        impl $name {
            /// The value as Tencent writes it.
            #[must_use]
            pub fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }
        }

        impl From<i64> for $name {
            fn from(code: i64) -> $name {
                match code {
                    $($code => Self::$variant,)*
                    code => Self::Other(code),
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i64(self.code())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <i64 as $crate::wire::Wire>::read(deserializer).map(Self::from)
            }
        }

        impl<'de> $crate::wire::Wire<'de> for $name {
            fn read<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                ::serde::Deserialize::deserialize(deserializer)
            }
        }
    };
}

#[allow(unused_imports, reason = "the families come one by one")]
pub(crate) use {open_enum, open_integer_enum};

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub, reason = "the macros make what is public")]

    open_enum! {
        /// Where to sit.
        pub enum Deck {
            /// Outside.
            Upper(Spelling) = "Upper" | "upper",
            /// Inside.
            Lower = "Lower",
        }
    }

    open_integer_enum! {
        /// How it went.
        pub enum Outcome {
            /// Well.
            Well = 0,
            /// Badly.
            Badly = 7,
        }
    }

    #[test]
    fn values_are_written_as_they_were_read() {
        for (json, expected) in [
            (r#""Upper""#, Deck::from("Upper")),
            (r#""upper""#, Deck::from("Upper")),
            (r#""Lower""#, Deck::Lower),
            (r#""lower""#, Deck::Other("lower".to_owned())),
        ] {
            let deck: Deck = serde_json::from_str(json).unwrap();
            assert_eq!(deck, expected, "{json}");
            assert_eq!(serde_json::to_string(&deck).unwrap(), json);
        }
        assert!(matches!(Deck::from("upper"), Deck::Upper(_)));
    }

    #[test]
    fn codes_are_written_as_numbers() {
        for (json, expected, written) in
            [("0", Outcome::Well, "0"), (r#""7""#, Outcome::Badly, "7"), ("-3", Outcome::Other(-3), "-3")]
        {
            let outcome: Outcome = serde_json::from_str(json).unwrap();
            assert_eq!(outcome, expected, "{json}");
            assert_eq!(serde_json::to_string(&outcome).unwrap(), written);
        }
    }
}
