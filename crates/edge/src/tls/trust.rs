use rustls_pki_types::CertificateDer;

/// Which server a client accepts. In all cases the server must prove that it holds the private key.
#[derive(Debug, Clone)]
pub enum Trust {
    /// A chain to one of these roots; validity and host name are checked.
    Roots(Vec<CertificateDer<'static>>),
    /// A chain to this certification authority; validity and host name are checked.
    CaCertificate(CertificateDer<'static>),
    /// Exactly this certificate, within its validity. The host name does not matter.
    PinnedCertificate(CertificateDer<'static>),
    /// Any certificate with exactly this SubjectPublicKeyInfo (DER). Names and validity do not matter.
    PinnedSpki(Vec<u8>),
}

impl Trust {
    /// [`Trust::Roots`] from DER certificates.
    pub fn roots(roots: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::Roots(roots.into_iter().map(CertificateDer::from).collect())
    }
}
