//! The engine with its files: the only place of this program that names the authority's service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use authority::service::{Authority, EuiccTrust, Parts, SigningKeyInfo, WriterOptions};
use intent::action::FreezeScope;
use intent::api::{
    Associate, Decide, Enrol, Feed, IntentState, IntentStatus, PrincipalInfo, Propose,
    RecordResult, Reference, Refusal, RefusalCode, SignIn, SignedIn, SignedPackage,
};
use intent::bearer::{BearerToken, TokenError};
use intent::{IntentId, PolicyDocument, Principal};
use ledger::{Checkpoint, FolderStore, PublicKey, WitnessKey};
use pki::ChainPolicy;
use rsp::der::Element;
use rsp::ids::Eid;
use serde_json::{Value, json};

use super::folder::AuthorityFolder;
use super::identity::reachability;
use super::keys::SigningKeys;
use super::wire::{CheckpointAnswer, IdentityAnswer, Parameters, TokenCheck};
use crate::adapters::{SystemClock, SystemEntropy};
use crate::config::File;
use crate::trust;

/// An authority that runs in this process.
pub(crate) struct Engine {
    authority: Authority,
    installation: String,
    /// What witnesses cosigned last, by their keys.
    witnesses: Mutex<BTreeMap<String, Value>>,
}

/// What was done, or why not.
type Answer<T> = Result<T, Refusal>;
/// One answer for each thing that was asked for.
type Answers<T> = Result<Vec<Result<T, Refusal>>, Refusal>;

impl Engine {
    /// Reads keys, trust and record, and goes to work. `remembered` is a checkpoint that the record has to continue.
    pub(crate) fn open(
        folder: &AuthorityFolder,
        file: &File,
        remembered: Option<(PublicKey, Checkpoint)>,
    ) -> anyhow::Result<Self> {
        let trust = euicc_trust(file)?;
        Self::open_believing(trust, folder, file, remembered)
    }

    /// Opens one that believes no eUICC, for looking at what it is.
    pub(crate) fn open_for_reading(folder: &AuthorityFolder, file: &File) -> anyhow::Result<Self> {
        Self::open_believing(EuiccTrust::default(), folder, file, None)
    }

    fn open_believing(
        trust: EuiccTrust,
        folder: &AuthorityFolder,
        file: &File,
        remembered: Option<(PublicKey, Checkpoint)>,
    ) -> anyhow::Result<Self> {
        let key = folder.ledger_key()?;
        if let Some((known, _)) = &remembered
            && known.to_string() != key.public().to_string()
        {
            bail!(
                "the remembered checkpoint is of another ledger ({known}): this is another authority than before"
            );
        }
        let parts = Parts {
            signers: SigningKeys::open(folder, file)?.signers,
            trust,
            reachability: reachability(file)?,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            on_broken: Box::new(|why| {
                tracing::error!(why, "the record cannot be written any more");
            }),
            options: WriterOptions {
                publish_after: Duration::from_secs(file.authority.publish_interval_s),
                ..WriterOptions::default()
            },
        };
        let path = folder.ledger();
        let files = FolderStore::exclusive(&path)
            .with_context(|| format!("the ledger in {} cannot be opened", path.display()))?;
        let known = remembered.as_ref().map(|(_, checkpoint)| checkpoint);
        let authority = Authority::open(files, key, known, parts)
            .with_context(|| format!("the record in {} cannot be used", path.display()))?;
        let opened = authority.opened();
        for unusable in &opened.unusable_snapshots {
            tracing::warn!(unusable, "a snapshot could not be used");
        }
        if opened.torn {
            tracing::warn!(
                "the last commit was not whole and was dropped; nobody had been answered"
            );
        }
        let (installation, _) = authority
            .parameters()
            .context("the record names no installation")?;
        Ok(Self {
            authority,
            installation,
            witnesses: Mutex::default(),
        })
    }

    /// Reads again what may change while it runs.
    pub(crate) fn reload(&self, folder: &AuthorityFolder, file: &File) -> anyhow::Result<()> {
        let trust = euicc_trust(file)?;
        let reachability = reachability(file)?;
        let signers = SigningKeys::open(folder, file)?.signers;
        self.authority.set_signers(signers)?;
        self.authority.set_trust(trust);
        self.authority.set_reachability(reachability);
        Ok(())
    }

