//! Templates of SGP.22 v3: sub-CAs, and the longer policies (SGP.26 v3, variants Ov3, A, B and C).

use der::Encode;
use der::asn1::{OctetString, PrintableString};
use rsp::der::Oid;
use x509_cert::ext::Extension;

use super::{CertificateTemplate, SubjectAttribute, usage};
use crate::certificate::{EumConstraint, PERMITTED_EINS, Role};
use crate::issue::IssueError;

impl CertificateTemplate {
    /// A sub-CA of a GSMA CI: may sign certificates and CRLs, without a limit of depth.
    pub fn ci_sub_ca(common_name: &str, organisation: &str, oid: Oid) -> Self {
        Self {
            policies_critical: true,
            basic_constraints: Some((true, None)),
            ..Self::sub_ca(Role::CiSubCa, common_name, organisation, oid)
        }
    }

    /// The sub-CA of a provider of SM-DP+ or SM-DS; `role` is [`Role::SmDpSubCa`] or [`Role::SmDsSubCa`].
    pub fn server_sub_ca(role: Role, common_name: &str, organisation: &str, oid: Oid) -> Self {
        Self::sub_ca(role, common_name, organisation, oid)
    }

    /// An EUM of SGP.22 v3: one sub-CA may stand below it, and the first digits of EIDs (the EINs) are in an extension of their
    /// own. Fails if an EIN is not a PrintableString.
    pub fn eum_v3(
        organisation: &str,
        common_name: &str,
        eins: &[&str],
        oid: Oid,
    ) -> Result<Self, IssueError> {
        let mut template = Self::eum(organisation, common_name, "", oid).version_3();
        template.basic_constraints = Some((true, Some(1)));
        template.name_constraints = vec![EumConstraint {
            organisation: Some(organisation.to_owned()),
            eid_prefix: None,
        }];
        template.further_extensions = vec![permitted_eins(eins)?];
        Ok(template)
    }

    /// The sub-CA of an EUM of that organisation: may sign eUICC certificates only.
    pub fn eum_sub_ca(organisation: &str, common_name: &str, oid: Oid) -> Self {
        let mut template = Self::sub_ca(Role::EumSubCa, common_name, organisation, oid);
        template.subject.rotate_left(1); // organisation first, as in the EUM and eUICC certificates
        template.key_usage = Some(crate::certificate::KeyUsage {
            crl_sign: false,
            ..usage(true)
        });
        template
    }

    /// Replaces policies of SGP.22 v2 by those of v3 for the same role; others stay.
    #[must_use]
    pub fn version_3(mut self) -> Self {
        for policy in &mut self.policies {
            let newer = Role::from_policy(policy).and_then(Role::policy_v3);
            *policy = newer.unwrap_or(*policy);
        }
        self
    }

    fn sub_ca(role: Role, common_name: &str, organisation: &str, oid: Oid) -> Self {
        Self {
            subject: vec![
                SubjectAttribute::common_name(common_name),
                SubjectAttribute::organisation(organisation),
            ],
            key_usage: Some(usage(true)),
            policies_critical: false,
            basic_constraints: Some((true, Some(0))),
            registered_id: Some(oid),
            ..Self::for_role(role)
        }
    }
}

/// permittedEins (SGP.22 v3 section 4.5.2.1.0.2).
fn permitted_eins(eins: &[&str]) -> Result<Extension, IssueError> {
    let eins = eins
        .iter()
        .map(|ein| PrintableString::new(*ein))
        .collect::<der::Result<Vec<_>>>()?;
    Ok(Extension {
        extn_id: PERMITTED_EINS,
        critical: false,
        extn_value: OctetString::new(eins.to_der()?)?,
    })
}
