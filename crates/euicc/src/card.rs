//! The card as a terminal sees it: logical channels, applications, blocks, chained answers and the proactive REFRESH
//! (ETSI TS 102 221, SGP.22 v2.5 section 5.7.2, GlobalPlatform card specification section 11.11).

mod channel;
mod proactive;
mod terminal;

use rand_core::CryptoRng;
use rsp::der::{Element, Octets, Tag, Writer};
use rsp::ids::{Eid, EidOctets, Iccid};
use rsp::sgp32::{EuiccConfiguration, IsdrProprietaryApplicationTemplateIot};

use crate::apdu::{CHANNEL_MAX, Command, StatusWord};
use crate::isdr::{CatBusy, Isdr};
use crate::nvm::{Nvm, NvmError};
use crate::personalisation::Personalisation;
use crate::platform::{CardError, Failure, Platform};
use channel::{Application, Channel, StoreData};
use proactive::Proactive;

/// A software eUICC in power.
pub struct Card {
    /// `None` after the memory failed and could not be read again.
    isdr: Option<Isdr>,
    channels: [Option<Channel>; CHANNEL_MAX as usize + 1],
    proactive: Proactive,
    /// An application of the enabled Profile is in a proactive session.
    toolkit_session: bool,
    terminal_capability_seen: bool,
    /// The Profile that the terminal works with: the enabled one since the last reset or REFRESH.
    active_profile: Option<Iccid>,
}

impl Card {
    /// Makes a card in an empty memory and powers it on.
    pub fn personalise(
        personalisation: Personalisation,
        nvm: impl Nvm + 'static,
    ) -> Result<Self, CardError> {
        Platform::personalise(personalisation, Box::new(nvm)).map(Self::new)
    }

    /// Powers on the card whose state is in the memory.
    pub fn power_on(nvm: impl Nvm + 'static) -> Result<Self, CardError> {
        Platform::power_on(Box::new(nvm)).map(Self::new)
    }

    fn new(platform: Platform) -> Self {
        let active_profile = platform.state.enabled_iccid();
        Self {
            isdr: Some(Isdr::new(platform)),
            channels: fresh_channels(),
            proactive: Proactive::Idle,
            toolkit_session: false,
            terminal_capability_seen: false,
            active_profile,
        }
    }

    /// Resets the card, as a terminal does at its start and after a REFRESH: channels are closed, a session is over, and
    /// the enabled Profile becomes the active one. After a failure of the memory the state is read from it again.
    pub fn reset(&mut self) -> Result<(), CardError> {
        self.channels = fresh_channels();
        self.proactive = Proactive::Idle;
        self.toolkit_session = false;
        self.terminal_capability_seen = false;
        let Some(mut isdr) = self.isdr.take() else {
            return Err(CardError::Dead);
        };
        let has_failed = isdr.platform.fault().is_some() || isdr.interrupt().is_err();
        if has_failed {
            isdr = Isdr::new(isdr.platform.restart()?);
        }
        self.active_profile = isdr.platform.state.enabled_iccid();
        self.isdr = Some(isdr);
        Ok(())
    }

    /// Answers one command APDU with data and status word. A card that lost power or whose memory failed answers with
    /// nothing at all until it is reset.
    pub fn transmit(&mut self, apdu: &[u8], rng: &mut dyn CryptoRng) -> Vec<u8> {
        let is_alive = self
            .isdr
            .as_ref()
            .is_some_and(|isdr| isdr.platform.fault().is_none());
        if !is_alive {
            return Vec::new();
        }
        let (mut response, status) = match self.respond(apdu, rng) {
            Ok(Reply { data, status }) => (data, self.announce(status)),
            Err(Failure::Status(status)) => (Vec::new(), status),
            Err(Failure::Memory) => match self.fault() {
                Some(NvmError::PowerLost) => return Vec::new(),
                _ => (Vec::new(), StatusWord::MEMORY_FAILURE),
            },
        };
        response.extend(status.octets());
        response
    }

