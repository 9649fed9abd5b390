//! The place of a field in a callback's body.

use std::fmt;

/// Where a field is, from the top of the body; printed as `GroupId`, `Info.To_Account`, `PairList[0].From_Account` or
/// `Events[].MsgKey`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path(pub &'static [Step]);

/// One step of a [`Path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into the member of an object with this name, case included.
    Field(&'static str),
    /// Into the first element of an array.
    First,
    /// Into every element of an array.
    Each,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if depth == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::First => f.write_str("[0]")?,
                Step::Each => f.write_str("[]")?,
            }
        }
        Ok(())
    }
}

/// Writes a [`Path`] as it is printed: `at!(Events[].MsgKey)`.
macro_rules! at {
    ($field:ident) => {
        $crate::Path(&[$crate::Step::Field(stringify!($field))])
    };
    ($object:ident . $field:ident) => {
        $crate::Path(&[$crate::Step::Field(stringify!($object)), $crate::Step::Field(stringify!($field))])
    };
    ($array:ident [0] . $field:ident) => {
        $crate::Path(&[
            $crate::Step::Field(stringify!($array)),
            $crate::Step::First,
            $crate::Step::Field(stringify!($field)),
        ])
    };
    ($array:ident [] . $field:ident) => {
        $crate::Path(&[
            $crate::Step::Field(stringify!($array)),
            $crate::Step::Each,
            $crate::Step::Field(stringify!($field)),
        ])
    };
}
pub(crate) use at;

#[cfg(test)]
mod tests {
    #[test]
    fn is_printed_as_it_is_written() {
        for (path, text) in [
            (at!(GroupId), "GroupId"),
            (at!(Info.To_Account), "Info.To_Account"),
            (at!(PairList[0].From_Account), "PairList[0].From_Account"),
            (at!(Events[].MsgKey), "Events[].MsgKey"),
        ] {
            assert_eq!(path.to_string(), text);
        }
    }
}
