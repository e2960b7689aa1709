//! The chains with sub-CAs of SGP.26 v3, under any CI.

use rand_core::CryptoRng;

use super::{Credential, Maker, TestPkiOptions, example_oid};
use crate::certificate::{Certificate, Role};
use crate::issue::{CertificateTemplate, IssueError};
use crate::private_key::Signer;

/// Where SGP.26 v3 puts sub-CAs. Variants O and Ov3 have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Below the EUM and the provider of servers.
    A,
    /// Below the CI.
    B,
    /// Both.
    C,
}

/// What a CI issued through sub-CAs, with the policies of SGP.22 v3.
#[derive(Clone, Debug)]
pub struct VariantPki {
    /// Below the CI; issues EUM and servers (B and C).
    pub ci_sub_ca: Option<Credential>,
    /// The eUICC manufacturer.
    pub eum: Credential,
    /// Issues the eUICCs (A and C).
    pub eum_sub_ca: Option<Credential>,
    /// Issues the two below (A and C).
    pub smdp_sub_ca: Option<Credential>,
    /// SM-DP+ authentication.
    pub smdp_auth: Credential,
    /// SM-DP+ profile binding.
    pub smdp_pb: Credential,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];
}

impl VariantPki {
    /// Issues a set under `ci`, on its curve. From `options` it takes validity, organisations, EID prefix and OID of the SM-DP+.
    pub fn new<R: CryptoRng + ?Sized>(
        rng: &mut R,
        variant: Variant,
        ci: &Credential,
        options: &TestPkiOptions,
    ) -> Result<Self, IssueError> {
        let curve = ci.key.public_key().curve();
        let mut maker = Maker { rng, options };
        let (organisation, eum_organisation) = (&options.organisation, &options.eum_organisation);

        let ci_sub_ca = CertificateTemplate::ci_sub_ca("CI sub-CA", organisation, example_oid(2));
        let ci_sub_ca = match variant {
            Variant::A => None,
            Variant::B | Variant::C => Some(maker.long_lived(ci_sub_ca, curve, ci)?),
        };
        let top = ci_sub_ca.as_ref().unwrap_or(ci);
        let eins = [options.eid_prefix.as_str()];
        let eum = CertificateTemplate::eum_v3(eum_organisation, "EUM", &eins, example_oid(5))?;
        let eum = maker.long_lived(eum, curve, top)?;

        let has_sub_cas_below = variant != Variant::B;
        let eum_sub_ca =
            CertificateTemplate::eum_sub_ca(eum_organisation, "EUM sub-CA", example_oid(6));
        let eum_sub_ca = match has_sub_cas_below {
            true => Some(maker.long_lived(eum_sub_ca, curve, &eum)?),
            false => None,
        };
        let smdp_sub_ca = CertificateTemplate::server_sub_ca(
            Role::SmDpSubCa,
            "SM-DP+ sub-CA",
            organisation,
            example_oid(11),
        );
        let smdp_sub_ca = match has_sub_cas_below {
            true => Some(maker.long_lived(smdp_sub_ca, curve, top)?),
            false => None,
        };
        let mut server = |role| {
            let oid = options.smdp_oid.clone();
            let template = CertificateTemplate::server(role, organisation, "SM-DP+", oid);
            maker.leaf(
                template.version_3(),
                curve,
                smdp_sub_ca.as_ref().unwrap_or(top),
            )
        };
        Ok(Self {
            smdp_auth: server(Role::SmDpAuth)?,
            smdp_pb: server(Role::SmDpPb)?,
            ci_sub_ca,
            eum,
            eum_sub_ca,
            smdp_sub_ca,
        })
    }

    /// Makes an eUICC. `eid` are 32 digits.
    pub fn issue_euicc<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        eid: &str,
    ) -> Result<Credential, IssueError> {
        let issuer = self.eum_sub_ca.as_ref().unwrap_or(&self.eum);
        super::issue_euicc(rng, issuer, eid, CertificateTemplate::version_3)
    }

    /// What stands between an eUICC and the CI besides the EUM, the nearest first.
    pub fn euicc_sub_cas(&self) -> Vec<Certificate> {
        certificates([&self.eum_sub_ca, &self.ci_sub_ca])
    }

    /// What stands between the SM-DP+ and the CI, the nearest first.
    pub fn smdp_sub_cas(&self) -> Vec<Certificate> {
        certificates([&self.smdp_sub_ca, &self.ci_sub_ca])
    }
}

fn certificates(credentials: [&Option<Credential>; 2]) -> Vec<Certificate> {
    let present = credentials.into_iter().flatten();
    present
        .map(|credential| credential.certificate.clone())
        .collect()
}
