//! Templates of CRLs.

use der::Encode;
use der::asn1::{BitString, OctetString, Uint};
use x509_cert::certificate::{Rfc5280, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::ToExtension;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::ext::pkix::crl::CrlNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::IssueError;
use super::template::{Issuer, issuer_key_id, serial_number, subject_of, time};
use crate::crl::Crl;
use crate::curve::ECDSA_WITH_SHA256;
use crate::time::UnixTime;

/// What goes into a CRL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlTemplate {
    /// cRLNumber.
    pub number: u64,
    /// thisUpdate, also the date of each revocation.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: Option<UnixTime>,
    /// Serial number content octets, as [`crate::Certificate::serial_number`] gives them.
    pub revoked: Vec<Vec<u8>>,
}

impl CrlTemplate {
    /// Issues the CRL.
    ///
    /// The list is put together here and not by the library's builder, which would name the issuer of the issuer in
    /// authorityKeyIdentifier; RFC 5280 section 5.2.1 wants the key that signs the CRL.
    pub fn issue(&self, issuer: Issuer<'_>) -> Result<Crl, IssueError> {
        let name = subject_of(issuer.certificate)?;
        let this_update = time(self.this_update)?;
        let revoked = self.revoked.iter().map(|serial| {
            Ok(RevokedCert {
                serial_number: serial_number(serial)?,
                revocation_date: this_update,
                crl_entry_extensions: None,
            })
        });
        let revoked = revoked.collect::<Result<Vec<RevokedCert>, IssueError>>()?;
        let number = CrlNumber(Uint::new(&self.number.to_be_bytes())?);
        let key_id = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(issuer_key_id(issuer))?),
            ..Default::default()
        };
        let mut extensions = vec![number.to_extension(&name, &[])?];
        extensions.push(key_id.to_extension(&name, &extensions)?);
        let algorithm = AlgorithmIdentifierOwned {
            oid: ECDSA_WITH_SHA256,
            parameters: None,
        };
        let tbs_cert_list = TbsCertList::<Rfc5280> {
            version: Version::V2,
            signature: algorithm.clone(),
            issuer: name,
            this_update,
            next_update: self.next_update.map(time).transpose()?,
            // Absent, not empty, when nothing is revoked (RFC 5280 section 5.1.2.6).
            revoked_certificates: Some(revoked).filter(|revoked| !revoked.is_empty()),
            crl_extensions: Some(extensions),
        };
        let signature = issuer.signer.sign(&tbs_cert_list.to_der()?)?;
        let signature = signature
            .to_der()
            .ok_or_else(|| der::Error::from(der::ErrorKind::Failed))?;
        let list = CertificateList {
            tbs_cert_list,
            signature_algorithm: algorithm,
            signature: BitString::from_bytes(&signature)?,
        };
        Ok(Crl::from_der(&list.to_der()?)?)
    }
}
