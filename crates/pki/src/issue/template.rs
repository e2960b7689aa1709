//! Templates of single certificates.

mod version3;

use core::net::IpAddr;

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{Any, Ia5String, PrintableString, SetOfVec};
use der::{Decode, Encode, Tag, TagNumber};
use rand_core::CryptoRng;
use rsp::der::Oid;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, CrlDistributionPoints,
    ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

use super::IssueError;
use super::builder::{BuilderSigner, FromTemplate, X509Signature};
use crate::certificate::{
    CLIENT_AUTH, Certificate, EumConstraint, Role, SAN_DNS_NAME, SAN_REGISTERED_ID, SERVER_AUTH,
};
use crate::private_key::Signer;
use crate::public_key::PublicKey;
use crate::time::UnixTime;

/// Everything that goes into a certificate but the key and the issuer. The constructors give what SGP.22, SGP.32 and the
/// request files of SGP.26 ask for; alter the fields to deviate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateTemplate {
    /// Subject attributes, in order.
    pub subject: Vec<SubjectAttribute>,
    /// Content of the serial number, big-endian, taken as positive, at most 20 octets. Empty means 1.
    pub serial_number: Vec<u8>,
    /// Start of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// Whether to add subjectKeyIdentifier.
    pub subject_key_identifier: bool,
    /// Whether to add authorityKeyIdentifier.
    pub authority_key_identifier: bool,
    /// keyUsage.
    pub key_usage: Option<crate::certificate::KeyUsage>,
    /// Whether keyUsage is critical.
    pub key_usage_critical: bool,
    /// Purposes of extKeyUsage; no extension if empty.
    pub extended_key_usage: Vec<ObjectIdentifier>,
    /// Whether extKeyUsage is critical.
    pub extended_key_usage_critical: bool,
    /// Policy identifiers; no extension if empty.
    pub policies: Vec<ObjectIdentifier>,
    /// Whether certificatePolicies is critical.
    pub policies_critical: bool,
    /// cA and pathLenConstraint.
    pub basic_constraints: Option<(bool, Option<u8>)>,
    /// Permitted subtrees; no extension if empty.
    pub name_constraints: Vec<EumConstraint>,
    /// Whether nameConstraints is critical.
    pub name_constraints_critical: bool,
    /// registeredID in subjectAltName.
    pub registered_id: Option<Oid>,
    /// Host names or IP addresses in subjectAltName.
    pub hosts: Vec<String>,
    /// URIs, each in a distribution point of its own.
    pub crl_distribution_points: Vec<String>,
    /// Further extensions, as they are.
    pub further_extensions: Vec<Extension>,
}

/// One attribute of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectAttribute {
    /// Its type.
    pub attribute: ObjectIdentifier,
    /// Its value: a PrintableString for country and serialNumber, else a UTF8String.
    pub value: String,
}

/// A CA that signs.
#[derive(Clone, Copy)]
pub struct Issuer<'a> {
    /// Gives name and key identifier.
    pub certificate: &'a Certificate,
    /// The key of that certificate.
    pub signer: &'a dyn Signer,
}

impl CertificateTemplate {
    /// A GSMA CI: self-signed, may sign certificates and CRLs.
    pub fn certificate_issuer(common_name: &str, organisation: &str, oid: Oid) -> Self {
        Self {
            subject: vec![
                SubjectAttribute::common_name(common_name),
                SubjectAttribute::organisation(organisation),
            ],
            authority_key_identifier: false,
            key_usage: Some(usage(true)),
            basic_constraints: Some((true, None)),
            registered_id: Some(oid),
            ..Self::for_role(Role::CertificateIssuer)
        }
    }

    /// An EUM that may issue for its own organisation and for EIDs that start with `eid_prefix`.
    pub fn eum(organisation: &str, common_name: &str, eid_prefix: &str, oid: Oid) -> Self {
        Self {
            subject: vec![
                SubjectAttribute::organisation(organisation),
                SubjectAttribute::common_name(common_name),
            ],
            key_usage: Some(crate::certificate::KeyUsage {
                crl_sign: false,
                ..usage(true)
            }),
            basic_constraints: Some((true, Some(0))),
            name_constraints: vec![EumConstraint {
                organisation: Some(organisation.to_owned()),
                eid_prefix: Some(eid_prefix.to_owned()),
            }],
            registered_id: Some(oid),
            ..Self::for_role(Role::Eum)
        }
    }

    /// An eUICC of that EUM. `eid` are 32 digits.
    pub fn euicc(eum_organisation: &str, eid: &str) -> Self {
        Self {
            subject: vec![
                SubjectAttribute::organisation(eum_organisation),
                SubjectAttribute::serial_number(eid),
                SubjectAttribute::common_name("eUICC"),
            ],
            ..Self::for_role(Role::Euicc)
        }
    }

