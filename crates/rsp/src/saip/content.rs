//! Typed views into single elements. Each reads its element anew, so that nothing secret is
//! held twice.

use std::fmt;

use zeroize::Zeroizing;

use super::ElementKind;
use crate::codes;
use crate::der::{
    Describe, Error, FieldReader, Octets, Oid, Reader, Tag, Tlv, TypeInfo, Value, Writer,
};

/// A code or key. Erased when dropped, hidden in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    fn new(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.to_vec()))
    }

    /// The octets.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

/// A PIN or PUK that an element sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Key reference (ETSI TS 102 221 section 9.5.1): 1 to 8 and 129 to 136 for applications,
    /// 10 to 14 and 138 to 142 for administration.
    pub key_reference: i64,
    /// Eight octets.
    pub value: Secret,
    /// The PUK that unblocks a PIN.
    pub unblocking_reference: Option<i64>,
}

codes! {
    /// Authentication algorithm of a subscriber application.
    pub enum AkaAlgorithm {
        Milenage = 1,
        Tuak = 2,
        UsimTestAlgorithm = 3,
    }
}

/// Where a subscriber application takes its authentication keys from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AkaConfiguration {
    /// From another application of the profile.
    Mapped {
        /// Its AID.
        source: Octets,
    },
    /// Its own.
    Own {
        /// The algorithm.
        algorithm: AkaAlgorithm,
        /// K.
        key: Secret,
        /// OPc or TOPc.
        opc: Secret,
    },
}

/// What an [`Application`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationRole {
    /// A security domain.
    SecurityDomain,
    /// Executable code.
    LoadPackage,
    /// An installed applet.
    Instance,
    /// An instance that manages files remotely.
    RemoteFileManagement,
}

/// Something with an AID that the package installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// What it is.
    pub role: ApplicationRole,
    /// 5 to 16 octets.
    pub aid: Octets,
}

/// One file: what it declares and what fills it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct File {
    /// Declared size in octets.
    pub(super) declared_octets: Option<usize>,
    /// Octets from the start to the end of the last content.
    pub(super) filled_octets: usize,
    /// Key references that its access conditions name; directories only.
    pub(super) pin_references: Vec<u8>,
    /// The first content, when it stands at the start of the file.
    pub(super) start: Option<Vec<u8>>,
}

const APPLICATION_AID: Tag = Tag::new(0x4F);

/// The files of an element. Files of a template carry the member tag under which they stand,
/// those of a GenericFileManagement none.
pub(super) fn files(
    element: Tlv<'_>,
    kind: ElementKind,
) -> Result<Vec<(Option<Tag>, File)>, Error> {
    let mut reader = after_header(element)?;
    let mut found = Vec::new();
    if kind == ElementKind::GenericFileManagement {
        let commands = reader.expect(Tag::new(0xA1))?;
        let mut commands = commands.open()?;
        while let Some(command) = commands.next()? {
            generic_files(command, &mut found)?;
        }
    } else if kind.template_arc().is_some() {
        reader.expect(Tag::new(0x81))?;
        while let Some(member) = reader.next()? {
            found.push((Some(member.tag()), template_file(member)?));
        }
    }
    Ok(found)
}

/// The file structure template that an element builds on.
pub(super) fn template(element: Tlv<'_>, kind: ElementKind) -> Result<Option<Oid>, Error> {
    if kind.template_arc().is_none() {
        return Ok(None);
    }
    let tlv = after_header(element)?
        .expect(Tag::new(0x81))
        .map_err(|error| error.within("templateID"))?;
    Oid::decode_content(tlv)
        .map(Some)
        .map_err(|error| error.within("templateID"))
}

fn template_file(member: Tlv<'_>) -> Result<File, Error> {
    let mut file = File::default();
    let mut commands = member.open()?;
    while let Some(command) = commands.next()? {
        match command.tag().octets() {
            0x80 => {}
            0xA1 => file.describe(command)?,
            0x82 => file.skip(command)?,
            0x83 => file.fill(command.content()),
            _ => {
                return Err(Error::invalid(
                    "a file consists of a descriptor, offsets and contents",
                ));
            }
        }
    }
    Ok(file)
}

/// The commands of one FileManagement: paths select, descriptors create, contents fill what was
/// created last.
fn generic_files(commands: Tlv<'_>, found: &mut Vec<(Option<Tag>, File)>) -> Result<(), Error> {
    let mut commands = commands.open()?;
    let mut current: Option<File> = None;
    while let Some(command) = commands.next()? {
        match command.tag().octets() {
            0x80 => {}
            0x62 => {
                let mut file = File::default();
                file.describe(command)?;
                found.extend(current.replace(file).map(|done| (None, done)));
            }
            0x02 => current.get_or_insert_default().skip(command)?,
            0x81 => current.get_or_insert_default().fill(command.content()),
            _ => return Err(Error::invalid("an unknown file management command")),
        }
    }
    found.extend(current.map(|done| (None, done)));
    Ok(())
}

