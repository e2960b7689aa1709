use super::Tag;

/// What a type looks like on the wire: names and meanings for the annotated dump.
#[derive(Debug, Clone, Copy)]
pub struct TypeInfo {
    /// The name in the module.
    pub name: &'static str,
    /// What the content is.
    pub shape: Shape,
}

/// The kinds of content.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// SEQUENCE or SET with named members.
    Sequence(&'static [FieldInfo]),
    /// SEQUENCE OF one type.
    List(fn() -> TypeInfo),
    /// CHOICE; the arms stand directly in the content.
    Choice(&'static [FieldInfo]),
    /// INTEGER, with the name of a value where it has one.
    Integer(fn(i64) -> Option<&'static str>),
    /// BIT STRING with named bits, bit 0 first.
    Bits(&'static [&'static str]),
    /// UTF8String.
    Text,
    /// OCTET STRING.
    Octets,
    /// BOOLEAN.
    Boolean,
    /// NULL, or an element without content.
    Empty,
    /// OBJECT IDENTIFIER.
    Oid,
    /// 16 octets of EID, digits in order.
    Eid,
    /// ICCID, nibble-swapped.
    Iccid,
    /// Three octets: major, minor, revision.
    Version,
    /// Concatenated tags.
    TagList,
    /// A structure defined outside the GSMA modules (X.509): shown as generic TLVs.
    Foreign,
}

/// One member of a SEQUENCE, or one arm of a CHOICE.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo {
    /// The name in the module.
    pub name: &'static str,
    /// The tag on the wire; `None` when the type brings its own.
    pub tag: Option<Tag>,
    /// OPTIONAL.
    pub optional: bool,
    /// The type.
    pub info: fn() -> TypeInfo,
    /// Whether a TLV with this tag is this member.
    pub accepts: fn(Tag) -> bool,
}

/// A type that can be shown.
pub trait Describe {
    /// Its name and shape.
    fn info() -> TypeInfo;
}
