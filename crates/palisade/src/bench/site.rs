//! The eIM that is measured: a database on the disk with many devices, and an eUICC key to answer for them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use edge::tls::{Identity, TlsConfig};
use eim::actor::Actor;
use eim::authority::unguarded::{EimIdentity, UnguardedAuthority};
use eim::es9::HttpConnector;
use eim::{Config, DeviceData, Eim, Parts};
use intent::{Command, Principal};
use pki::issue::{CertificateTemplate, TestPki, TestPkiOptions};
use pki::{Curve, PrivateKey, Signer};
use rsp::ids::Eid;
use store::StoreOptions;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::adapters::{SystemClock, SystemEntropy};

/// Name of the eIM, of its host and in its certificate.
pub(super) const EIM: &str = "eim.example.com";
/// The fleet that all devices belong to.
const FLEET: &str = "bench";
/// The association token that all devices keep.
pub(super) const TOKEN: i64 = 1;

/// The eIM with what belongs to it.
pub(super) struct Site {
    pub(super) eim: Arc<Eim>,
    /// Signs as the real authority does, and asks nobody: what is measured is the eIM.
    authority: Arc<UnguardedAuthority>,
    pki: TestPki,
    euicc_key: PrivateKey,
    actor: Actor,
    folder: TempDir,
    /// For the work around measurements, never for what is measured.
    runtime: Runtime,
}