    /// Publishes the record, and ends.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.authority
            .shut_down()
            .map_err(|fault| anyhow::anyhow!(fault))
            .context("the record could not be closed properly")
    }

    /// The installation's name.
    pub(crate) fn installation(&self) -> &str {
        &self.installation
    }

    /// Durable entries.
    pub(crate) fn entries(&self) -> u64 {
        self.authority.entries()
    }

    /// Why nothing is answered any more, if the record could not be written.
    pub(crate) fn failure(&self) -> Option<String> {
        self.authority.fault()
    }

    /// Adds a witness's cosignature to the published checkpoint.
    pub(crate) fn cosign(&self, line: &str, witness: &WitnessKey) -> Answer<()> {
        self.authority.cosign(line, witness.clone())
    }

    /// Notes how a witness stands: entries of the checkpoint that it cosigned last, and what is wrong with it.
    pub(super) fn note_witness(&self, witness: &WitnessKey, cosigned: u64, trouble: Option<&str>) {
        let standing = json!({ "cosigned_entries": cosigned, "trouble": trouble });
        self.witnesses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(witness.to_string(), standing);
    }

    pub(crate) fn propose(&self, proposal: Propose) -> Answer<IntentStatus> {
        self.authority.propose(&proposal)
    }

    pub(crate) fn decide(&self, id: IntentId, decision: Decide) -> Answer<IntentStatus> {
        self.authority.decide(id, &decision)
    }

    pub(crate) fn enrol(&self, enrolment: Enrol) -> Answer<PrincipalInfo> {
        self.authority.enrol(&enrolment)
    }

    pub(crate) fn intent(&self, id: IntentId) -> Answer<IntentStatus> {
        self.authority.intent(&id)
    }

    pub(crate) fn intents(
        &self,
        state: Option<IntentState>,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<IntentStatus>> {
        self.authority.intents(state, before, limit)
    }

    pub(crate) fn feed(&self, after: u64) -> Answer<Feed> {
        self.authority.feed(after)
    }

    pub(crate) fn sign(&self, references: Vec<Reference>) -> Answers<SignedPackage> {
        self.authority.sign(references)
    }

    pub(crate) fn release(&self, references: Vec<Reference>) -> Answers<Vec<intent::Command>> {
        self.authority.release(references)
    }

    pub(crate) fn associate(&self, device: Associate) -> Answer<()> {
        self.authority.associate(&device)
    }

    pub(crate) fn record_results(&self, results: Vec<RecordResult>) -> Answers<()> {
        self.authority.record_results(&results)
    }

    pub(crate) fn principals(&self) -> Answer<Vec<PrincipalInfo>> {
        self.authority.principals()
    }

    pub(crate) fn principal(&self, name: &Principal) -> Answer<PrincipalInfo> {
        self.authority.principal(name)
    }

    pub(crate) fn sign_in(&self, request: &SignIn) -> Answer<SignedIn> {
        self.authority.sign_in(request)
    }

    pub(crate) fn policy(&self) -> Answer<PolicyDocument> {
        self.authority.policy()
    }

    pub(crate) fn freezes(&self) -> Answer<Vec<FreezeScope>> {
        self.authority.freezes()
    }

    pub(crate) fn signing_keys(&self) -> Answer<Vec<SigningKeyInfo>> {
        self.authority.signing_keys()
    }

    /// What intents and passkeys have to be made for.
    pub(crate) fn parameters(&self) -> Answer<Parameters> {
        let (installation, party) = self.authority.parameters()?;
        Ok(Parameters {
            installation,
            rp_id: party.id,
            origins: party.origins,
        })
    }

    /// How it stands, and which process it is.
    pub(crate) fn status(&self) -> Answer<Value> {
        let mut status = serde_json::to_value(self.authority.status()).unwrap_or_default();
        if let Value::Object(members) = &mut status {
            members.insert("pid".to_owned(), std::process::id().into());
            members.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
            let opened = serde_json::to_value(self.authority.opened()).unwrap_or_default();
            members.insert("opened".to_owned(), opened);
            let witnesses = self.witnesses.lock();
            let witnesses = witnesses.unwrap_or_else(PoisonError::into_inner);
            members.insert("witnesses".to_owned(), json!(*witnesses));
        }
        Ok(status)
    }

    /// What an eUICC has to store to accept packages of this eIM.
    pub(crate) fn identity(&self) -> Answer<IdentityAnswer> {
        let configuration = self.authority.configuration()?;
        Ok(IdentityAnswer {
            eim_id: configuration.eim_id.as_str().to_owned(),
            der: hex::encode_upper(configuration.to_der()),
        })
    }

    /// The newest checkpoint, and what proves that it continues one of the size `since`. Whoever knows a longer one sees
    /// that from the checkpoint itself. With `publish` it covers everything that is durable.
    pub(crate) fn checkpoint(&self, since: u64, publish: bool) -> Answer<CheckpointAnswer> {
        if publish {
            self.authority.publish()?;
        }
        let (checkpoint, proof) = match self.authority.checkpoint(since) {
            Err(refusal) if refusal.code == RefusalCode::Unknown => self.authority.checkpoint(0)?,
            answered => answered?,
        };
        Ok(CheckpointAnswer {
            note: String::from_utf8_lossy(checkpoint.note()).into_owned(),
            key: self.authority.ledger_key().to_string(),
            consistency: proof.iter().map(ToString::to_string).collect(),
        })
    }

    /// An entry with its proof, JSON.
    pub(crate) fn prove(&self, number: u64) -> Answer<String> {
        Ok(self.authority.prove(number)?.to_json())
    }

    /// Everything on record about a device with its proofs, JSON.
    pub(crate) fn history(&self, eid: Eid) -> Answer<String> {
        Ok(self.authority.history(eid)?.to_json())
    }

    /// Whose token for reading it is.
    pub(crate) fn check_token(&self, check: &TokenCheck) -> Answer<PrincipalInfo> {
        let token: BearerToken = check.token.parse().map_err(|error: TokenError| {
            Refusal::new(RefusalCode::ProofInvalid, error.to_string())
        })?;
        self.authority.check_token(&token.record())
    }
}

/// The CIs of eUICCs and their CRLs.
fn euicc_trust(file: &File) -> anyhow::Result<EuiccTrust> {
    let folder = file.path(&file.authority.euicc_trust);
    let anchors = trust::read_anchors(std::slice::from_ref(&folder))
        .context("the CIs of eUICCs cannot be read (authority.euicc_trust)")?;
    if anchors.is_empty() {
        bail!(
            "there is no CI certificate in {folder}, so no eUICC could be believed; copy the CI certificates of your eUICCs there (*.der or *.pem, with their *.crl)",
            folder = folder.display(),
        );
    }
    Ok(EuiccTrust {
        anchors,
        policy: ChainPolicy {
            insecure_ignore_eum_name_constraints: file
                .authority
                .insecure_ignore_eum_name_constraints,
        },
    })
}
