//! The private PKI of a demo: a good one, and what an attacker would come with.

use std::path::Path;

use anyhow::Context;
use edge::tls::Identity;
use pki::issue::{CertificateTemplate, Credential, CrlTemplate, TestPki, TestPkiOptions};
use pki::{Crl, Curve, Oid, PrivateKey, Signer, TrustAnchors, UnixTime};
use rsp::ids::Eid;

use crate::adapters::{SystemClock, SystemEntropy};

pub(super) const SMDP: &str = "smdp.example.com";
pub(super) const EIM: &str = "eim.example.com";
pub(super) const SECOND_EIM: &str = "eim2.example.com";
/// OID of the SM-DP+, in its certificates.
pub(super) const SMDP_OID: &str = "2.999.10";

/// All certificates and keys.
#[derive(Debug)]
pub(super) struct Pki {
    /// What everybody trusts.
    pub(super) main: TestPki,
    /// The CRL of its CI, with [`Pki::revoked_eum`] on it.
    pub(super) crl: Crl,
    /// TLS of a second eIM.
    pub(super) second_eim_tls: Credential,
    /// Signing key of a second eIM.
    pub(super) second_eim_key: PrivateKey,
    /// A manufacturer whose certificate was revoked.
    pub(super) revoked_eum: Credential,
    /// A TLS certificate of the SM-DP+ that ran out.
    pub(super) expired_smdp_tls: Credential,
    /// A TLS certificate of the eIM that ran out.
    pub(super) expired_eim_tls: Credential,
    /// A whole PKI that nobody here trusts, with the same names.
    pub(super) unknown: TestPki,
    now: UnixTime,
}

impl Pki {
    pub(super) fn new() -> anyhow::Result<Self> {
        let now = SystemClock.unix_time();
        let rng = &mut SystemEntropy;
        let options = TestPkiOptions::new(now.plus_days(-2));
        let main = TestPki::new(rng, Curve::P256, &options).context("no PKI")?;
        let unknown = TestPki::new(rng, Curve::P256, &options).context("no second PKI")?;
        let good = (now.plus_days(-1), now.plus_days(365));
        let over = (now.plus_days(-2), now.plus_days(-1));
        let eum =
            CertificateTemplate::eum("Revoked EUM", "Revoked EUM", "89049033", oid("2.999.6")?);
        let revoked_eum = issue(eum, good, &main.ci)?;
        let smdp = |validity| {
            let hosts = [SMDP.to_owned()];
            let template = CertificateTemplate::server_tls(
                pki::Role::SmDpTls,
                "Palisade Test",
                &hosts,
                oid(SMDP_OID)?,
            );
            issue(template, validity, &main.tls_ca)
        };
        let eim = |host: &str, validity| {
            let hosts = [host.to_owned()];
            issue(
                CertificateTemplate::eim_tls("DE", &hosts, Some(oid("2.999.20")?)),
                validity,
                &main.tls_ca,
            )
        };
        let crl = CrlTemplate {
            number: 2,
            this_update: now.plus_days(-1),
            next_update: Some(now.plus_days(30)),
            revoked: vec![revoked_eum.certificate.serial_number().to_vec()],
        };
        Ok(Self {
            crl: crl.issue(main.ci.issuer())?,
            second_eim_tls: eim(SECOND_EIM, good)?,
            second_eim_key: PrivateKey::generate(Curve::P256, rng)?,
            expired_smdp_tls: smdp(over)?,
            expired_eim_tls: eim(EIM, over)?,
            revoked_eum,
            main,
            unknown,
            now,
        })
    }

    /// Keeps the good part in files.
    pub(super) fn write_to(&self, folder: &Path) -> anyhow::Result<()> {
        self.main
            .write_to(folder)
            .context("the PKI could not be written")
    }

    /// The CI with its CRL, for servers.
    pub(super) fn trust_anchors(&self) -> anyhow::Result<TrustAnchors> {
        let mut anchors = self.main.trust_anchors()?;
        anchors.add_crl(self.crl.clone())?;
        Ok(anchors)
    }

    /// The root of TLS servers, DER.
    pub(super) fn tls_root(&self) -> Vec<u8> {
        self.main.tls_ca.certificate.der().to_vec()
    }

    /// A good eUICC.
    pub(super) fn euicc(&self, eid: Eid) -> anyhow::Result<Credential> {
        Ok(self
            .main
            .issue_euicc(&mut SystemEntropy, &eid.to_string())?)
    }

    /// An eUICC whose certificate ran out. Its chain is good otherwise.
    pub(super) fn expired_euicc(&self, eid: Eid) -> anyhow::Result<Credential> {
        let validity = (self.now.plus_days(-2), self.now.plus_days(-1));
        self.euicc_of(&self.main.eum, eid, validity)
    }

    /// An eUICC of the manufacturer whose certificate was revoked.
    pub(super) fn revoked_euicc(&self, eid: Eid) -> anyhow::Result<Credential> {
        self.euicc_of(
            &self.revoked_eum,
            eid,
            (self.now.plus_days(-1), self.now.plus_days(365)),
        )
    }

    fn euicc_of(
        &self,
        eum: &Credential,
        eid: Eid,
        validity: Validity,
    ) -> anyhow::Result<Credential> {
        let organisation = eum.certificate.organisation().unwrap_or_default();
        issue(
            CertificateTemplate::euicc(organisation, &eid.to_string()),
            validity,
            eum,
        )
    }
}

/// Chain and key of a TLS server.
pub(super) fn tls_identity(credential: &Credential) -> anyhow::Result<Identity> {
    let key = credential.key.to_pkcs8_der()?;
    Ok(Identity::from_der(
        vec![credential.certificate.der().to_vec()],
        key.as_bytes().to_vec(),
    )?)
}

/// A certificate as messages carry it.
pub(super) fn wire(certificate: &pki::Certificate) -> anyhow::Result<rsp::sgp22::Certificate> {
    Ok(rsp::sgp22::Certificate::from_der_bytes(
        certificate.der().to_vec(),
    )?)
}

/// A signature as messages carry it, over the concatenation of the parts.
pub(super) fn signature(
    key: &PrivateKey,
    parts: &[&[u8]],
) -> anyhow::Result<rsp::sgp22::Signature> {
    let signature = key.sign_parts(parts)?;
    Ok(rsp::sgp22::Signature(
        signature.as_bytes().as_slice().into(),
    ))
}

/// The `number`-th EID of a manufacturer.
pub(super) fn eid(prefix: &str, number: u32) -> anyhow::Result<Eid> {
    let digits = 30_usize.saturating_sub(prefix.len());
    Ok(Eid::with_check_digits(&format!(
        "{prefix}{number:0digits$}"
    ))?)
}

/// First digits of the EIDs of the good manufacturer.
pub(super) const EID_PREFIX: &str = "89049032";
/// First digits of the EIDs of the one whose certificate was revoked.
pub(super) const REVOKED_EID_PREFIX: &str = "89049033";

type Validity = (UnixTime, UnixTime);

fn issue(
    template: CertificateTemplate,
    (not_before, not_after): Validity,
    issuer: &Credential,
) -> anyhow::Result<Credential> {
    let rng = &mut SystemEntropy;
    let key = PrivateKey::generate(Curve::P256, rng)?;
    let certificate = template
        .valid(not_before, not_after)
        .random_serial(rng)
        .issue(key.public_key(), issuer.issuer())?;
    Ok(Credential { certificate, key })
}

pub(super) fn oid(dotted: &str) -> anyhow::Result<Oid> {
    Ok(Oid::from_dotted(dotted)?)
}
