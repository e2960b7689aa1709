//! The extensions that eSIM certificates carry.

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{Any, AnyRef, Ia5StringRef, PrintableStringRef};
use der::{Decode, Tag, TagNumber, Tagged};
use rsp::der::Oid;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::{DirectoryString, DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, CrlDistributionPoints,
    ExtendedKeyUsage, KeyUsage as X509KeyUsage, NameConstraints, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;

use super::{CertificateError, EumConstraint, Extension, KeyUsage};

#[derive(Default)]
pub(super) struct Extensions {
    pub(super) subject_key_identifier: Option<Vec<u8>>,
    pub(super) authority_key_identifier: Option<Vec<u8>>,
    pub(super) policies: Vec<ObjectIdentifier>,
    pub(super) key_usage: Option<Extension<KeyUsage>>,
    pub(super) extended_key_usage: Option<Extension<Vec<ObjectIdentifier>>>,
    /// cA, pathLenConstraint.
    pub(super) basic_constraints: Option<Extension<(bool, Option<u8>)>>,
    pub(super) name_constraints: Option<Extension<Vec<EumConstraint>>>,
    pub(super) permitted_eins: Vec<String>,
    pub(super) registered_id: Option<Oid>,
    pub(super) dns_names: Vec<String>,
    pub(super) crl_uris: Vec<String>,
    pub(super) unknown_critical: Vec<ObjectIdentifier>,
}

impl Extensions {
    pub(super) fn from_x509(
        extensions: &[x509_cert::ext::Extension],
    ) -> Result<Self, CertificateError> {
        let mut this = Self::default();
        for (index, extension) in extensions.iter().enumerate() {
            if extensions
                .iter()
                .take(index)
                .any(|earlier| earlier.extn_id == extension.extn_id)
            {
                return Err(CertificateError::RepeatedExtension {
                    extension: extension.extn_id,
                });
            }
            this.take(extension)
                .map_err(|_| CertificateError::MalformedExtension {
                    extension: extension.extn_id,
                })?;
        }
        Ok(this)
    }

    fn take(&mut self, extension: &x509_cert::ext::Extension) -> der::Result<()> {
        let critical = extension.critical;
        let content = extension.extn_value.as_bytes();
        match extension.extn_id {
            SubjectKeyIdentifier::OID => {
                self.subject_key_identifier = Some(
                    SubjectKeyIdentifier::from_der(content)?
                        .0
                        .into_bytes()
                        .into(),
                );
            }
            AuthorityKeyIdentifier::OID => {
                let identifier = AuthorityKeyIdentifier::from_der(content)?.key_identifier;
                self.authority_key_identifier = identifier.map(|octets| octets.into_bytes().into());
            }
            CertificatePolicies::OID => {
                let policies = CertificatePolicies::from_der(content)?.0;
                self.policies = policies
                    .into_iter()
                    .map(|policy| policy.policy_identifier)
                    .collect();
            }
            X509KeyUsage::OID => {
                let usage = X509KeyUsage::from_der(content)?;
                self.key_usage = Some(Extension {
                    critical,
                    value: KeyUsage {
                        digital_signature: usage.digital_signature(),
                        key_agreement: usage.key_agreement(),
                        key_cert_sign: usage.key_cert_sign(),
                        crl_sign: usage.crl_sign(),
                    },
                });
            }
            ExtendedKeyUsage::OID => {
                let value = ExtendedKeyUsage::from_der(content)?.0;
                self.extended_key_usage = Some(Extension { critical, value });
            }
            BasicConstraints::OID => {
                let constraints = BasicConstraints::from_der(content)?;
                let value = (constraints.ca, constraints.path_len_constraint);
                self.basic_constraints = Some(Extension { critical, value });
            }
            NameConstraints::OID => match eum_constraints(NameConstraints::from_der(content)?) {
                Some(value) => self.name_constraints = Some(Extension { critical, value }),
                None if critical => self.unknown_critical.push(extension.extn_id),
                None => {}
            },
            SubjectAltName::OID => {
                // Read element by element: the typed GeneralName knows no registeredID under 2.40 and above, such as 2.999.
                self.take_alternative_names(&Vec::<AnyRef<'_>>::from_der(content)?)?;
            }
            CrlDistributionPoints::OID => {
                self.crl_uris = distribution_uris(CrlDistributionPoints::from_der(content)?);
            }
            PERMITTED_EINS => {
                let eins = Vec::<PrintableStringRef<'_>>::from_der(content)?;
                self.permitted_eins = eins.iter().map(|ein| ein.as_str().to_owned()).collect();
            }
            other if critical => self.unknown_critical.push(other),
            _ => {}
        }
        Ok(())
    }

    fn take_alternative_names(&mut self, names: &[AnyRef<'_>]) -> der::Result<()> {
        let mut registered = Vec::new();
        for name in names {
            match name.tag() {
                SAN_REGISTERED_ID => {
                    registered.push(
                        Oid::from_content(name.value()).map_err(|_| name.tag().value_error())?,
                    );
                }
                SAN_DNS_NAME => {
                    let host = Ia5StringRef::new(name.value())?;
                    self.dns_names.push(host.as_str().to_owned());
                }
                _ => {}
            }
        }
        // Two of them would leave open whose certificate it is, so neither counts.
        if registered.len() == 1 {
            self.registered_id = registered.pop();
        }
        Ok(())
    }
}

/// `None` if the constraints go beyond what SGP.22 defines, and so cannot be honoured.
fn eum_constraints(constraints: NameConstraints) -> Option<Vec<EumConstraint>> {
    if constraints
        .excluded_subtrees
        .is_some_and(|excluded| !excluded.is_empty())
    {
        return None;
    }
    constraints
        .permitted_subtrees
        .unwrap_or_default()
        .into_iter()
        .map(eum_constraint)
        .collect()
}

fn eum_constraint(subtree: GeneralSubtree) -> Option<EumConstraint> {
    if subtree.minimum != 0 || subtree.maximum.is_some() {
        return None;
    }
    let GeneralName::DirectoryName(name) = subtree.base else {
        return None;
    };
    if name
        .iter()
        .any(|attribute| attribute.oid != ORGANISATION && attribute.oid != SERIAL_NUMBER)
    {
        return None;
    }
    Some(EumConstraint {
        organisation: unique_attribute(&name, ORGANISATION).ok()?,
        eid_prefix: unique_attribute(&name, SERIAL_NUMBER).ok()?,
    })
}

fn distribution_uris(points: CrlDistributionPoints) -> Vec<String> {
    let names = points
        .0
        .into_iter()
        .filter_map(|point| match point.distribution_point {
            Some(DistributionPointName::FullName(names)) => Some(names),
            _ => None,
        });
    names
        .flatten()
        .filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
            _ => None,
        })
        .collect()
}

pub(super) fn unique_attribute(
    name: &Name,
    attribute: ObjectIdentifier,
) -> Result<Option<String>, CertificateError> {
    let mut values = name
        .iter()
        .filter(|found| found.oid == attribute)
        .map(|found| text(&found.value));
    let first = values.next();
    match values.next() {
        Some(_) => Err(CertificateError::RepeatedAttribute { attribute }),
        None => Ok(first.flatten()),
    }
}

fn text(value: &Any) -> Option<String> {
    DirectoryString::try_from(value).ok().map(String::from)
}

/// subjectAltName [2] dNSName and [8] registeredID (RFC 5280 section 4.2.1.6).
pub(crate) const SAN_DNS_NAME: Tag = Tag::ContextSpecific {
    constructed: false,
    number: TagNumber(2),
};
pub(crate) const SAN_REGISTERED_ID: Tag = Tag::ContextSpecific {
    constructed: false,
    number: TagNumber(8),
};

pub(super) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
pub(super) const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
pub(super) const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// id-rsp-expt permittedEins (SGP.22 v3 section 4.5.2.1.0.2).
pub(crate) const PERMITTED_EINS: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.23.146.1.2.2.0");
