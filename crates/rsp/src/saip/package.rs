use std::fmt;

use zeroize::Zeroizing;

use super::content::{self, AkaConfiguration, Application, File, Pin};
use super::{ElementKind, EuiccResponse, PeHeader, PeStatus, PeStatusCode, ProfileHeader};
use crate::der::{Element, Error, ErrorKind, Limits, Oid, Reader, Tag, Tlv};
use crate::ids::Iccid;

/// Bounds on a profile package: 1 MiB, elements nested 16 deep, at most 1024 elements.
pub const PACKAGE_LIMITS: Limits = Limits {
    message_octets_max: 1 << 20,
    depth_max: 16,
    list_members_max: 1024,
    non_minimal_lengths: false,
};

/// A profile package, split into its elements.
///
/// Parsing checks that the octets are well-formed, not that the package makes sense:
/// [`ProfilePackage::check`] does.
#[derive(Debug, Clone)]
pub struct ProfilePackage {
    elements: Vec<ProfileElement>,
    octets: usize,
}

/// One element, as received.
#[derive(Clone)]
pub struct ProfileElement {
    kind: ElementKind,
    header: Option<PeHeader>,
    raw: Zeroizing<Vec<u8>>,
}

/// Why octets are not a profile package.
#[derive(Debug, thiserror::Error)]
#[error("profile element {index}, which begins at octet {offset}, cannot be read")]
pub struct SaipError {
    /// Which element, the first being 0.
    pub index: usize,
    /// Octets from the start of the package to the element.
    pub offset: usize,
    /// What was wrong.
    #[source]
    pub source: Error,
}

impl ProfilePackage {
    /// Splits a package under [`PACKAGE_LIMITS`].
    ///
    /// # Errors
    /// When the octets are not a run of well-formed elements, or an element lacks its PEHeader.
    pub fn parse(bytes: &[u8]) -> Result<Self, SaipError> {
        Self::parse_within(bytes, &PACKAGE_LIMITS)
    }

    /// Splits a package under the given limits.
    ///
    /// # Errors
    /// As [`ProfilePackage::parse`].
    pub fn parse_within(bytes: &[u8], limits: &Limits) -> Result<Self, SaipError> {
        let mut reader = Reader::new(bytes, limits).map_err(|source| SaipError {
            index: 0,
            offset: 0,
            source,
        })?;
        let mut elements = Vec::new();
        loop {
            let place = (elements.len(), bytes.len() - reader.rest().len());
            match next_element(&mut reader, elements.len(), limits) {
                Ok(Some(element)) => elements.push(element),
                Ok(None) => {
                    return Ok(Self {
                        elements,
                        octets: bytes.len(),
                    });
                }
                Err(source) => {
                    return Err(SaipError {
                        index: place.0,
                        offset: place.1,
                        source,
                    });
                }
            }
        }
    }

    /// The elements in their order.
    pub fn elements(&self) -> &[ProfileElement] {
        &self.elements
    }

