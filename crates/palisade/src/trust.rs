//! Folders of certificates and revocation lists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pki::{Certificate, Crl, Role, TrustAnchors};

/// Reads one certificate, DER or PEM.
pub(crate) fn read_certificate(path: &Path) -> anyhow::Result<Certificate> {
    let octets = read(path)?;
    parse_certificate(&octets)
        .with_context(|| format!("{} holds no certificate that can be read", path.display()))
}

/// Parses one certificate, DER or PEM.
pub(crate) fn parse_certificate(octets: &[u8]) -> anyhow::Result<Certificate> {
    match std::str::from_utf8(octets) {
        Ok(text) if text.contains("-----BEGIN") => Ok(Certificate::from_pem(text)?),
        _ => Ok(Certificate::from_der(octets)?),
    }
}

/// Reads a certificate chain: the PEM blocks of a file in their order, or one DER certificate.
pub(crate) fn read_chain(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let octets = read(path)?;
    let chain = match std::str::from_utf8(&octets) {
        Ok(text) if text.contains(PEM_END) => blocks(text)
            .map(|block| Ok(Certificate::from_pem(block)?))
            .collect(),
        _ => parse_certificate(&octets).map(|certificate| vec![certificate]),
    };
    chain.with_context(|| {
        format!(
            "{} holds no certificate chain that can be read",
            path.display()
        )
    })
}

/// Roots for TLS from a file of PEM, as operating systems have it, of which what cannot be used is left out; or from one DER certificate.
pub(crate) fn read_bundle(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let octets = read(path)?;
    let roots: Vec<Vec<u8>> = blocks(&String::from_utf8_lossy(&octets))
        .filter_map(|block| Certificate::from_pem(block).ok())
        .map(|certificate| certificate.der().to_vec())
        .collect();
    match roots.is_empty() {
        true => Ok(vec![parse_certificate(&octets)?.der().to_vec()]),
        false => Ok(roots),
    }
}

const PEM_END: &str = "-----END CERTIFICATE-----";

fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(PEM_END)
        .filter(|block| block.contains(PEM_END))
}

/// Reads one DER CRL.
pub(crate) fn read_crl(path: &Path) -> anyhow::Result<Crl> {
    Crl::from_der(&read(path)?)
        .with_context(|| format!("{} holds no CRL that can be read", path.display()))
}

/// Trust anchors from files and folders: CI certificates, those of sub-CAs and EUMs below them, and CRLs by the name `*.crl`.
pub(crate) fn read_anchors(paths: &[PathBuf]) -> anyhow::Result<TrustAnchors> {
    let mut anchors = TrustAnchors::new();
    let (mut issuers, mut crls) = (Vec::new(), Vec::new());
    for path in expand(paths)? {
        if is_crl(&path) {
            crls.push(path);
            continue;
        }
        let certificate = read_certificate(&path)?;
        if certificate
            .role()
            .is_some_and(|role| role.is_sub_ca() || role == Role::Eum)
        {
            issuers.push((path, certificate));
            continue;
        }
        anchors.add_ci(certificate).with_context(|| {
            format!(
                "{} is not the certificate of a CI that can be trusted",
                path.display()
            )
        })?;
    }
    add_issuers(&mut anchors, issuers)?;
    for path in crls {
        anchors
            .add_crl(read_crl(&path)?)
            .with_context(|| format!("the CRL {} is not acceptable", path.display()))?;
    }
    Ok(anchors)
}

/// Makes sub-CAs and EUMs known, each after its issuer, in whatever order they came.
fn add_issuers(
    anchors: &mut TrustAnchors,
    mut waiting: Vec<(PathBuf, Certificate)>,
) -> anyhow::Result<()> {
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut refused = None;
        let mut left = Vec::new();
        for (path, certificate) in waiting {
            if let Err(error) = anchors.add_issuer(certificate.clone(), &[], None) {
                refused.get_or_insert((path.clone(), error));
                left.push((path, certificate));
            }
        }
        if let Some((path, error)) = refused.filter(|_| left.len() == before) {
            return Err(error).with_context(|| {
                format!(
                    "{} is not the certificate of a CI, and of no sub-CA or EUM below one that is trusted",
                    path.display()
                )
            });
        }
        waiting = left;
    }
    Ok(())
}

