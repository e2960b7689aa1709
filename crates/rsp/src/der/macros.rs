//! The declarative macros that turn a declaration into decoder, encoder and description.

/// Declares a SEQUENCE with its own tag.
///
/// ```
/// rsp::sequence! {
///     /// An example.
///     pub struct Pair @ 0x30 {
///         /// Mandatory, IMPLICIT tag.
///         req name @ 0x80: String,
///         /// OPTIONAL, IMPLICIT tag.
///         opt counter @ 0x81: i64,
///     }
/// }
/// # use rsp::der::Element;
/// let pair = Pair { name: "a".into(), counter: None, extensions: Default::default() };
/// assert_eq!(pair.to_der(), [0x30, 3, 0x80, 1, b'a']);
/// ```
///
/// `elem name: T` and `elem_opt name: T` stand for members whose type brings its own tag.
/// Every SEQUENCE has a public `extensions` field behind the declared ones.
#[macro_export]
macro_rules! sequence {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident @ $own:literal {
            $( $(#[$field_meta:meta])* $mode:ident $field:ident $(@ $tag:literal)? : $ty:ty ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        $vis struct $name {
            $( $(#[$field_meta])* pub $field: $crate::sequence!(@type $mode $ty), )*
            /// Elements that a newer version of the specification put behind the known ones.
            pub extensions: $crate::der::Extensions,
        }

        impl $crate::der::Value for $name {
            const CONSTRUCTED: bool = true;

            fn decode_content(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                #[allow(unused_mut, reason = "a SEQUENCE may have no members")]
                let mut fields = $crate::der::FieldReader::open(tlv)?;
                Ok(Self {
                    $( $field: $crate::sequence!(@decode fields $mode $field $(@ $tag)? : $ty), )*
                    extensions: fields.extensions(|_tag| false
                        $( || $crate::sequence!(@accepts _tag $(@ $tag)? : $ty) )*)?,
                })
            }

            fn encode_content(&self, writer: &mut $crate::der::Writer) {
                $( $crate::sequence!(@encode self writer $mode $field $(@ $tag)?); )*
                self.extensions.encode(writer);
            }
        }

        impl $crate::der::Element for $name {
            fn accepts(tag: $crate::der::Tag) -> bool {
                tag == $crate::der::Tag::new($own)
            }

            fn decode_element(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                $crate::der::check_tag::<Self>(&tlv)?;
                <Self as $crate::der::Value>::decode_content(tlv)
            }

            fn encode_element(&self, writer: &mut $crate::der::Writer) {
                writer.value($own, self);
            }
        }

        impl $crate::der::Describe for $name {
            fn info() -> $crate::der::TypeInfo {
                const FIELDS: &[$crate::der::FieldInfo] = &[
                    $( $crate::sequence!(@info $mode $field $(@ $tag)? : $ty), )*
                ];
                $crate::der::TypeInfo {
                    name: stringify!($name),
                    shape: $crate::der::Shape::Sequence(FIELDS),
                }
            }
        }
    };

    (@type req $ty:ty) => { $ty };
    (@type elem $ty:ty) => { $ty };
    (@type opt $ty:ty) => { Option<$ty> };
    (@type elem_opt $ty:ty) => { Option<$ty> };

    (@decode $fields:ident req $field:ident @ $tag:literal : $ty:ty) => {
        $fields.required::<$ty>($tag, stringify!($field))?
    };
    (@decode $fields:ident opt $field:ident @ $tag:literal : $ty:ty) => {
        $fields.optional::<$ty>($tag, stringify!($field))?
    };
    (@decode $fields:ident elem $field:ident : $ty:ty) => {
        $fields.element::<$ty>(stringify!($field))?
    };
    (@decode $fields:ident elem_opt $field:ident : $ty:ty) => {
        $fields.element_optional::<$ty>(stringify!($field))?
    };

    (@accepts $found:ident @ $tag:literal : $ty:ty) => { $found == $crate::der::Tag::new($tag) };
    (@accepts $found:ident : $ty:ty) => { <$ty as $crate::der::Element>::accepts($found) };

    (@encode $self:ident $writer:ident req $field:ident @ $tag:literal) => {
        $writer.value($tag, &$self.$field)
    };
    (@encode $self:ident $writer:ident opt $field:ident @ $tag:literal) => {
        $writer.optional($tag, $self.$field.as_ref())
    };
    (@encode $self:ident $writer:ident elem $field:ident) => {
        $crate::der::Element::encode_element(&$self.$field, $writer)
    };
    (@encode $self:ident $writer:ident elem_opt $field:ident) => {
        if let Some(element) = &$self.$field {
            $crate::der::Element::encode_element(element, $writer);
        }
    };

    (@info $mode:ident $field:ident @ $tag:literal : $ty:ty) => {
        $crate::der::FieldInfo {
            name: stringify!($field),
            tag: Some($crate::der::Tag::new($tag)),
            optional: $crate::sequence!(@optional $mode),
            info: <$ty as $crate::der::Describe>::info,
            accepts: |tag| tag == $crate::der::Tag::new($tag),
        }
    };
    (@info $mode:ident $field:ident : $ty:ty) => {
        $crate::der::FieldInfo {
            name: stringify!($field),
            tag: None,
            optional: $crate::sequence!(@optional $mode),
            info: <$ty as $crate::der::Describe>::info,
            accepts: <$ty as $crate::der::Element>::accepts,
        }
    };
    (@optional req) => { false };
    (@optional elem) => { false };
    (@optional opt) => { true };
    (@optional elem_opt) => { true };
}

/// Declares a CHOICE. With `@ tag` behind the name the CHOICE has a tag of its own around the
/// arm; without, the arm's tag stands alone.
///
/// An arm is `value Name @ tag: Type`, or `elem Name: Type` where the type brings its own tag.
/// Arms that this version does not know are kept in `Unknown`. With
/// `recover path::to::function;` first in the body, octets that no arm accepts are offered to
/// that function of [`crate::tolerance`].
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident $(@ $own:literal)? {
            recover $recover:path;
            $($arms:tt)*
        }
    ) => {
        $crate::choice! {
            @build [$recover] $(#[$meta])* $vis enum $name $(@ $own)? { $($arms)* }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident $(@ $own:literal)? { $($arms:tt)* }
    ) => {
        $crate::choice! {
            @build [] $(#[$meta])* $vis enum $name $(@ $own)? { $($arms)* }
        }
    };

    (
        @build [$($recover:path)?]
        $(#[$meta:meta])*
        $vis:vis enum $name:ident $(@ $own:literal)? {
            $( $(#[$arm_meta:meta])* $mode:ident $arm:ident $(@ $tag:literal)? : $ty:ty ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        #[allow(clippy::large_enum_variant, reason = "messages are made once and moved rarely")]
        $vis enum $name {
            $( $(#[$arm_meta])* $arm($ty), )*
            /// An alternative that this version does not know, as received.
            Unknown($crate::der::RawElement),
        }

        impl $name {
            #[allow(dead_code, reason = "not every CHOICE has need of it")]
            fn arm_accepts(tag: $crate::der::Tag) -> bool {
                false $( || $crate::sequence!(@accepts tag $(@ $tag)? : $ty) )*
            }

            fn decode_arm(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                let tag = tlv.tag();
                $(
                    if $crate::sequence!(@accepts tag $(@ $tag)? : $ty) {
                        return $crate::choice!(@decode tlv $mode $ty)
                            .map(Self::$arm)
                            .map_err(|error| error.within(stringify!($arm)));
                    }
                )*
                Ok(Self::Unknown($crate::der::RawElement::from_tlv(tlv)))
            }

            fn encode_arm(&self, writer: &mut $crate::der::Writer) {
                match self {
                    $( Self::$arm(inner) => $crate::choice!(@encode inner writer $mode $(@ $tag)?), )*
                    Self::Unknown(raw) => writer.raw(raw.bytes()),
                }
            }

            fn unwrap_arm(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                $(
                    if let Some(recovered) = $recover(tlv, Self::arm_accepts) {
                        return recovered;
                    }
                )?
                let mut reader = tlv.open()?;
                let arm = reader.expect_any()?;
                reader.finish()?;
                Self::decode_arm(arm)
            }
        }

        impl $crate::der::Value for $name {
            const CONSTRUCTED: bool = true;

            fn decode_content(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                Self::unwrap_arm(tlv)
            }

            fn encode_content(&self, writer: &mut $crate::der::Writer) {
                self.encode_arm(writer);
            }
        }

        $crate::choice!(@element $name $(@ $own)?);

        impl $crate::der::Describe for $name {
            fn info() -> $crate::der::TypeInfo {
                const ARMS: &[$crate::der::FieldInfo] = &[
                    $( $crate::sequence!(@info req $arm $(@ $tag)? : $ty), )*
                ];
                $crate::der::TypeInfo {
                    name: stringify!($name),
                    shape: $crate::der::Shape::Choice(ARMS),
                }
            }
        }
    };

    (@element $name:ident @ $own:literal) => {
        impl $crate::der::Element for $name {
            fn accepts(tag: $crate::der::Tag) -> bool {
                tag == $crate::der::Tag::new($own)
            }

            fn decode_element(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                $crate::der::check_tag::<Self>(&tlv)?;
                Self::unwrap_arm(tlv)
            }

            fn encode_element(&self, writer: &mut $crate::der::Writer) {
                writer.value($own, self);
            }
        }
    };
    (@element $name:ident) => {
        impl $crate::der::Element for $name {
            fn accepts(tag: $crate::der::Tag) -> bool {
                Self::arm_accepts(tag)
            }

            fn decode_element(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                Self::decode_arm(tlv)
            }

            fn encode_element(&self, writer: &mut $crate::der::Writer) {
                self.encode_arm(writer);
            }
        }
    };

    (@decode $tlv:ident value $ty:ty) => { <$ty as $crate::der::Value>::decode_content($tlv) };
    (@decode $tlv:ident elem $ty:ty) => { <$ty as $crate::der::Element>::decode_element($tlv) };
    (@encode $inner:ident $writer:ident value @ $tag:literal) => { $writer.value($tag, $inner) };
    (@encode $inner:ident $writer:ident elem) => {
        $crate::der::Element::encode_element($inner, $writer)
    };
}

/// Declares a value that has one fixed tag: a list, a string or a number with a name.
#[macro_export]
macro_rules! tagged {
    ( $( $(#[$meta:meta])* $vis:vis struct $name:ident @ $own:literal : $ty:ty; )* ) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        $vis struct $name(pub $ty);

        impl std::ops::Deref for $name {
            type Target = $ty;

            fn deref(&self) -> &$ty {
                &self.0
            }
        }

        impl From<$ty> for $name {
            fn from(inner: $ty) -> Self {
                Self(inner)
            }
        }

        impl $crate::der::Value for $name {
            const CONSTRUCTED: bool = <$ty as $crate::der::Value>::CONSTRUCTED;

            fn decode_content(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                <$ty as $crate::der::Value>::decode_content(tlv).map(Self)
            }

            fn encode_content(&self, writer: &mut $crate::der::Writer) {
                $crate::der::Value::encode_content(&self.0, writer);
            }
        }

        impl $crate::der::Element for $name {
            fn accepts(tag: $crate::der::Tag) -> bool {
                tag == $crate::der::Tag::new($own)
            }

            fn decode_element(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                $crate::der::check_tag::<Self>(&tlv)?;
                <Self as $crate::der::Value>::decode_content(tlv)
            }

            fn encode_element(&self, writer: &mut $crate::der::Writer) {
                writer.value($own, self);
            }
        }

        impl $crate::der::Describe for $name {
            fn info() -> $crate::der::TypeInfo {
                $crate::der::TypeInfo { name: stringify!($name), ..<$ty as $crate::der::Describe>::info() }
            }
        }
    )* };
}

/// Declares an INTEGER whose values have names: result and error codes, states, classes.
///
/// Values without a name are kept in `Other`.
#[macro_export]
macro_rules! codes {
    ( $(
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$code_meta:meta])* $code:ident = $number:literal ),* $(,)? }
    )* ) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the module")]
        $vis enum $name {
            $( $(#[$code_meta])* $code, )*
            /// A number that the module does not name.
            Other(i64),
        }

        impl $name {
            /// The number on the wire.
            pub const fn number(self) -> i64 {
                match self {
                    $( Self::$code => $number, )*
                    Self::Other(number) => number,
                }
            }

            /// The value for a number.
            pub const fn from_number(number: i64) -> Self {
                match number {
                    $( $number => Self::$code, )*
                    other => Self::Other(other),
                }
            }

            fn name_of(number: i64) -> Option<&'static str> {
                match number {
                    $( $number => Some(stringify!($code)), )*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match Self::name_of(self.number()) {
                    Some(name) => write!(f, "{name} ({})", self.number()),
                    None => write!(f, "unnamed code {}", self.number()),
                }
            }
        }

        impl $crate::der::Value for $name {
            const CONSTRUCTED: bool = false;

            fn decode_content(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                <i64 as $crate::der::Value>::decode_content(tlv).map(Self::from_number)
            }

            fn encode_content(&self, writer: &mut $crate::der::Writer) {
                $crate::der::Value::encode_content(&self.number(), writer);
            }
        }

        impl $crate::der::Describe for $name {
            fn info() -> $crate::der::TypeInfo {
                $crate::der::TypeInfo {
                    name: stringify!($name),
                    shape: $crate::der::Shape::Integer(Self::name_of),
                }
            }
        }

        #[cfg(feature = "arbitrary")]
        impl<'a> arbitrary::Arbitrary<'a> for $name {
            fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                u.int_in_range(-1..=300).map(Self::from_number)
            }
        }
    )* };
}

/// Declares a BIT STRING with named bits, each a constant holding its number.
#[macro_export]
macro_rules! bits {
    ( $(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $( $(#[$bit_meta:meta])* $bit:ident = $number:literal ),* $(,)? }
    )* ) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        $vis struct $name(pub $crate::der::BitString);

        #[allow(missing_docs, reason = "the names are those of the module")]
        impl $name {
            $( $(#[$bit_meta])* pub const $bit: usize = $number; )*

            /// The string with these bits set.
            pub fn of(bits: impl IntoIterator<Item = usize>) -> Self {
                Self($crate::der::BitString::from_bits(bits))
            }

            /// Whether a bit is set.
            pub fn contains(&self, bit: usize) -> bool {
                self.0.contains(bit)
            }
        }

        impl $crate::der::Value for $name {
            const CONSTRUCTED: bool = false;

            fn decode_content(tlv: $crate::der::Tlv<'_>) -> Result<Self, $crate::der::Error> {
                <$crate::der::BitString as $crate::der::Value>::decode_content(tlv).map(Self)
            }

            fn encode_content(&self, writer: &mut $crate::der::Writer) {
                $crate::der::Value::encode_content(&self.0, writer);
            }
        }

        impl $crate::der::Describe for $name {
            fn info() -> $crate::der::TypeInfo {
                #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
                const NAMES: &[&str] = &{
                    const HIGHEST: usize = {
                        let numbers = [$($number as usize),*];
                        let mut highest = 0;
                        let mut index = 0;
                        while index < numbers.len() {
                            if numbers[index] > highest {
                                highest = numbers[index];
                            }
                            index += 1;
                        }
                        highest
                    };
                    let mut names = [""; HIGHEST + 1];
                    $( names[$number] = stringify!($bit); )*
                    names
                };
                $crate::der::TypeInfo {
                    name: stringify!($name),
                    shape: $crate::der::Shape::Bits(NAMES),
                }
            }
        }
    )* };
}
