//! The rules by which an eUICC accepts or refuses a package before it installs anything.

use std::collections::HashSet;

use super::{
    ElementKind, EuiccResponse, MandatoryAid, PeStatus, PeStatusCode, ProfileElement,
    ProfileHeader, ProfilePackage, Service, ServicesList,
};
use crate::der::{Error, Oid};

/// What an eUICC supports.
#[derive(Debug, Clone)]
pub struct EuiccCapabilities {
    /// Major versions of the package format.
    pub major_versions: std::ops::RangeInclusive<i64>,
    /// Services it offers to profiles.
    pub services: ServicesList,
    /// File structure templates it knows.
    pub templates: Vec<Oid>,
    /// Load packages present on it.
    pub load_packages: Vec<MandatoryAid>,
    /// Elements it refuses although they are in the format.
    pub unsupported_elements: Vec<ElementKind>,
    /// Octets of non-volatile memory left.
    pub free_octets: usize,
}

/// A package that can be installed.
#[derive(Debug, Clone)]
pub struct InstallReport {
    /// What to answer once it is installed.
    pub response: EuiccResponse,
    /// Its header.
    pub header: ProfileHeader,
    /// Identification numbers of the elements that are left out: not supported, not mandated.
    pub skipped: Vec<u16>,
    /// Memory it takes; see [`ProfilePackage::size_octets`].
    pub size_octets: usize,
}

impl EuiccCapabilities {
    /// An eUICC with every template and element of versions 2.0 to 3.3 (issuer-defined elements
    /// excepted), and with the services that a telecom eUICC without contactless interface has.
    pub fn telecom(free_octets: usize) -> Self {
        use Service::{
            Contactless, Eap, GbaIsim, GbaUsim, Mbms, Multos, Scp11ac,
            Scp11cAuthorizationMechanism, Unknown,
        };
        let has = |service: &Service| {
            !matches!(
                service,
                Contactless
                    | GbaUsim
                    | GbaIsim
                    | Mbms
                    | Eap
                    | Multos
                    | Scp11ac
                    | Scp11cAuthorizationMechanism
                    | Unknown(_)
            )
        };
        Self {
            major_versions: 2..=3,
            services: ServicesList(Service::ALL.iter().copied().filter(has).collect()),
            templates: TEMPLATES
                .iter()
                .filter_map(|arcs| template_oid(arcs))
                .collect(),
            load_packages: Vec::new(),
            unsupported_elements: vec![ElementKind::NonStandard],
            free_octets,
        }
    }

    fn supports_element(&self, kind: ElementKind) -> bool {
        use ElementKind::{Rfu1, Rfu2, Rfu3, Rfu4, Rfu5, Unknown};
        !matches!(kind, Unknown(_) | Rfu1 | Rfu2 | Rfu3 | Rfu4 | Rfu5)
            && !self.unsupported_elements.contains(&kind)
    }
}

/// The published templates, behind 2.23.143.1.2; a second arc is the version.
const TEMPLATES: &[&str] = &[
    "1", "2", "3", "3.2", "4", "4.2", "5", "5.2", "5.3", "6", "7", "8", "9", "9.2", "10", "10.2",
    "11", "11.2", "12", "13", "13.2", "13.3", "13.4", "14", "15", "16", "17", "18",
];

fn template_oid(arcs: &str) -> Option<Oid> {
    Oid::from_dotted(&format!("2.23.143.1.2.{arcs}")).ok()
}

/// Why a package is refused.
struct Refusal {
    status: PeStatusCode,
    element: Option<u16>,
    message: String,
}

impl ProfilePackage {
    /// Decides whether an eUICC can install the package, before it changes anything.
    ///
    /// Rules, in order: one header, first; one end, last; format version; mandatory services,
    /// templates and load packages; then for each element its unique identification, support,
    /// place (the master file before other files, an application's directory before its optional
    /// files), template and content; then that every PIN named by a directory and every PUK named
    /// by a PIN is set, that EF.ICCID agrees with the header, and that memory suffices.
    ///
    /// # Errors
    /// The answer of an eUICC that refuses: the status and, where one is to blame, the element.
    pub fn check(&self, capabilities: &EuiccCapabilities) -> Result<InstallReport, EuiccResponse> {
        self.judge(capabilities).map_err(|refusal| {
            EuiccResponse::aborted(
                PeStatus::new(refusal.status, refusal.element),
                &refusal.message,
            )
        })
    }