    /// An SM-DP+ or SM-DS for authentication or profile binding; `role` decides.
    pub fn server(role: Role, organisation: &str, common_name: &str, oid: Oid) -> Self {
        Self {
            subject: vec![
                SubjectAttribute::organisation(organisation),
                SubjectAttribute::common_name(common_name),
            ],
            registered_id: Some(oid),
            ..Self::for_role(role)
        }
    }

    /// An SM-DP+ or SM-DS for TLS; `role` decides. The first host is the common name.
    pub fn server_tls(role: Role, organisation: &str, hosts: &[String], oid: Oid) -> Self {
        Self {
            hosts: hosts.to_vec(),
            extended_key_usage: vec![SERVER_AUTH, CLIENT_AUTH],
            // As SGP.26 has it: web libraries refuse a critical policy that they do not know.
            policies_critical: false,
            ..Self::server(
                role,
                organisation,
                hosts.first().map_or("server", String::as_str),
                oid,
            )
        }
    }

    /// An eIM for signing eUICC packages; the common name is the eimId (SGP.32 section 2.6.3).
    pub fn eim_signing(country: &str, eim_id: &str) -> Self {
        Self {
            subject: vec![
                SubjectAttribute::country(country),
                SubjectAttribute::common_name(eim_id),
            ],
            subject_key_identifier: false,
            ..Self::for_role(Role::EimSigning)
        }
    }

    /// An eIM for TLS and DTLS under these hosts.
    pub fn eim_tls(country: &str, hosts: &[String], oid: Option<Oid>) -> Self {
        let common_name = hosts.first().map_or("eim", String::as_str);
        Self {
            subject: vec![
                SubjectAttribute::country(country),
                SubjectAttribute::common_name(common_name),
            ],
            subject_key_identifier: false,
            extended_key_usage: vec![SERVER_AUTH, CLIENT_AUTH],
            registered_id: oid,
            hosts: hosts.to_vec(),
            ..Self::for_role(Role::EimTls)
        }
    }

    /// A client of TLS, such as an operator on ES2+.
    pub fn tls_client(organisation: &str, common_name: &str) -> Self {
        Self {
            subject: vec![
                SubjectAttribute::organisation(organisation),
                SubjectAttribute::common_name(common_name),
            ],
            extended_key_usage: vec![CLIENT_AUTH],
            ..Self::for_role(Role::EimTls)
        }
    }

