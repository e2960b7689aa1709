//! The ISD-R: one function for each ES10 command, found by its tag.
//!
//! Every command is a transaction: what it changes is committed before its answer leaves the card, and forgotten when it
//! fails.

pub(crate) mod addresses;
pub(crate) mod configuration;
mod notifications;
pub(crate) mod profile_list;
mod recovery;
mod reset;

use rand_core::CryptoRng;
use rsp::der::{Element, Limits, Reader};
use rsp::sgp22::{
    GetEuiccChallengeRequest, GetEuiccChallengeResponse, GetEuiccInfo1Request, GetEuiccInfo2Request,
};

use crate::apdu::StatusWord;
use crate::package;
use crate::platform::{Failure, Platform};
use crate::session::{BppOutcome, Session};

/// The ISD-R with the session it leads.
pub(crate) struct Isdr {
    pub(crate) platform: Platform,
    session: Session,
}

/// What a command is answered with.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) data: Vec<u8>,
    /// Another Profile is enabled now: the terminal is to be asked for REFRESH.
    pub(crate) refresh: bool,
}

/// Whether something stands in the way of a change of Profile: a proactive session. The functions answer catBusy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CatBusy(pub(crate) bool);

impl Answer {
    pub(crate) fn of(response: &impl Element) -> Self {
        Self {
            data: response.to_der(),
            refresh: false,
        }
    }

    pub(crate) fn with_refresh(response: &impl Element, refresh: bool) -> Self {
        Self {
            data: response.to_der(),
            refresh,
        }
    }
}

impl Isdr {
    pub(crate) fn new(platform: Platform) -> Self {
        Self {
            platform,
            session: Session::new(),
        }
    }

    /// Executes one command, reassembled from its STORE DATA blocks.
    pub(crate) fn execute(
        &mut self,
        command: &[u8],
        busy: CatBusy,
        rng: &mut dyn CryptoRng,
    ) -> Result<Answer, Failure> {
        let enabled_before = self.platform.state.enabled_iccid();
        let outcome = self.dispatch(command, busy, rng).and_then(|answer| {
            self.platform.commit()?;
            Ok(answer)
        });
        // The session may have met a failure of the memory and have answered in its own terms.
        let outcome = match self.platform.fault() {
            Some(_) => Err(Failure::Memory),
            None => outcome,
        };
        if outcome.is_err() {
            self.platform.roll_back();
        }
        // ImmediateEnable is for right after the download: unsigned, it must not undo what an eIM decided since then.
        if self.platform.state.enabled_iccid() != enabled_before {
            self.session.forget_download();
        }
        outcome
    }

    /// Ends the session as a reset does.
    pub(crate) fn interrupt(&mut self) -> Result<(), Failure> {
        self.session.interrupt(&mut self.platform);
        self.platform.commit()
    }

    fn dispatch(
        &mut self,
        command: &[u8],
        busy: CatBusy,
        rng: &mut dyn CryptoRng,
    ) -> Result<Answer, Failure> {
        if Session::is_bpp_command(command) {
            return self.load_bpp(command);
        }
        let platform = &mut self.platform;
        match tag_of(command)? {
            0xBF20 => {
                read::<GetEuiccInfo1Request>(command)?;
                Ok(Answer::of(&platform.info1()))
            }
            0xBF21 => {
                let response = self.session.prepare_download(platform, rng, command);
                response
                    .map(|response| Answer::of(&response))
                    .map_err(malformed)
            }
            0xBF22 => {
                read::<GetEuiccInfo2Request>(command)?;
                Ok(Answer::of(&platform.info2()))
            }
            0xBF28 => notifications::list(platform, &read(command)?),
            0xBF29 => configuration::set_nickname(platform, &read(command)?),
            0xBF2B => notifications::retrieve(platform, &read(command)?),
            0xBF2D => Ok(Answer::of(&profile_list::list(
                &platform.state,
                &read(command)?,
            ))),
            0xBF2E => {
                read::<GetEuiccChallengeRequest>(command)?;
                let euicc_challenge = self.session.new_challenge(platform, rng);
                Ok(Answer::of(&GetEuiccChallengeResponse {
                    euicc_challenge,
                    extensions: Default::default(),
                }))
            }
            0xBF30 => notifications::remove(platform, &read(command)?),
            0xBF38 => {
                let response = self.session.authenticate_server(platform, command);
                response
                    .map(|response| Answer::of(&response))
                    .map_err(malformed)
            }
            0xBF3C => addresses::get(platform, &read(command)?),
            0xBF3E => configuration::get_eid(platform, &read(command)?),
            0xBF3F => addresses::set_default_smdp_sgp22(platform, command),
            0xBF41 => {
                let response = self.session.cancel_session(platform, command);
                response
                    .map(|response| Answer::of(&response))
                    .map_err(malformed)
            }
            0xBF42 => configuration::ipae_activation(&read(command)?),
            0xBF43 => configuration::get_rat(platform, &read(command)?),
            0xBF51 => package::load(platform, command, busy),
            0xBF55 => configuration::get_eim_configuration_data(platform, &read(command)?),
            0xBF56 => configuration::get_certs(platform, &read(command)?),
            0xBF57 => configuration::add_initial_eim(platform, &read(command)?),
            0xBF58 => recovery::profile_rollback(platform, &read(command)?, busy),
            0xBF59 => configuration::configure_immediate_enabling(platform, &read(command)?),
            0xBF5A => {
                let downloaded = self.session.last_downloaded();
                recovery::immediate_enable(platform, &read(command)?, downloaded, busy)
            }
            0xBF5B => recovery::enable_emergency_profile(platform, &read(command)?, busy),
            0xBF5C => recovery::disable_emergency_profile(platform, &read(command)?, busy),
            0xBF5D => recovery::execute_fallback(platform, &read(command)?, busy),
            0xBF5E => recovery::return_from_fallback(platform, &read(command)?, busy),
            0xBF5F => configuration::connectivity_parameters(platform, &read(command)?),
            0xBF64 => reset::memory_reset(platform, &read(command)?, busy),
            0xBF65 => addresses::set_default_smdp(platform, &read(command)?),
            // Among them ES10c.EnableProfile, DisableProfile, DeleteProfile (BF31 to BF33) and eUICCMemoryReset of SGP.22
            // (BF34): an IoT eUICC does not offer them to the IPA.
            _ => Err(StatusWord::REFERENCED_DATA_NOT_FOUND.into()),
        }
    }

    fn load_bpp(&mut self, command: &[u8]) -> Result<Answer, Failure> {
        match self.session.load_bpp(&mut self.platform, command) {
            BppOutcome::Continue => Ok(Answer::default()),
            BppOutcome::Finished(result) => Ok(Answer::of(&*result)),
            BppOutcome::Fault => Err(StatusWord::NO_DIAGNOSIS.into()),
            BppOutcome::NoSession => Err(StatusWord::CONDITIONS_NOT_SATISFIED.into()),
        }
    }
}

/// The identifier octets of a command.
fn tag_of(command: &[u8]) -> Result<u32, Failure> {
    let limits = Limits::default();
    let reader = Reader::new(command, &limits).map_err(malformed)?;
    let tag = reader.peek_tag().ok_or(StatusWord::WRONG_DATA)?;
    Ok(tag.octets())
}

fn read<T: Element>(command: &[u8]) -> Result<T, Failure> {
    T::from_der(command).map_err(malformed)
}

/// Octets that are not the object they should be: 6A80.
fn malformed(error: rsp::der::Error) -> Failure {
    tracing::debug!(%error, "command refused");
    Failure::Status(StatusWord::WRONG_DATA)
}