    /// Octets of the whole package.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The profile header.
    ///
    /// # Errors
    /// When there is none, or it is malformed.
    pub fn header(&self) -> Result<ProfileHeader, Error> {
        let element = self
            .of_kind(ElementKind::Header)
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Missing).within("ProfileHeader"))?;
        ProfileHeader::from_der_within(element.raw(), &PACKAGE_LIMITS)
    }

    /// The ICCID that EF.ICCID is filled with, when the package fills it.
    ///
    /// # Errors
    /// When the element that creates EF.ICCID is malformed, or its content is not an ICCID.
    pub fn iccid_of_file(&self) -> Result<Option<Iccid>, Error> {
        const EF_ICCID: Tag = Tag::new(0xA4);
        let Some(content) =
            self.template_file_start(ElementKind::brings_master_file, |_| EF_ICCID)?
        else {
            return Ok(None);
        };
        let octets = <[u8; 10]>::try_from(content.as_slice())
            .map_err(|_| Error::invalid("EF.ICCID has ten octets"))?;
        Iccid::from_octets(octets)
            .map(Some)
            .map_err(|_| Error::invalid("EF.ICCID is not an ICCID"))
    }

    /// The IMSI digits that EF.IMSI of the first USIM is filled with, when the package fills it
    /// with an IMSI.
    ///
    /// # Errors
    /// When the element that creates EF.IMSI is malformed.
    pub fn imsi(&self) -> Result<Option<String>, Error> {
        let start = self.template_file_start(
            |kind| matches!(kind, ElementKind::Usim | ElementKind::Iot),
            |kind| Tag::new(if kind == ElementKind::Iot { 0xA9 } else { 0xA3 }),
        )?;
        Ok(start.and_then(|content| content::imsi_digits(&content)))
    }

    /// Every PIN that the package sets.
    ///
    /// # Errors
    /// When an element is malformed.
    pub fn pins(&self) -> Result<Vec<Pin>, Error> {
        self.collect(ElementKind::PinCodes, ProfileElement::pins)
    }

    /// Every PUK that the package sets.
    ///
    /// # Errors
    /// When an element is malformed.
    pub fn puks(&self) -> Result<Vec<Pin>, Error> {
        self.collect(ElementKind::PukCodes, ProfileElement::pins)
    }

    /// The authentication parameters of every subscriber application.
    ///
    /// # Errors
    /// When an element is malformed.
    pub fn authentication(&self) -> Result<Vec<AkaConfiguration>, Error> {
        self.collect(ElementKind::AkaParameter, |element| {
            element
                .authentication()
                .map(|found| found.into_iter().collect())
        })
    }

    /// Every security domain, load package, applet and file manager.
    ///
    /// # Errors
    /// When an element is malformed.
    pub fn applications(&self) -> Result<Vec<Application>, Error> {
        let mut found = Vec::new();
        for element in &self.elements {
            found.extend(element.applications()?);
        }
        Ok(found)
    }

    /// An estimate of the non-volatile memory that the profile takes, in octets: files by their
    /// declared size or their content, everything else by its length in the package, and a
    /// fixed overhead for each. Sizes that only a template fixes are not counted, so it is a
    /// lower bound for packages that leave files to their templates.
    ///
    /// # Errors
    /// When an element is malformed.
    pub fn size_octets(&self) -> Result<usize, Error> {
        const OVERHEAD_OCTETS: usize = 32;
        let mut total = 0_usize;
        for element in &self.elements {
            if !element.kind.is_file_system() {
                total = total.saturating_add(element.raw.len() + OVERHEAD_OCTETS);
                continue;
            }
            for (_, file) in element.files()? {
                let size = file.declared_octets.unwrap_or(0).max(file.filled_octets);
                total = total.saturating_add(size.saturating_add(OVERHEAD_OCTETS));
            }
        }
        Ok(total)
    }

    pub(super) fn of_kind(&self, kind: ElementKind) -> impl Iterator<Item = &ProfileElement> {
        self.elements
            .iter()
            .filter(move |element| element.kind == kind)
    }

    fn collect<T>(
        &self,
        kind: ElementKind,
        read: impl Fn(&ProfileElement) -> Result<Vec<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        for element in self.of_kind(kind) {
            found.extend(read(element)?);
        }
        Ok(found)
    }

    /// What the file under the tag that `member` names begins with, in the first element whose
    /// kind fits.
    fn template_file_start(
        &self,
        fits: impl Fn(ElementKind) -> bool,
        member: impl Fn(ElementKind) -> Tag,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(element) = self.elements.iter().find(|element| fits(element.kind)) else {
            return Ok(None);
        };
        let wanted = Some(member(element.kind));
        let files = element.files()?;
        Ok(files
            .into_iter()
            .find(|(tag, _)| *tag == wanted)
            .and_then(|(_, file)| file.start))
    }
}