    /// Sets the validity, both ends inclusive.
    #[must_use]
    pub fn valid(mut self, not_before: UnixTime, not_after: UnixTime) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }

    /// Sets a random serial number of 16 octets.
    #[must_use]
    pub fn random_serial<R: CryptoRng + ?Sized>(mut self, rng: &mut R) -> Self {
        let mut octets = vec![0; 16];
        rng.fill_bytes(&mut octets);
        if let Some(first) = octets.first_mut() {
            // Neither zero, which would shorten the number, nor negative.
            *first = (*first & 0x7F) | 0x40;
        }
        self.serial_number = octets;
        self
    }

    /// Issues a certificate for a key.
    pub fn issue(&self, key: &PublicKey, issuer: Issuer<'_>) -> Result<Certificate, IssueError> {
        self.issue_for_spki(key.spki_der(), issuer)
    }

    /// As [`CertificateTemplate::issue`], for any DER SubjectPublicKeyInfo, also one that this crate cannot use.
    pub fn issue_for_spki(
        &self,
        spki: &[u8],
        issuer: Issuer<'_>,
    ) -> Result<Certificate, IssueError> {
        let issuer_name = subject_of(issuer.certificate)?;
        self.build(spki, issuer_name, &issuer_key_id(issuer), issuer.signer)
    }

    /// Issues a certificate that is signed with its own key.
    pub fn self_sign(&self, signer: &dyn Signer) -> Result<Certificate, IssueError> {
        let key = signer.public_key();
        self.build(
            key.spki_der(),
            name(&self.subject)?,
            &key.key_identifier(),
            signer,
        )
    }

    fn for_role(role: Role) -> Self {
        Self {
            subject: Vec::new(),
            serial_number: vec![1],
            not_before: UnixTime(0),
            not_after: UnixTime(FAR_FUTURE),
            subject_key_identifier: true,
            authority_key_identifier: true,
            key_usage: Some(usage(false)),
            key_usage_critical: true,
            extended_key_usage: Vec::new(),
            extended_key_usage_critical: true,
            policies: role.policy().into_iter().collect(),
            policies_critical: true,
            basic_constraints: None,
            name_constraints: Vec::new(),
            name_constraints_critical: true,
            registered_id: None,
            hosts: Vec::new(),
            crl_distribution_points: Vec::new(),
            further_extensions: Vec::new(),
        }
    }

    fn build(
        &self,
        spki: &[u8],
        issuer: Name,
        issuer_key_id: &[u8],
        signer: &dyn Signer,
    ) -> Result<Certificate, IssueError> {
        let profile = FromTemplate {
            subject: name(&self.subject)?,
            issuer,
            extensions: self.extensions(spki, issuer_key_id)?,
        };
        let builder = CertificateBuilder::new(
            profile,
            serial_number(&self.serial_number)?,
            Validity::new(time(self.not_before)?, time(self.not_after)?),
            SubjectPublicKeyInfo::from_der(spki)?,
        )?;
        let built = builder.build::<_, X509Signature>(&BuilderSigner(signer))?;
        Ok(Certificate::from_der(&built.to_der()?)?)
    }

    fn extensions(&self, spki: &[u8], issuer_key_id: &[u8]) -> Result<Vec<Extension>, IssueError> {
        let mut list = ExtensionList(Vec::new());
        if self.authority_key_identifier {
            let key_identifier = Some(der::asn1::OctetString::new(issuer_key_id)?);
            list.push(
                false,
                &AuthorityKeyIdentifier {
                    key_identifier,
                    ..Default::default()
                },
            )?;
        }
        if self.subject_key_identifier {
            list.push(
                false,
                &SubjectKeyIdentifier::try_from(SubjectPublicKeyInfoRef::from_der(spki)?)?,
            )?;
        }
        if let Some(usage) = self.key_usage {
            list.push(self.key_usage_critical, &key_usage(usage))?;
        }
        if !self.policies.is_empty() {
            list.push(self.policies_critical, &policies(&self.policies))?;
        }
        if !self.extended_key_usage.is_empty() {
            list.push(
                self.extended_key_usage_critical,
                &ExtendedKeyUsage(self.extended_key_usage.clone()),
            )?;
        }
        if let Some((ca, path_len_constraint)) = self.basic_constraints {
            list.push(
                true,
                &BasicConstraints {
                    ca,
                    path_len_constraint,
                },
            )?;
        }
        if !self.name_constraints.is_empty() {
            list.push(
                self.name_constraints_critical,
                &name_constraints(&self.name_constraints)?,
            )?;
        }
        let names = alternative_names(&self.hosts, self.registered_id.as_ref())?;
        if !names.is_empty() {
            let extension =
                (SubjectAltName::OID, false, &names).to_extension(&Name::default(), &list.0)?;
            list.0.push(extension);
        }
        if !self.crl_distribution_points.is_empty() {
            list.push(false, &distribution_points(&self.crl_distribution_points)?)?;
        }
        list.0.extend(self.further_extensions.iter().cloned());
        Ok(list.0)
    }
}

impl SubjectAttribute {
    /// commonName.
    pub fn common_name(value: &str) -> Self {
        Self {
            attribute: ObjectIdentifier::new_unwrap("2.5.4.3"),
            value: value.to_owned(),
        }
    }

    /// organizationName.
    pub fn organisation(value: &str) -> Self {
        Self {
            attribute: ObjectIdentifier::new_unwrap("2.5.4.10"),
            value: value.to_owned(),
        }
    }

    /// countryName, two letters.
    pub fn country(value: &str) -> Self {
        Self {
            attribute: COUNTRY,
            value: value.to_owned(),
        }
    }

    /// serialNumber.
    pub fn serial_number(value: &str) -> Self {
        Self {
            attribute: SERIAL_NUMBER,
            value: value.to_owned(),
        }
    }

    fn to_x509(&self) -> Result<AttributeTypeAndValue, IssueError> {
        let value = match self.attribute {
            COUNTRY | SERIAL_NUMBER => Any::encode_from(&PrintableString::new(&self.value)?)?,
            _ => Any::encode_from(&self.value)?,
        };
        Ok(AttributeTypeAndValue {
            oid: self.attribute,
            value,
        })
    }
}

const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");

/// 9999-12-31T23:59:59Z: "no end" (RFC 5280 section 4.1.2.5).
const FAR_FUTURE: i64 = 253_402_300_799;

const fn usage(ca: bool) -> crate::certificate::KeyUsage {
    crate::certificate::KeyUsage {
        digital_signature: !ca,
        key_agreement: false,
        key_cert_sign: ca,
        crl_sign: ca,
    }
}

