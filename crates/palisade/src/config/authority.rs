//! `[authority]`: for the authority itself, and for the eIM that asks it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pki::KeyLocation;
use serde::Deserialize;

use super::TlsTrust;

/// `[authority]`. The eIM reads where its authority is; the authority, in its own folder, everything else.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthoritySection {
    /// Of the eIM: the folder of the authority that it starts beside it.
    pub(crate) data: PathBuf,
    /// Of the eIM: the socket of an authority that somebody else starts on this machine.
    pub(crate) socket: Option<PathBuf>,
    /// Of the eIM: host and port of an authority elsewhere.
    pub(crate) address: Option<String>,
    /// Of the eIM: what the certificate of that authority chains to.
    pub(crate) server_ca: Option<PathBuf>,
    /// Of the eIM: the certificate that it shows there.
    pub(crate) client_certificate: Option<PathBuf>,
    /// Of the eIM: the key of that certificate, a PEM file of mode 0600.
    pub(crate) client_key: Option<PathBuf>,

    /// Of the authority: where the eIM's signing key is.
    pub(crate) key: KeyLocation,
    /// Of the authority: further keys of the eIM, while devices are moved from one to another.
    pub(crate) further_keys: Vec<KeyLocation>,
    /// Of the authority: host name and port under which devices reach ESipa, which they are told.
    pub(crate) fqdn: Option<String>,
    /// Of the authority: what devices are told to trust on ESipa.
    pub(crate) tls_trust: TlsTrust,
    /// Of the authority: the certificate of ESipa, or that of its CA, from which that is taken.
    pub(crate) tls_certificate_of_eim: PathBuf,
    /// Of the authority: folder with the CIs that eUICCs chain to.
    pub(crate) euicc_trust: PathBuf,
    /// Of the authority: seconds between two publications of the ledger, if there is something new.
    pub(crate) publish_interval_s: u64,
    /// Of the authority: who cosigns checkpoints.
    pub(crate) witnesses: Vec<WitnessSection>,
    /// Of the authority: where it listens with mutual TLS; it does not if absent.
    pub(crate) listen: Option<SocketAddr>,
    /// Of the authority: its certificate chain there.
    pub(crate) tls_certificate: PathBuf,
    /// Of the authority: the key of that certificate, a PEM file of mode 0600.
    pub(crate) tls_key: PathBuf,
    /// Of the authority: what certificates of eIMs chain to.
    pub(crate) client_ca: Option<PathBuf>,
    /// Of the authority: let an EUM issue for any EID.
    pub(crate) insecure_ignore_eum_name_constraints: bool,
}

/// `[[authority.witnesses]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessSection {
    /// Its verifier key (C2SP signed-note), of the cosignature kind.
    pub(crate) key: String,
    /// Where it takes checkpoints: `https://host[:port]/path`; `/add-checkpoint` is added.
    pub(crate) url: String,
    /// What its TLS certificate chains to.
    pub(crate) ca: PathBuf,
}

impl Default for AuthoritySection {
    fn default() -> Self {
        Self {
            data: PathBuf::from("authority"),
            socket: None,
            address: None,
            server_ca: None,
            client_certificate: None,
            client_key: None,
            key: KeyLocation::File {
                path: PathBuf::from("keys/eim-signing.pem"),
                passphrase: None,
            },
            further_keys: Vec::new(),
            fqdn: None,
            tls_trust: TlsTrust::default(),
            tls_certificate_of_eim: PathBuf::from("eim-tls.pem"),
            euicc_trust: PathBuf::from("trust/euicc"),
            publish_interval_s: 1,
            witnesses: Vec::new(),
            listen: None,
            tls_certificate: PathBuf::from("authority-tls.pem"),
            tls_key: PathBuf::from("keys/authority-tls.pem"),
            client_ca: None,
            insecure_ignore_eum_name_constraints: false,
        }
    }
}

/// Where an eIM finds its authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthorityPlace {
    /// It starts it itself, with this folder.
    Child(PathBuf),
    /// Somebody else started it on this machine.
    Socket(PathBuf),
    /// On another host, with mutual TLS.
    Remote {
        /// Host and port.
        address: String,
        /// What its certificate chains to.
        server_ca: PathBuf,
        /// What the eIM shows.
        certificate: PathBuf,
        /// The key of it.
        key: PathBuf,
    },
}

impl AuthoritySection {
    /// Checks what serde cannot.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if let Some(fqdn) = &self.fqdn {
            super::check_host(fqdn).with_context(|| format!("authority.fqdn = {fqdn:?}"))?;
        }
        if self.publish_interval_s == 0 {
            bail!("authority.publish_interval_s is 0; use at least 1");
        }
        if self.listen.is_some() && self.client_ca.is_none() {
            bail!(
                "authority.listen needs authority.client_ca: on the network an authority takes requests only of eIMs that show a certificate"
            );
        }
        if self.socket.is_some() && self.address.is_some() {
            bail!("authority.socket and authority.address are two places; set one of them");
        }
        self.place(Path::new(""), Path::new("")).map(|_| ())
    }

    /// Where the eIM whose settings these are finds its authority. Relative paths begin at `folder`, that of its own authority
    /// at the eIM's `data` folder.
    pub(crate) fn place(&self, folder: &Path, data: &Path) -> anyhow::Result<AuthorityPlace> {
        if let Some(socket) = &self.socket {
            return Ok(AuthorityPlace::Socket(folder.join(socket)));
        }
        let Some(address) = &self.address else {
            return Ok(AuthorityPlace::Child(data.join(&self.data)));
        };
        super::check_host(address).with_context(|| format!("authority.address = {address:?}"))?;
        let needed = |name: &str, path: &Option<PathBuf>| {
            let path = path
                .as_ref()
                .with_context(|| format!("authority.address needs authority.{name}"))?;
            anyhow::Ok(folder.join(path))
        };
        Ok(AuthorityPlace::Remote {
            address: address.clone(),
            server_ca: needed("server_ca", &self.server_ca)?,
            certificate: needed("client_certificate", &self.client_certificate)?,
            key: needed("client_key", &self.client_key)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> anyhow::Result<AuthoritySection> {
        let section: AuthoritySection = toml::from_str(text)?;
        section.check()?;
        Ok(section)
    }

    #[test]
    fn an_authority_is_beside_on_a_socket_or_elsewhere() {
        let d = Path::new("/d");
        let place = |text: &str| section(text).unwrap().place(d, d).unwrap();
        assert_eq!(
            place(""),
            AuthorityPlace::Child(PathBuf::from("/d/authority"))
        );
        assert_eq!(
            place("socket = \"/run/a.sock\""),
            AuthorityPlace::Socket(PathBuf::from("/run/a.sock"))
        );
        let remote = "address = \"a.example.com:9443\"\nserver_ca = \"ca.pem\"\nclient_certificate = \"c.pem\"\nclient_key = \"k.pem\"";
        assert!(matches!(
            place(remote),
            AuthorityPlace::Remote { key, .. } if key == Path::new("/d/k.pem")
        ));
        for bad in [
            "address = \"a.example.com\"",
            "address = \"https://a\"",
            "listen = \"127.0.0.1:1\"",
            "publish_interval_s = 0",
            "socket = \"a\"\naddress = \"b:1\"",
        ] {
            assert!(section(bad).is_err(), "{bad}");
        }
    }
}