    /// The EID.
    pub fn eid(&self) -> Option<Eid> {
        Eid::try_from(self.platform()?.state.eid).ok()
    }

    /// The Profile that the terminal works with. A Profile that was enabled becomes active with the REFRESH or the reset
    /// that follows. Whether it has connectivity is for a simulation to say.
    pub fn active_profile(&self) -> Option<Iccid> {
        self.active_profile
    }

    /// The Profile in state enabled.
    pub fn enabled_profile(&self) -> Option<Iccid> {
        self.platform()?.state.enabled_iccid()
    }

    /// Begins or ends a proactive session of an application of the enabled Profile. During one, changes of Profile
    /// answer catBusy.
    pub fn set_toolkit_session(&mut self, is_open: bool) {
        self.toolkit_session = is_open;
    }

    fn platform(&self) -> Option<&Platform> {
        self.isdr.as_ref().map(|isdr| &isdr.platform)
    }

    fn fault(&self) -> Option<&NvmError> {
        self.platform().and_then(Platform::fault)
    }

    fn respond(&mut self, apdu: &[u8], rng: &mut dyn CryptoRng) -> Result<Reply, Failure> {
        let command = Command::parse(apdu)?;
        if self.channel(command.channel).is_none() {
            return Err(StatusWord::CHANNEL_NOT_SUPPORTED.into());
        }
        if command.ins == INS_GET_RESPONSE {
            return self.get_response(&command);
        }
        if let Some(channel) = self.channel(command.channel) {
            channel.response.clear();
            if command.ins != INS_STORE_DATA {
                channel.incoming = None;
            }
        }
        match (command.is_proprietary, command.ins) {
            (false, INS_SELECT) => self.select(&command),
            (false, INS_MANAGE_CHANNEL) => self.manage_channel(&command),
            (true, INS_STORE_DATA) => self.store_data(&command, rng),
            (true, INS_GET_DATA) => self.get_data(&command),
            (true, INS_TERMINAL_CAPABILITY) => {
                self.terminal_capability_seen = true;
                Ok(Reply::ok())
            }
            (true, INS_FETCH) => self.fetch(&command),
            (true, INS_TERMINAL_RESPONSE) => self.terminal_response(&command),
            // Toolkit applications are not part of this card.
            (true, INS_TERMINAL_PROFILE | INS_ENVELOPE | INS_STATUS) => Ok(Reply::ok()),
            _ => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED.into()),
        }
    }

    fn channel(&mut self, number: u8) -> Option<&mut Channel> {
        self.channels.get_mut(usize::from(number))?.as_mut()
    }

    /// Says with 91xx that a proactive command waits.
    fn announce(&self, status: StatusWord) -> StatusWord {
        match self.proactive {
            Proactive::Waiting if status == StatusWord::OK => {
                StatusWord::proactive(proactive::REFRESH.len())
            }
            _ => status,
        }
    }

    fn select(&mut self, command: &Command<'_>) -> Result<Reply, Failure> {
        if command.p1 != SELECT_BY_NAME {
            return Err(StatusWord::WRONG_P1_P2.into());
        }
        let application = self
            .application(command.data)
            .ok_or(StatusWord::NOT_FOUND)?;
        if let Some(channel) = self.channel(command.channel) {
            channel.select(application);
        }
        let wants_nothing = command.p2 & 0x0C == 0x0C;
        let information = if wants_nothing {
            Vec::new()
        } else {
            self.fci(application, command.data)
        };
        self.reply(command, information)
    }

    fn application(&self, aid: &[u8]) -> Option<Application> {
        let platform = self.platform()?;
        let is_hidden =
            platform.state.options.terminal_capability_required && !self.terminal_capability_seen;
        let enabled = platform.state.enabled_profile();
        if aid == ISDR_AID {
            (!is_hidden).then_some(Application::Isdr)
        } else if aid == ECASD_AID {
            Some(Application::Ecasd)
        } else {
            enabled
                .filter(|profile| profile.aid.octets() == aid)
                .map(|_| Application::Isdp)
        }
    }

    /// File control information: `6F { 84 AID, A5 { 9F65 block size }, E1 … }`. The last is of SGP.32 and for the ISD-R; an
    /// SGP.22 card has E0 in its place.
    fn fci(&self, application: Application, aid: &[u8]) -> Vec<u8> {
        let has_profile = self.enabled_profile().is_some();
        let enabled_profile = has_profile.then_some(EuiccConfiguration::ENABLED_PROFILE);
        let mut writer = Writer::new();
        writer.tlv(Tag::new(0x6F), |writer| {
            writer.value(0x84, &Octets::from(aid));
            writer.tlv(Tag::new(0xA5), |writer| writer.value(0x9F65, &[0xFF_u8]));
            if application == Application::Isdr {
                IsdrProprietaryApplicationTemplateIot {
                    euicc_configuration: EuiccConfiguration::of(enabled_profile),
                    extensions: Default::default(),
                }
                .encode_element(writer);
            }
        });
        writer.into_bytes()
    }

    fn manage_channel(&mut self, command: &Command<'_>) -> Result<Reply, Failure> {
        match (command.p1, command.p2) {
            (0x00, 0x00) => {
                if command.le.is_none() {
                    return Err(StatusWord::exact_length(1).into());
                }
                let free = (1..=CHANNEL_MAX).find(|number| self.channel(*number).is_none());
                let number = free.ok_or(StatusWord::FUNCTION_NOT_SUPPORTED)?;
                self.set_channel(number, Some(Channel::default()));
                Ok(Reply {
                    data: vec![number],
                    status: StatusWord::OK,
                })
            }
            (0x00, number @ 1..=CHANNEL_MAX) if self.channel(number).is_none() => {
                self.set_channel(number, Some(Channel::default()));
                Ok(Reply::ok())
            }
            (0x80, number @ 1..=CHANNEL_MAX) if self.channel(number).is_some() => {
                self.set_channel(number, None);
                Ok(Reply::ok())
            }
            (0x00 | 0x80, 0..=CHANNEL_MAX) => Err(StatusWord::CHANNEL_NOT_SUPPORTED.into()),
            _ => Err(StatusWord::WRONG_P1_P2.into()),
        }
    }

    fn set_channel(&mut self, number: u8, channel: Option<Channel>) {
        if let Some(slot) = self.channels.get_mut(usize::from(number)) {
            *slot = channel;
        }
    }

    fn store_data(
        &mut self,
        command: &Command<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Reply, Failure> {
        let busy = CatBusy(self.toolkit_session || self.proactive != Proactive::Idle);
        let Some(channel) = self.channel(command.channel) else {
            return Err(StatusWord::CHANNEL_NOT_SUPPORTED.into());
        };
        if channel.application != Some(Application::Isdr) {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED.into());
        }
        let es10 = match channel.store_data(command)? {
            StoreData::Incomplete => return Ok(Reply::ok()),
            StoreData::Complete(es10) => es10,
        };
        let Some(isdr) = &mut self.isdr else {
            return Err(Failure::Memory);
        };
        let answer = isdr.execute(&es10, busy, rng)?;
        if answer.refresh {
            self.proactive = Proactive::Waiting;
        }
        self.reply(command, answer.data)
    }

    /// GET DATA of the EID from the ECASD.
    fn get_data(&mut self, command: &Command<'_>) -> Result<Reply, Failure> {
        let eid = self.platform().map(|platform| platform.state.eid);
        let channel = self.channel(command.channel);
        let is_ecasd = channel.is_some_and(|it| it.application == Some(Application::Ecasd));
        match (command.p1, command.p2, eid) {
            (0x00, 0x5A, Some(eid)) if is_ecasd => {
                let mut writer = Writer::new();
                writer.value::<EidOctets>(0x5A, &eid);
                self.reply(command, writer.into_bytes())
            }
            _ => Err(StatusWord::REFERENCED_DATA_NOT_FOUND.into()),
        }
    }

    /// Data with a command that names no Le is announced (T=0), else given as far as Le goes.
    fn reply(&mut self, command: &Command<'_>, data: Vec<u8>) -> Result<Reply, Failure> {
        if data.is_empty() {
            return Ok(Reply::ok());
        }
        let Some(channel) = self.channel(command.channel) else {
            return Err(StatusWord::CHANNEL_NOT_SUPPORTED.into());
        };
        channel.response = data.into();
        match command.le {
            None => {
                let status = StatusWord::more_data(channel.response.len());
                Ok(Reply {
                    data: Vec::new(),
                    status,
                })
            }
            Some(le) => Ok(channel.take_response(le)),
        }
    }

    fn get_response(&mut self, command: &Command<'_>) -> Result<Reply, Failure> {
        let Some(channel) = self.channel(command.channel) else {
            return Err(StatusWord::CHANNEL_NOT_SUPPORTED.into());
        };
        if command.p1 != 0 || command.p2 != 0 {
            return Err(StatusWord::WRONG_P1_P2.into());
        }
        let available = channel.response.len();
        match command.le {
            _ if available == 0 => Err(StatusWord::CONDITIONS_NOT_SATISFIED.into()),
            None => Err(StatusWord::exact_length(available).into()),
            // 256 is written 00 and means: as much as there is.
            Some(le) if le > available && le != 256 => {
                Err(StatusWord::exact_length(available).into())
            }
            Some(le) => Ok(channel.take_response(le)),
        }
    }

    fn fetch(&mut self, command: &Command<'_>) -> Result<Reply, Failure> {
        let length = proactive::REFRESH.len();
        if command.channel != 0 || self.proactive != Proactive::Waiting {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED.into());
        }
        if command.le.is_none_or(|le| le < length) {
            return Err(StatusWord::exact_length(length).into());
        }
        self.proactive = Proactive::Fetched;
        Ok(Reply {
            data: proactive::REFRESH.to_vec(),
            status: StatusWord::OK,
        })
    }

    fn terminal_response(&mut self, command: &Command<'_>) -> Result<Reply, Failure> {
        if command.channel != 0 || self.proactive != Proactive::Fetched {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED.into());
        }
        let is_performed = proactive::is_performed(command.data).ok_or(StatusWord::WRONG_DATA)?;
        if is_performed {
            self.proactive = Proactive::Idle;
            self.active_profile = self.enabled_profile();
        } else {
            // The terminal could not at the moment: it is asked again.
            self.proactive = Proactive::Waiting;
        }
        Ok(Reply::ok())
    }
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Card")
            .field("eid", &self.eid())
            .finish_non_exhaustive()
    }
}

