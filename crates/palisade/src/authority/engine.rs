use super::folder::AuthorityFolder;
use super::wire::{CheckpointAnswer, IdentityAnswer, Parameters, TokenCheck};
use crate::config::File;
use intent::IntentId;
use intent::api::*;
use ledger::{Checkpoint, PublicKey};
use rsp::ids::Eid;
use serde_json::Value;

pub(crate) struct Engine;
type R<T> = Result<T, Refusal>;
fn no<T>() -> R<T> {
    Err(Refusal::new(RefusalCode::Unavailable, "x"))
}
impl Engine {
    pub(crate) fn open(
        _: &AuthorityFolder,
        _: &File,
        _: Option<(PublicKey, Checkpoint)>,
    ) -> anyhow::Result<Self> {
        Ok(Self)
    }
    pub(crate) fn installation(&self) -> String {
        String::new()
    }
    pub(crate) fn entries(&self) -> u64 {
        0
    }
    pub(crate) fn failure(&self) -> Option<String> {
        None
    }
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        Ok(())
    }
    pub(crate) fn reload(&self, _: &AuthorityFolder, _: &File) -> anyhow::Result<()> {
        Ok(())
    }
    pub(crate) fn cosign(&self, _: &str, _: &ledger::WitnessKey) -> anyhow::Result<()> {
        Ok(())
    }
    pub(crate) fn propose(&self, _: Propose) -> R<IntentStatus> {
        no()
    }
    pub(crate) fn intents(
        &self,
        _: Option<IntentState>,
        _: Option<u64>,
        _: usize,
    ) -> R<Vec<IntentStatus>> {
        no()
    }
    pub(crate) fn intent(&self, _: IntentId) -> R<IntentStatus> {
        no()
    }
    pub(crate) fn decide(&self, _: IntentId, _: Decide) -> R<IntentStatus> {
        no()
    }
    pub(crate) fn enrol(&self, _: Enrol) -> R<PrincipalInfo> {
        no()
    }
    pub(crate) fn parameters(&self) -> R<Parameters> {
        no()
    }
    pub(crate) fn feed(&self, _: u64) -> R<Feed> {
        no()
    }
    pub(crate) fn sign(&self, _: Vec<Reference>) -> R<Vec<R<SignedPackage>>> {
        no()
    }
    pub(crate) fn release(&self, _: Vec<Reference>) -> R<Vec<R<()>>> {
        no()
    }
    pub(crate) fn associate(&self, _: Associate) -> R<()> {
        no()
    }
    pub(crate) fn record_results(&self, _: Vec<RecordResult>) -> R<Vec<R<()>>> {
        no()
    }
    pub(crate) fn principals(&self) -> R<Vec<PrincipalInfo>> {
        no()
    }
    pub(crate) fn policy(&self) -> R<intent::PolicyDocument> {
        no()
    }
    pub(crate) fn freezes(&self) -> R<Vec<intent::action::FreezeScope>> {
        no()
    }
    pub(crate) fn signing_keys(&self) -> R<Value> {
        no()
    }
    pub(crate) fn status(&self) -> R<Value> {
        no()
    }
    pub(crate) fn identity(&self) -> R<IdentityAnswer> {
        no()
    }
    pub(crate) fn checkpoint(&self, _: u64) -> R<CheckpointAnswer> {
        no()
    }
    pub(crate) fn prove(&self, _: u64) -> R<String> {
        no()
    }
    pub(crate) fn history(&self, _: Eid) -> R<String> {
        no()
    }
    pub(crate) fn check_token(&self, _: &TokenCheck) -> R<Value> {
        no()
    }
}
