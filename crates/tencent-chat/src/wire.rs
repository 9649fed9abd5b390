//! How a field's value is read: leniently where Tencent is not of one mind.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Unexpected, Visitor},
};
use serde_json::Value;

use crate::{Text, survey::Surveyor};

/// A value that a field of a body can have.
///
/// Not `Deserialize`, since that is taken for `i64`: Tencent writes one and the same integer as a number on one page
/// and in quotes on the next, so every integer of every body is read as both.
pub(crate) trait Wire<'de>: Sized {
    /// Reads it.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// Reads it where it may be missing, and knows what else stands for that.
    fn read_nullable<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Self::read(deserializer).map(Some)
    }

    /// Notes what is unknown or absent inside it. Most values have no inside.
    fn survey_into(&self, _: &mut Surveyor) {}
}

impl<'de: 'a, 'a> Wire<'de> for Text<'a> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de> Wire<'de> for f64 {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
                Ok(number)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
                Ok(number as f64)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<f64, E> {
                Ok(number as f64)
            }
        }

        deserializer.deserialize_any(Number)
    }
}

impl<'de> Wire<'de> for bool {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de> Wire<'de> for Value {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de, T: Wire<'de>> Wire<'de> for Box<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Box::new)
    }

    fn survey_into(&self, surveyor: &mut Surveyor) {
        (**self).survey_into(surveyor);
    }
}

impl<'de, T: Wire<'de>> Wire<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: Wire<'de>> Visitor<'de> for Elements<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
                let mut elements = Vec::new(); // Grows with what is there; a size hint would be the sender's word.
                while let Some(element) = array.next_element_seed(Seed(PhantomData))? {
                    elements.push(element);
                }
                Ok(elements)
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }

    fn survey_into(&self, surveyor: &mut Surveyor) {
        for (idx, element) in self.iter().enumerate() {
            surveyor.within_element(idx, |surveyor| element.survey_into(surveyor));
        }
    }
}

/// Reads a value where serde wants a seed.
pub(crate) struct Seed<T>(pub(crate) PhantomData<T>);

impl<'de, T: Wire<'de>> de::DeserializeSeed<'de> for Seed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(deserializer)
    }
}

/// Reads a value or `null`, which counts as none.
pub(crate) struct NullableSeed<T>(pub(crate) PhantomData<T>);

impl<'de, T: Wire<'de>> de::DeserializeSeed<'de> for NullableSeed<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: Wire<'de>> Visitor<'de> for NullableSeed<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        T::read_nullable(deserializer)
    }
}

/// What is said to be expected where an integer is.
const INTEGER: &str = "an integer, as a number or in quotes";

macro_rules! integer {
    ($($integer:ty),*) => { $(
        impl<'de> Wire<'de> for $integer {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let integer = Self::read_nullable(deserializer)?;
                integer.ok_or_else(|| de::Error::invalid_value(Unexpected::Str(""), &INTEGER))
            }

            /// A page calls an integer that is not there "empty": an empty text is none.
            fn read_nullable<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
                struct Lenient;

                impl Visitor<'_> for Lenient {
                    type Value = Option<$integer>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(INTEGER)
                    }

                    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<Self::Value, E> {
                        let fits = integer.try_into().map(Some);
                        fits.map_err(|_| E::invalid_value(Unexpected::Signed(integer), &INTEGER))
                    }

                    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<Self::Value, E> {
                        let fits = integer.try_into().map(Some);
                        fits.map_err(|_| E::invalid_value(Unexpected::Unsigned(integer), &INTEGER))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        if text.is_empty() {
                            return Ok(None);
                        }
                        text.parse().map(Some).map_err(|_| E::invalid_value(Unexpected::Str(text), &INTEGER))
                    }
                }

                deserializer.deserialize_any(Lenient)
            }
        }
    )* };
}

integer!(i64, u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(json: &str) -> Option<i64> {
        i64::read(&mut serde_json::Deserializer::from_str(json)).ok()
    }

    #[test]
    fn an_empty_text_is_no_integer_where_there_may_be_none() {
        let nullable = |json| i64::read_nullable(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!((nullable(r#""""#), nullable("7"), nullable(r#""x""#)), (Some(None), Some(Some(7)), None));
    }

    #[test]
    fn an_integer_is_a_number_or_a_quoted_one() {
        for (json, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("4294967296", Some(1 << 32)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            (r#""1669872111730""#, Some(1_669_872_111_730)),
            (r#""-1""#, Some(-1)),
            (r#""9223372036854775808""#, None),
            (r#""""#, None),
            (r#"" 1""#, None),
            (r#""one""#, None),
            ("1.5", None),
            ("true", None),
            ("[1]", None),
        ] {
            assert_eq!(integer(json), expected, "{json}");
        }
        let unsigned = |json| u64::read(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!(unsigned("18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned("-1"), None);
    }
}
