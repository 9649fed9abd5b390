//! Makes the type of a JSON object of the wire.
//!
//! By a macro and not by serde's derive, since every one of them keeps the members that it does not know, and serde's
//! way to do so (`flatten`) buffers each object before it reads it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{
    Text,
    text::Name,
    wire::{NullableSeed, Wire},
};

/// An object with known fields; what [`packet!`] implements.
pub(crate) trait Packet<'de>: Default {
    /// Reads the value of the member `name` if it is a known one, and says whether it was.
    fn take<A: MapAccess<'de>>(&mut self, name: &str, members: &mut A) -> Result<bool, A::Error>;

    /// Where the other members go.
    fn extra(&mut self) -> &mut Map<String, Value>;
}

/// Reads a packet.
pub(crate) fn read<'de, P: Packet<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<P, D::Error> {
    struct Members<P>(PhantomData<P>);

    impl<'de, P: Packet<'de>> Visitor<'de> for Members<P> {
        type Value = P;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<P, A::Error> {
            let mut packet = P::default();
            while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
                if !packet.take(&name, &mut members)? {
                    keep(packet.extra(), name, &mut members)?;
                }
            }
            Ok(packet)
        }
    }

    deserializer.deserialize_map(Members(PhantomData))
}

/// Reads the value of a known member.
pub(crate) fn fill<'de, T: Wire<'de>, A: MapAccess<'de>>(
    field: &mut Option<T>,
    name: &'static str,
    members: &mut A,
) -> Result<(), A::Error> {
    if field.is_some() {
        // Another reader might take the first for it, and this one the second.
        return Err(A::Error::duplicate_field(name));
    }
    *field = members.next_value_seed(NullableSeed(PhantomData))?;
    Ok(())
}

/// Keeps the value of a member that is not known.
pub(crate) fn keep<'de, A: MapAccess<'de>>(
    extra: &mut Map<String, Value>,
    name: Text<'_>,
    members: &mut A,
) -> Result<(), A::Error> {
    let value = members.next_value()?;
    match extra.insert(name.into(), value) {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("duplicate field")),
    }
}

/// Makes a struct of documented fields, each with its name on the wire, which decodes and encodes and keeps what it does
/// not know in `extra`:
///
/// ```text
/// packet! {
///     /// What it is, and its source page.
///     pub struct AfterSendMsg<'a>: "C2C.CallbackAfterSendMsg" {
///         /// What it means, with its unit.
///         pub from_account: Option<Text<'a>> = "From_Account",
///     }
/// }
/// ```
///
/// With a command behind the name it is the body of that command, and has a `callback_command` too; `"…" (no command)`
/// makes one without, for a body that does not carry it. Without a command it is an object inside of a body.
macro_rules! packet {
    (
        $(#[$about:meta])*
        pub struct $name:ident $(<$lt:lifetime>)? : $command:literal { $($fields:tt)* }
    ) => {
        $crate::packet::packet! {
            $(#[$about])*
            pub struct $name $(<$lt>)? : $command (no command) {
                /// The command, as the body repeats it; the query says it first.
                pub callback_command: Option<$crate::Text<'a>> = "CallbackCommand",
                $($fields)*
            }
        }
    };
    (
        $(#[$about:meta])*
        pub struct $name:ident $(<$lt:lifetime>)? : $command:literal (no command) { $($fields:tt)* }
    ) => {
        $crate::packet::packet! {
            $(#[$about])*
            pub struct $name $(<$lt>)? { $($fields)* }
        }

        impl<'de $(: $lt, $lt)?> $crate::TypedBody<'de> for $name $(<$lt>)? {
            const COMMAND: &'static str = $command;

            fn survey(&self) -> $crate::Survey {
                let mut surveyor = $crate::survey::Surveyor::default();
                $crate::wire::Wire::survey_into(self, &mut surveyor);
                surveyor.finish()
            }
        }
    };
    (
        $(#[$about:meta])*
        pub struct $name:ident $(<$lt:lifetime>)? {
            $($(#[$doc:meta])* pub $field:ident: Option<$type:ty> = $wire:literal),* $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name $(<$lt>)? {
            $($(#[$doc])* #[doc = concat!("\n\nOn the wire: `", $wire, "`.")] pub $field: Option<$type>,)*
            /// Members that are not known here, kept as they came; written again behind the others.
            pub extra: ::serde_json::Map<String, ::serde_json::Value>,
        }

        impl<'de $(: $lt, $lt)?> $crate::packet::Packet<'de> for $name $(<$lt>)? {
            fn take<A: ::serde::de::MapAccess<'de>>(&mut self, name: &str, members: &mut A) -> Result<bool, A::Error> {
                match name {
                    $($wire => $crate::packet::fill(&mut self.$field, $wire, members)?,)*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            fn extra(&mut self) -> &mut ::serde_json::Map<String, ::serde_json::Value> {
                &mut self.extra
            }
        }

        impl<'de $(: $lt, $lt)?> $crate::wire::Wire<'de> for $name $(<$lt>)? {
            fn read<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::packet::read(deserializer)
            }

            fn survey_into(&self, surveyor: &mut $crate::survey::Surveyor) {
                $(surveyor.field($wire, self.$field.as_ref(), <$type as $crate::wire::Wire>::survey_into);)*
                surveyor.extra(&self.extra);
            }
        }

        impl<'de $(: $lt, $lt)?> ::serde::Deserialize<'de> for $name $(<$lt>)? {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::packet::read(deserializer)
            }
        }

        impl $(<$lt>)? ::serde::Serialize for $name $(<$lt>)? {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeMap;

                let mut members = serializer.serialize_map(None)?;
                $(if let Some(value) = &self.$field {
                    members.serialize_entry($wire, value)?;
                })*
                for (name, value) in &self.extra {
                    members.serialize_entry(name, value)?;
                }
                members.end()
            }
        }
    };
}
pub(crate) use packet;