impl File {
    /// Takes what is needed from a file control parameter template.
    fn describe(&mut self, fcp: Tlv<'_>) -> Result<(), Error> {
        let mut fields = fcp.open()?;
        while let Some(field) = fields.next()? {
            match field.tag().octets() {
                0x80 => self.declared_octets = Some(size(field.content())?),
                0xC6 => self.pin_references = pin_references(field.content()),
                0xA5 => {
                    let mut proprietary = field.open()?;
                    while let Some(inner) = proprietary.next()? {
                        if inner.tag() == Tag::new(0x86) {
                            self.declared_octets = Some(size(inner.content())?);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn skip(&mut self, offset: Tlv<'_>) -> Result<(), Error> {
        let octets = usize::try_from(i64::decode_content(offset)?)
            .ok()
            .filter(|&octets| octets <= usize::from(u16::MAX))
            .ok_or_else(|| Error::invalid("a fill offset is 0 to 65535"))?;
        self.filled_octets = self.filled_octets.saturating_add(octets);
        Ok(())
    }

    fn fill(&mut self, content: &[u8]) {
        if self.filled_octets == 0 && self.start.is_none() {
            self.start = Some(content.to_vec());
        }
        self.filled_octets = self.filled_octets.saturating_add(content.len());
    }
}

fn size(octets: &[u8]) -> Result<usize, Error> {
    if octets.is_empty() || octets.len() > 4 {
        return Err(Error::invalid("a file size has one to four octets"));
    }
    Ok(octets
        .iter()
        .fold(0, |size, &octet| (size << 8) | usize::from(octet)))
}

/// A list of key references; as TLVs of ETSI TS 102 222 (`90`, then `83` each) in some packages.
fn pin_references(content: &[u8]) -> Vec<u8> {
    let [0x90, length, rest @ ..] = content else {
        return content.to_vec();
    };
    let templates = rest.get(usize::from(*length)..).unwrap_or_default();
    templates
        .chunks(3)
        .filter_map(|template| match template {
            [0x83, 1, reference] => Some(*reference),
            _ => None,
        })
        .collect()
}

/// The PINs or PUKs of an element; none when the directory shares those of another.
pub(super) fn pins(element: Tlv<'_>, kind: ElementKind) -> Result<Vec<Pin>, Error> {
    let mut reader = after_header(element)?;
    let list = match kind {
        ElementKind::PukCodes => reader.expect(Tag::new(0xA1))?,
        ElementKind::PinCodes => {
            let choice = reader.expect(Tag::new(0xA1))?.open()?.expect_any()?;
            match choice.tag().octets() {
                0xA0 => choice,
                0x81 => return Ok(Vec::new()),
                _ => return Err(Error::invalid("PINs are a list or a path")),
            }
        }
        _ => return Ok(Vec::new()),
    };
    let mut entries = list.open()?;
    let mut pins: Vec<Pin> = Vec::new();
    while let Some(entry) = entries.next()? {
        let mut fields = FieldReader::open(entry)?;
        let key_reference = fields.required(0x80, "keyReference")?;
        let value: [u8; 8] = fields.required(0x81, "value")?;
        let unblocking_reference = if kind == ElementKind::PinCodes {
            fields.optional(0x82, "unblockingPINReference")?
        } else {
            None
        };
        if pins.iter().any(|pin| pin.key_reference == key_reference) {
            return Err(Error::invalid(
                "a key reference is set twice in one element",
            ));
        }
        pins.push(Pin {
            key_reference,
            value: Secret::new(&value),
            unblocking_reference,
        });
    }
    if pins.is_empty() {
        return Err(Error::invalid("a list of codes has at least one"));
    }
    Ok(pins)
}

/// The authentication parameters of an element.
pub(super) fn aka(element: Tlv<'_>, kind: ElementKind) -> Result<Option<AkaConfiguration>, Error> {
    if kind != ElementKind::AkaParameter {
        return Ok(None);
    }
    let choice = after_header(element)?
        .expect(Tag::new(0xA1))?
        .open()?
        .expect_any()?;
    let mut fields = FieldReader::open(choice)?;
    match choice.tag().octets() {
        0xA0 => {
            fields.required::<[u8; 1]>(0x80, "mappingOptions")?;
            Ok(Some(AkaConfiguration::Mapped {
                source: fields.required(0x81, "mappingSource")?,
            }))
        }
        0xA1 => {
            let algorithm = fields.required(0x80, "algorithmID")?;
            fields.required::<[u8; 1]>(0x81, "algorithmOptions")?;
            let key = fields.required::<SecretValue>(0x82, "key")?.0;
            let opc = fields.required::<SecretValue>(0x83, "opc")?.0;
            Ok(Some(AkaConfiguration::Own {
                algorithm,
                key,
                opc,
            }))
        }
        _ => Err(Error::invalid(
            "authentication parameters are a mapping or an algorithm",
        )),
    }
}

/// The applications of an element.
pub(super) fn applications(element: Tlv<'_>, kind: ElementKind) -> Result<Vec<Application>, Error> {
    let mut reader = after_header(element)?;
    let mut found = Vec::new();
    match kind {
        ElementKind::SecurityDomain => {
            found.push(instance(
                reader.expect(Tag::new(0xA1))?,
                ApplicationRole::SecurityDomain,
            )?);
        }
        ElementKind::Rfm => {
            let aid = reader.expect(APPLICATION_AID)?;
            found.push(Application {
                role: ApplicationRole::RemoteFileManagement,
                aid: aid_of(aid)?,
            });
        }
        ElementKind::Application => {
            while let Some(member) = reader.next()? {
                match member.tag().octets() {
                    0xA1 => {
                        let aid = aid_of(member.open()?.expect(APPLICATION_AID)?)?;
                        found.push(Application {
                            role: ApplicationRole::LoadPackage,
                            aid,
                        });
                    }
                    0xA2 => {
                        let mut instances = member.open()?;
                        while let Some(one) = instances.next()? {
                            found.push(instance(one, ApplicationRole::Instance)?);
                        }
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Ok(found)
}

/// Load package, class and instance AID stand in this order under the same tag.
fn instance(tlv: Tlv<'_>, role: ApplicationRole) -> Result<Application, Error> {
    let mut reader = tlv.open()?;
    reader.expect(APPLICATION_AID)?;
    reader.expect(APPLICATION_AID)?;
    let aid = aid_of(reader.expect(APPLICATION_AID)?)?;
    Ok(Application { role, aid })
}

fn aid_of(tlv: Tlv<'_>) -> Result<Octets, Error> {
    if !(5..=16).contains(&tlv.content().len()) {
        return Err(Error::invalid("an AID has 5 to 16 octets"));
    }
    Octets::decode_content(tlv)
}

/// A reader behind the PEHeader.
fn after_header(element: Tlv<'_>) -> Result<Reader<'_>, Error> {
    let mut reader = element.open()?;
    reader
        .expect(Tag::new(0xA0))
        .map_err(|error| error.within("PEHeader"))?;
    Ok(reader)
}

/// The digits of EF.IMSI (3GPP TS 31.102 section 4.2.2): a length, then the identity with
/// swapped nibbles behind one nibble of type and parity.
pub(super) fn imsi_digits(content: &[u8]) -> Option<String> {
    let (&length, identity) = content.split_first()?;
    let identity = identity.get(..usize::from(length))?;
    let mut digits = String::new();
    for nibble in identity
        .iter()
        .flat_map(|octet| [octet & 0x0F, octet >> 4])
        .skip(1)
    {
        match nibble {
            0..=9 => digits.push(char::from(b'0' + nibble)),
            0x0F => break,
            _ => return None,
        }
    }
    (6..=15).contains(&digits.len()).then_some(digits)
}

/// Reads an octet string straight into a [`Secret`].
struct SecretValue(Secret);

impl Describe for SecretValue {
    fn info() -> TypeInfo {
        Octets::info()
    }
}

impl Value for SecretValue {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        Ok(Self(Secret::new(tlv.content())))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(self.0.expose());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imsi_digits_begin_behind_the_type_nibble() {
        let of = |content: &[u8]| imsi_digits(content);
        assert_eq!(
            of(&hex_literal::hex!("080910101032547698")).as_deref(),
            Some("001010123456789")
        );
        assert_eq!(
            of(&hex_literal::hex!("0801101010325476F8")).as_deref(),
            Some("00101012345678")
        );
        assert_eq!(of(&hex_literal::hex!("08FFFFFFFFFFFFFFFF")), None);
        assert_eq!(
            of(&hex_literal::hex!("090910101032547698")),
            None,
            "longer than the file"
        );
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn pin_references_come_as_a_list_or_as_tlvs() {
        assert_eq!(pin_references(&[0x01, 0x0A, 0x81]), [0x01, 0x0A, 0x81]);
        assert_eq!(
            pin_references(&[0x90, 1, 0xC0, 0x83, 1, 0x01, 0x83, 1, 0x0A]),
            [0x01, 0x0A]
        );
    }
}