fn key_usage(usage: crate::certificate::KeyUsage) -> KeyUsage {
    let bits = [
        (usage.digital_signature, KeyUsages::DigitalSignature),
        (usage.key_agreement, KeyUsages::KeyAgreement),
        (usage.key_cert_sign, KeyUsages::KeyCertSign),
        (usage.crl_sign, KeyUsages::CRLSign),
    ];
    let mut set = der::flagset::FlagSet::default();
    for (_, bit) in bits.into_iter().filter(|(wanted, _)| *wanted) {
        set |= bit;
    }
    KeyUsage(set)
}

fn policies(identifiers: &[ObjectIdentifier]) -> CertificatePolicies {
    let information = |identifier: &ObjectIdentifier| PolicyInformation {
        policy_identifier: *identifier,
        policy_qualifiers: None,
    };
    CertificatePolicies(identifiers.iter().map(information).collect())
}

fn name_constraints(constraints: &[EumConstraint]) -> Result<NameConstraints, IssueError> {
    let subtree = |constraint: &EumConstraint| {
        let organisation = constraint
            .organisation
            .as_deref()
            .map(SubjectAttribute::organisation);
        let prefix = constraint
            .eid_prefix
            .as_deref()
            .map(SubjectAttribute::serial_number);
        let attributes: Vec<_> = organisation.into_iter().chain(prefix).collect();
        Ok(GeneralSubtree {
            base: GeneralName::DirectoryName(name(&attributes)?),
            minimum: 0,
            maximum: None,
        })
    };
    let permitted = constraints
        .iter()
        .map(subtree)
        .collect::<Result<Vec<_>, IssueError>>()?;
    Ok(NameConstraints {
        permitted_subtrees: Some(permitted),
        excluded_subtrees: None,
    })
}

fn alternative_names(hosts: &[String], oid: Option<&Oid>) -> Result<Vec<Any>, IssueError> {
    let mut names = Vec::new();
    for host in hosts {
        names.push(match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Any::new(SAN_IP_ADDRESS, address.octets())?,
            Ok(IpAddr::V6(address)) => Any::new(SAN_IP_ADDRESS, address.octets())?,
            Err(_) => Any::new(SAN_DNS_NAME, Ia5String::new(host)?.as_bytes())?,
        });
    }
    if let Some(oid) = oid {
        names.push(Any::new(SAN_REGISTERED_ID, oid.content())?);
    }
    Ok(names)
}

/// subjectAltName [7] iPAddress.
const SAN_IP_ADDRESS: Tag = Tag::ContextSpecific {
    constructed: false,
    number: TagNumber(7),
};

fn distribution_points(uris: &[String]) -> Result<CrlDistributionPoints, IssueError> {
    let point = |uri: &String| {
        let name = GeneralName::UniformResourceIdentifier(Ia5String::new(uri)?);
        let distribution_point = Some(DistributionPointName::FullName(vec![name]));
        Ok(DistributionPoint {
            distribution_point,
            reasons: None,
            crl_issuer: None,
        })
    };
    Ok(CrlDistributionPoints(
        uris.iter().map(point).collect::<Result<_, IssueError>>()?,
    ))
}

/// One attribute in each RelativeDistinguishedName.
fn name(attributes: &[SubjectAttribute]) -> Result<Name, IssueError> {
    let mut sequence = Vec::new();
    for attribute in attributes {
        sequence.push(SetOfVec::try_from(vec![attribute.to_x509()?])?);
    }
    Ok(Name::from_der(&sequence.to_der()?)?)
}

/// What authorityKeyIdentifier says in everything that this issuer signs.
pub(super) fn issuer_key_id(issuer: Issuer<'_>) -> Vec<u8> {
    match issuer.certificate.subject_key_identifier() {
        Some(key_id) => key_id.to_vec(),
        None => issuer.signer.public_key().key_identifier().to_vec(),
    }
}

pub(super) fn subject_of(certificate: &Certificate) -> Result<Name, IssueError> {
    Ok(x509_cert::Certificate::from_der(certificate.der())?
        .tbs_certificate()
        .subject()
        .clone())
}

pub(super) fn serial_number(octets: &[u8]) -> Result<SerialNumber, IssueError> {
    Ok(SerialNumber::new(match octets.is_empty() {
        true => &[1],
        false => octets,
    })?)
}

pub(super) fn time(time: UnixTime) -> Result<Time, IssueError> {
    time.to_x509().ok_or(IssueError::Date(time))
}

struct ExtensionList(Vec<Extension>);

impl ExtensionList {
    fn push<T: AssociatedOid + Encode>(
        &mut self,
        critical: bool,
        value: &T,
    ) -> Result<(), IssueError> {
        let extension = (critical, value).to_extension(&Name::default(), &self.0)?;
        self.0.push(extension);
        Ok(())
    }
}