    fn judge(&self, capabilities: &EuiccCapabilities) -> Result<InstallReport, Refusal> {
        self.check_frame()?;
        let header = self
            .header()
            .map_err(|error| refuse(PeStatusCode::InvalidRequestFormat, &error))?;
        check_header(&header, capabilities)?;
        let skipped = self.check_elements(capabilities)?;
        self.check_codes()?;
        self.check_iccid(&header)?;
        let size_octets = self
            .size_octets()
            .map_err(|error| refuse(PeStatusCode::BadValues, &error))?;
        if size_octets > capabilities.free_octets {
            return Err(refuse(
                PeStatusCode::NotEnoughMemory,
                format!(
                    "needs about {size_octets} octets, {} are free",
                    capabilities.free_octets
                ),
            ));
        }
        let response = if skipped.is_empty() {
            EuiccResponse::success()
        } else {
            let statuses = skipped
                .iter()
                .map(|&id| PeStatus::new(PeStatusCode::PeNotSupported, Some(id)));
            EuiccResponse::of(statuses.collect())
        };
        Ok(InstallReport {
            response,
            header,
            skipped,
            size_octets,
        })
    }

    fn check_frame(&self) -> Result<(), Refusal> {
        let format = |message: &str| Err(refuse(PeStatusCode::InvalidRequestFormat, message));
        let kind_of = |element: Option<&ProfileElement>| element.map(ProfileElement::kind);
        if kind_of(self.elements().first()) != Some(ElementKind::Header) {
            return format("a package begins with its header");
        }
        if kind_of(self.elements().last()) != Some(ElementKind::End) {
            return format("a package finishes with the end element");
        }
        if self.of_kind(ElementKind::Header).count() != 1 {
            return format("a package has one header");
        }
        if self.of_kind(ElementKind::End).count() != 1 {
            return format("nothing follows the end element");
        }
        Ok(())
    }

    fn check_elements(&self, capabilities: &EuiccCapabilities) -> Result<Vec<u16>, Refusal> {
        let mut identifications = HashSet::new();
        let mut seen: Vec<ElementKind> = Vec::new();
        let mut skipped = Vec::new();
        for element in self
            .elements()
            .iter()
            .filter(|element| element.kind() != ElementKind::Header)
        {
            let Some(header) = element.header() else {
                return Err(refuse(
                    PeStatusCode::PeNotSupported,
                    format!("{} without a header", element.kind()),
                ));
            };
            if !identifications.insert(header.identification) {
                return Err(blame(
                    element,
                    PeStatusCode::InvalidParameter,
                    "identification number used twice",
                ));
            }
            if !capabilities.supports_element(element.kind()) {
                if header.mandated {
                    return Err(blame(element, PeStatusCode::PeNotSupported, element.kind()));
                }
                skipped.push(header.identification);
                continue;
            }
            check_place(element, &seen)?;
            check_template(element, capabilities)?;
            check_content(element)?;
            seen.push(element.kind());
        }
        Ok(skipped)
    }

