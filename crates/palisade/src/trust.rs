//! Folders of certificates and revocation lists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pki::{Certificate, Crl, TrustAnchors};

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
    const END: &str = "-----END CERTIFICATE-----";
    let octets = read(path)?;
    let chain = match std::str::from_utf8(&octets) {
        Ok(text) if text.contains(END) => {
            let blocks = text
                .split_inclusive(END)
                .filter(|block| block.contains(END));
            blocks
                .map(|block| Ok(Certificate::from_pem(block)?))
                .collect()
        }
        _ => parse_certificate(&octets).map(|certificate| vec![certificate]),
    };
    chain.with_context(|| {
        format!(
            "{} holds no certificate chain that can be read",
            path.display()
        )
    })
}

/// Reads one DER CRL.
pub(crate) fn read_crl(path: &Path) -> anyhow::Result<Crl> {
    Crl::from_der(&read(path)?)
        .with_context(|| format!("{} holds no CRL that can be read", path.display()))
}

/// Trust anchors from files and folders: CI certificates, and CRLs by the name `*.crl`.
pub(crate) fn read_anchors(paths: &[PathBuf]) -> anyhow::Result<TrustAnchors> {
    let mut anchors = TrustAnchors::new();
    let mut crls = Vec::new();
    for path in expand(paths)? {
        if is_crl(&path) {
            crls.push(path);
            continue;
        }
        anchors.add_ci(read_certificate(&path)?).with_context(|| {
            format!(
                "{} is not the certificate of a CI that can be trusted",
                path.display()
            )
        })?;
    }
    for path in crls {
        anchors
            .add_crl(read_crl(&path)?)
            .with_context(|| format!("the CRL {} is not acceptable", path.display()))?;
    }
    Ok(anchors)
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