/// Data and status word.
#[derive(Debug)]
struct Reply {
    data: Vec<u8>,
    status: StatusWord,
}

impl Reply {
    fn ok() -> Self {
        Self {
            data: Vec::new(),
            status: StatusWord::OK,
        }
    }
}

/// Only the basic channel is open after a reset.
fn fresh_channels() -> [Option<Channel>; CHANNEL_MAX as usize + 1] {
    let mut channels = [const { None }; CHANNEL_MAX as usize + 1];
    if let Some(basic) = channels.first_mut() {
        *basic = Some(Channel::default());
    }
    channels
}

/// AID of the ISD-R.
pub(crate) const ISDR_AID: [u8; 16] = [
    0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00,
];
/// AID of the ECASD.
const ECASD_AID: [u8; 16] = [
    0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x02, 0x00,
];
const SELECT_BY_NAME: u8 = 0x04;

const INS_TERMINAL_PROFILE: u8 = 0x10;
const INS_FETCH: u8 = 0x12;
const INS_TERMINAL_RESPONSE: u8 = 0x14;
const INS_MANAGE_CHANNEL: u8 = 0x70;
const INS_SELECT: u8 = 0xA4;
const INS_TERMINAL_CAPABILITY: u8 = 0xAA;
const INS_GET_RESPONSE: u8 = 0xC0;
const INS_ENVELOPE: u8 = 0xC2;
const INS_GET_DATA: u8 = 0xCA;
const INS_STORE_DATA: u8 = 0xE2;
const INS_STATUS: u8 = 0xF2;