    /// Whether every code that is referred to is set somewhere in the package.
    fn check_codes(&self) -> Result<(), Refusal> {
        let bad = |error: Error| refuse(PeStatusCode::BadValues, error);
        let puks: HashSet<i64> = self
            .puks()
            .map_err(bad)?
            .iter()
            .map(|puk| puk.key_reference)
            .collect();
        let mut pins = HashSet::new();
        for element in self.of_kind(ElementKind::PinCodes) {
            for pin in element.pins().map_err(bad)? {
                pins.insert(pin.key_reference);
                if let Some(puk) = pin.unblocking_reference.filter(|puk| !puks.contains(puk)) {
                    return Err(blame(
                        element,
                        PeStatusCode::PinCodeMissing,
                        format!("PUK {puk} is not set"),
                    ));
                }
            }
        }
        for element in self.elements() {
            for (_, file) in element.files().map_err(bad)? {
                let missing = file
                    .pin_references
                    .iter()
                    .find(|&&pin| !pins.contains(&i64::from(pin)));
                if let Some(pin) = missing {
                    return Err(blame(
                        element,
                        PeStatusCode::PinCodeMissing,
                        format!("PIN {pin} is not set"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_iccid(&self, header: &ProfileHeader) -> Result<(), Refusal> {
        let announced = header
            .iccid()
            .map_err(|error| refuse(PeStatusCode::BadValues, error))?;
        let in_file = self
            .iccid_of_file()
            .map_err(|error| refuse(PeStatusCode::BadValues, error))?;
        if in_file.is_some_and(|iccid| iccid != announced) {
            return Err(refuse(
                PeStatusCode::BadValues,
                "EF.ICCID differs from the profile header",
            ));
        }
        Ok(())
    }
}

fn check_header(header: &ProfileHeader, capabilities: &EuiccCapabilities) -> Result<(), Refusal> {
    if !capabilities.major_versions.contains(&header.major_version) {
        return Err(refuse(
            PeStatusCode::UnsupportedProfileVersion,
            format!(
                "format version {}.{}",
                header.major_version, header.minor_version
            ),
        ));
    }
    if !(0..=255).contains(&header.minor_version) {
        return Err(refuse(
            PeStatusCode::BadValues,
            "a minor version is 0 to 255",
        ));
    }
    let services = &header.mandatory_services;
    if let Some(missing) = services
        .0
        .iter()
        .find(|service| !capabilities.services.contains(**service))
    {
        let status = match missing {
            Service::Javacard | Service::Multos => PeStatusCode::RuntimeNotSupported,
            _ => PeStatusCode::FeatureNotSupported,
        };
        return Err(refuse(status, format!("service {}", missing.name())));
    }
    if let Some(missing) = header
        .mandatory_templates
        .iter()
        .find(|id| !capabilities.templates.contains(&id.0))
    {
        return Err(refuse(
            PeStatusCode::TemplateNotSupported,
            format!("template {}", missing.0),
        ));
    }
    let mandatory_aids = header.mandatory_aids.as_deref().unwrap_or_default();
    let is_present = |wanted: &MandatoryAid| {
        let [major, minor] = wanted.version;
        capabilities.load_packages.iter().any(|present| {
            present.aid == wanted.aid && present.version[0] == major && present.version[1] >= minor
        })
    };
    if let Some(missing) = mandatory_aids.iter().find(|wanted| !is_present(wanted)) {
        return Err(refuse(
            PeStatusCode::LibNotSupported,
            format!("load package {:?}", missing.aid),
        ));
    }
    Ok(())
}

fn check_place(element: &ProfileElement, seen: &[ElementKind]) -> Result<(), Refusal> {
    let kind = element.kind();
    let master_file_seen = seen.iter().any(|kind| kind.brings_master_file());
    if kind.brings_master_file() {
        if master_file_seen {
            return Err(blame(
                element,
                PeStatusCode::InvalidRequestFormat,
                "a second master file",
            ));
        }
    } else if kind.is_file_system() && !master_file_seen {
        return Err(blame(
            element,
            PeStatusCode::InvalidRequestFormat,
            "files before the master file",
        ));
    }
    let parents = kind.parents();
    if !parents.is_empty() && !seen.iter().any(|kind| parents.contains(kind)) {
        return Err(blame(
            element,
            PeStatusCode::InvalidRequestFormat,
            format!("{kind} before its directory"),
        ));
    }
    Ok(())
}

fn check_template(
    element: &ProfileElement,
    capabilities: &EuiccCapabilities,
) -> Result<(), Refusal> {
    let template = element
        .template()
        .map_err(|error| blame(element, PeStatusCode::BadValues, error))?;
    let (Some(template), Some(arc)) = (template, element.kind().template_arc()) else {
        return Ok(());
    };
    // The version, if there is one, stands behind the arc of the kind.
    let belongs_to_kind = template_oid(&arc.to_string())
        .is_some_and(|base| template.content().starts_with(base.content()));
    if !belongs_to_kind || !capabilities.templates.contains(&template) {
        return Err(blame(
            element,
            PeStatusCode::TemplateNotSupported,
            format!("template {template}"),
        ));
    }
    Ok(())
}

/// Whether what the element contains can be read.
fn check_content(element: &ProfileElement) -> Result<(), Refusal> {
    let read = || -> Result<(), Error> {
        element.files()?;
        element.pins()?;
        element.authentication()?;
        element.applications()?;
        Ok(())
    };
    read().map_err(|error| blame(element, PeStatusCode::BadValues, error))
}

fn refuse(status: PeStatusCode, message: impl ToString) -> Refusal {
    Refusal {
        status,
        element: None,
        message: message.to_string(),
    }
}

fn blame(element: &ProfileElement, status: PeStatusCode, message: impl ToString) -> Refusal {
    Refusal {
        status,
        element: element.header().map(|header| header.identification),
        message: message.to_string(),
    }
}