/// Roots for TLS from a folder, as DER.
pub(crate) fn read_roots(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let files = expand(&[folder.to_owned()])?;
    let certificates = files.iter().filter(|path| !is_crl(path));
    certificates
        .map(|path| Ok(read_certificate(path)?.der().to_vec()))
        .collect()
}

/// The files that are meant by a list of files and folders, in a stable order.
fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let metadata =
            fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if !metadata.is_dir() {
            files.push(path.clone());
            continue;
        }
        let listing =
            fs::read_dir(path).with_context(|| format!("{} cannot be listed", path.display()))?;
        let mut found = Vec::new();
        for entry in listing {
            let entry = entry.with_context(|| format!("{} cannot be listed", path.display()))?;
            let file = entry.path();
            let extension = file.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && file.is_file()
            {
                found.push(file);
            }
        }
        if found.len() > FILES_MAX {
            bail!(
                "{} holds more than {FILES_MAX} certificates and CRLs",
                path.display()
            );
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

const EXTENSIONS: [&str; 5] = ["der", "pem", "crt", "cer", "crl"];
const FILES_MAX: usize = 1000;
const FILE_OCTETS_MAX: u64 = 8 << 20;

fn is_crl(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "crl")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let metadata =
        fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if metadata.len() > FILE_OCTETS_MAX {
        bail!("{} has more than {FILE_OCTETS_MAX} octets", path.display());
    }
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use pki::issue::{CrlTemplate, TestPki, TestPkiOptions, Variant, VariantPki};
    use pki::{ChainPolicy, Curve, UnixTime};

    use super::*;
    use crate::adapters::SystemEntropy;

    const EID: &str = "89049032123451234512345678901235";

    #[test]
    fn a_folder_may_hold_sub_cas_and_eums_with_their_crls_in_any_order() {
        let now = UnixTime::from_date(2026, 6, 1).unwrap();
        let options = TestPkiOptions::new(now.plus_days(-10));
        let mut rng = SystemEntropy;
        let pki = TestPki::new(&mut rng, Curve::P256, &options).unwrap();
        let set = VariantPki::new(&mut rng, Variant::C, &pki.ci, &options).unwrap();
        let euicc = set.issue_euicc(&mut rng, EID).unwrap().certificate;
        let (ci_sub_ca, eum_sub_ca) = (set.ci_sub_ca.unwrap(), set.eum_sub_ca.unwrap());
        let crl = CrlTemplate {
            number: 1,
            this_update: now.plus_days(-1),
            next_update: None,
            revoked: vec![set.eum.certificate.serial_number().to_vec()],
        };
        let crl = crl.issue(ci_sub_ca.issuer()).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, octets: &[u8]| fs::write(folder.path().join(name), octets).unwrap();
        let paths = [folder.path().to_owned()];
        put("1-eum-sub-ca.der", eum_sub_ca.certificate.der());
        put("2-eum.der", set.eum.certificate.der());
        put("4-ci.der", pki.ci.certificate.der());
        let missing = read_anchors(&paths).unwrap_err();
        assert!(
            format!("{missing:#}").contains("1-eum-sub-ca.der"),
            "{missing:#}"
        );

        put("3-ci-sub-ca.der", ci_sub_ca.certificate.der());
        let verify = |anchors: TrustAnchors| {
            let eum = &set.eum.certificate;
            let verified =
                anchors.verify_euicc_chain(&euicc, eum, Some(now), ChainPolicy::default());
            verified.map(|verified| verified.eid_digits)
        };
        assert_eq!(verify(read_anchors(&paths).unwrap()).as_deref(), Ok(EID));
        put("0.crl", crl.der());
        let which = Role::Eum;
        let revoked = Err(pki::ChainError::Revoked { which });
        assert_eq!(verify(read_anchors(&paths).unwrap()), revoked);

        put("5-euicc.der", euicc.der());
        assert!(read_anchors(&paths).is_err(), "an eUICC is nobody to trust");
    }
}