impl ProfileElement {
    /// What it does.
    pub fn kind(&self) -> ElementKind {
        self.kind
    }

    /// Its PEHeader. `None` for the profile header, and for elements of unknown kind that have
    /// none where it should stand.
    pub fn header(&self) -> Option<PeHeader> {
        self.header
    }

    /// The whole TLV. Contains keys and codes.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The file structure template it builds on.
    ///
    /// # Errors
    /// When the kind has one and it is absent or malformed.
    pub fn template(&self) -> Result<Option<Oid>, Error> {
        content::template(self.tlv()?, self.kind)
    }

    /// The PINs or PUKs it sets.
    ///
    /// # Errors
    /// When it should and is malformed.
    pub fn pins(&self) -> Result<Vec<Pin>, Error> {
        match self.kind {
            ElementKind::PinCodes | ElementKind::PukCodes => content::pins(self.tlv()?, self.kind),
            _ => Ok(Vec::new()),
        }
    }

    /// The authentication parameters it sets.
    ///
    /// # Errors
    /// When it should and is malformed.
    pub fn authentication(&self) -> Result<Option<AkaConfiguration>, Error> {
        content::aka(self.tlv()?, self.kind)
    }

    /// The applications it installs.
    ///
    /// # Errors
    /// When it should and is malformed.
    pub fn applications(&self) -> Result<Vec<Application>, Error> {
        match self.kind {
            ElementKind::SecurityDomain | ElementKind::Rfm | ElementKind::Application => {
                content::applications(self.tlv()?, self.kind)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// How many files it creates.
    ///
    /// # Errors
    /// When it should and is malformed.
    pub fn file_count(&self) -> Result<usize, Error> {
        self.files().map(|files| files.len())
    }

    pub(super) fn files(&self) -> Result<Vec<(Option<Tag>, File)>, Error> {
        if !self.kind.is_file_system() {
            return Ok(Vec::new());
        }
        content::files(self.tlv()?, self.kind)
    }

    fn tlv(&self) -> Result<Tlv<'_>, Error> {
        Reader::new(&self.raw, &PACKAGE_LIMITS)?.expect_any()
    }
}

impl fmt::Debug for ProfileElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileElement")
            .field("kind", &self.kind)
            .field("header", &self.header)
            .field("octets", &self.raw.len())
            .finish()
    }
}

impl SaipError {
    /// What an eUICC answers to it.
    pub fn response(&self) -> EuiccResponse {
        EuiccResponse::aborted(
            PeStatus::new(PeStatusCode::InvalidRequestFormat, None),
            &format!("element {}: {}", self.index, self.source),
        )
    }
}

fn next_element(
    reader: &mut Reader<'_>,
    index: usize,
    limits: &Limits,
) -> Result<Option<ProfileElement>, Error> {
    let Some(tlv) = reader.next()? else {
        return Ok(None);
    };
    if index >= limits.list_members_max {
        return Err(Error::new(ErrorKind::TooMany {
            limit: limits.list_members_max,
        }));
    }
    check_well_formed(tlv)?;
    let kind = ElementKind::from_tag(tlv.tag());
    let header = match kind {
        ElementKind::Header => None,
        ElementKind::Unknown(tag) if !tag.is_constructed() => None,
        _ => PeHeader::of(tlv, kind)?,
    };
    Ok(Some(ProfileElement {
        kind,
        header,
        raw: Zeroizing::new(tlv.whole().to_vec()),
    }))
}

/// Every constructed TLV must hold TLVs. The reader's depth limit bounds the recursion.
fn check_well_formed(tlv: Tlv<'_>) -> Result<(), Error> {
    if !tlv.tag().is_constructed() {
        return Ok(());
    }
    let mut reader = tlv.open()?;
    while let Some(inner) = reader.next()? {
        check_well_formed(inner)?;
    }
    Ok(())
}