impl Site {
    /// Opens an empty eIM in a temporary folder below `directory`, with full durability.
    pub(super) fn new(directory: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("palisade-bench-")
            .tempdir_in(directory)
            .with_context(|| format!("no folder can be made in {}", directory.display()))?;
        let options = TestPkiOptions::new(SystemClock.unix_time().plus_days(-1));
        let pki = TestPki::new(&mut SystemEntropy, Curve::P256, &options).context("no PKI")?;
        let identity = EimIdentity {
            eim_id: EIM.parse()?,
            fqdn: EIM.to_owned(),
            tls_trust: None,
        };
        let authority = Arc::new(UnguardedAuthority::new(
            identity,
            Arc::new(pki.eim_signing.key.clone()),
            Arc::new(SystemClock),
        ));
        let parts = Parts {
            authority: Arc::clone(&authority) as Arc<_>,
            trust: pki.trust_anchors()?,
            smdp: Arc::new(HttpConnector::new(Vec::new(), Vec::new())),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        let database = folder.path().join("eim.sqlite");
        let eim = Eim::open(
            &database,
            StoreOptions::default(),
            Config::new(EIM.parse()?),
            parts,
        )
        .context("the database cannot be made")?;
        Ok(Self {
            eim,
            authority,
            pki,
            euicc_key: PrivateKey::generate(Curve::P256, &mut SystemEntropy)?,
            actor: Actor::operator("bench"),
            folder,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .thread_name("setup")
                .enable_all()
                .build()
                .context("the runtime cannot be started")?,
        })
    }

    /// Registers `count` devices with their certificates, many at a time so that they share transactions.
    ///
    /// Each has a certificate with its EID; the key in it is the same for all, which is nothing to the eIM.
    pub(super) fn register(&self, count: u32) -> anyhow::Result<()> {
        let eum = self.pki.eum.clone();
        let organisation = eum
            .certificate
            .organisation()
            .unwrap_or_default()
            .to_owned();
        let eids: anyhow::Result<Vec<Eid>> = (0..count).map(eid).collect();
        self.authority.register(FLEET, eids?)?;
        self.follow()?;
        let (eim, actor) = (Arc::clone(&self.eim), self.actor.clone());
        let euicc = self.euicc_key.public_key().clone();
        self.each(0..count, move |number| {
            let (eim, actor, eum) = (Arc::clone(&eim), actor.clone(), eum.clone());
            let (organisation, euicc) = (organisation.clone(), euicc.clone());
            async move {
                let eid = eid(number)?;
                let certificate = CertificateTemplate::euicc(&organisation, &eid.to_string())
                    .valid(eum.certificate.not_before(), eum.certificate.not_after())
                    .random_serial(&mut SystemEntropy)
                    .issue(&euicc, eum.issuer())?;
                let device = DeviceData {
                    label: Some(format!("device {number}")),
                    association_token: Some(TOKEN),
                    certificates: Some((
                        certificate.der().to_vec(),
                        eum.certificate.der().to_vec(),
                    )),
                    ..DeviceData::new(eid)
                };
                eim.enrich_device(&actor, device).await?;
                Ok(())
            }
        })
    }

    /// Queues one operation for each of `count` of the `registered` devices.
    pub(super) fn propose(
        &self,
        count: u32,
        registered: u32,
        commands: &[Command],
    ) -> anyhow::Result<()> {
        let eids: anyhow::Result<Vec<Eid>> = spread(count, registered).map(eid).collect();
        let proposer: Principal = "bench".parse()?;
        self.authority
            .propose(&proposer, eids?, commands.to_vec(), None)?;
        self.follow()
    }

    /// Has the eIM take everything from the feed, and tell the authority which eUICCs there are.
    fn follow(&self) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            while self.eim.follow().await? > 0 {}
            while self.eim.associate_devices().await? > 0 {}
            Ok(())
        })
    }

    /// Writes when devices were last heard of.
    pub(super) fn flush(&self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.eim.flush_contacts())?)
    }

    /// TLS of the eIM.
    pub(super) fn tls(&self) -> anyhow::Result<TlsConfig> {
        let credential = &self.pki.eim_tls;
        let key = credential.key.to_pkcs8_der()?;
        let chain = vec![credential.certificate.der().to_vec()];
        Ok(TlsConfig::new(Identity::from_der(
            chain,
            key.as_bytes().to_vec(),
        )?))
    }

    /// What a client pins: the SubjectPublicKeyInfo of the TLS certificate, DER.
    pub(super) fn tls_pin(&self) -> Vec<u8> {
        self.pki.eim_tls.key.public_key().to_spki_der()
    }

    /// The key that packages are signed with.
    pub(super) fn signing_key(&self) -> &PrivateKey {
        &self.pki.eim_signing.key
    }

    /// The key of all eUICCs.
    pub(super) fn euicc_key(&self) -> &PrivateKey {
        &self.euicc_key
    }

    /// Octets that the database takes when it is packed.
    pub(super) fn database_octets(&self) -> anyhow::Result<u64> {
        let copy = self.folder.path().join("copy.sqlite");
        self.eim.backup_to(&copy)?;
        let octets = std::fs::metadata(&copy)?.len();
        std::fs::remove_file(&copy)?;
        Ok(octets)
    }

    /// Runs `work` for every number, [`AT_A_TIME`] at a time.
    fn each<F, W>(&self, numbers: impl Iterator<Item = u32>, work: F) -> anyhow::Result<()>
    where
        F: Fn(u32) -> W,
        W: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.runtime.block_on(async {
            let mut under_way = JoinSet::new();
            for number in numbers {
                if under_way.len() >= AT_A_TIME
                    && let Some(ended) = under_way.join_next().await
                {
                    ended??;
                }
                under_way.spawn(work(number));
            }
            while let Some(ended) = under_way.join_next().await {
                ended??;
            }
            Ok(())
        })
    }
}

/// Verbs under way at a time: as many as the store writes in one transaction.
const AT_A_TIME: usize = 256;

/// Numbers of `count` devices that are spread evenly over the `registered` ones, so that they share nothing in the database.
pub(super) fn spread(count: u32, registered: u32) -> impl Iterator<Item = u32> {
    let place = move |index| u64::from(index) * u64::from(registered) / u64::from(count.max(1));
    (0..count).filter_map(move |index| u32::try_from(place(index)).ok())
}

/// The EID of the `number`-th device, of the test manufacturer.
pub(super) fn eid(number: u32) -> anyhow::Result<Eid> {
    Ok(Eid::with_check_digits(&format!("89049032{number:022}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_spread_from_the_first_on() {
        assert_eq!(spread(3, 9).collect::<Vec<_>>(), [0, 3, 6]);
        assert_eq!(spread(4, 4).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(spread(2, 5).collect::<Vec<_>>(), [0, 2]);
        assert_ne!(eid(0).unwrap(), eid(1).unwrap());
    }
}
