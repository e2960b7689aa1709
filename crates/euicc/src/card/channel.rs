//! One logical channel: the application selected on it, a command on its way in, an answer on its way out.

use std::collections::VecDeque;

use super::Reply;
use crate::apdu::{Command, StatusWord};
use crate::limits::COMMAND_OCTETS_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) application: Option<Application>,
    pub(super) incoming: Option<Incoming>,
    pub(super) response: VecDeque<u8>,
}

/// What can be selected by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Application {
    Isdr,
    Ecasd,
    /// Of the enabled Profile.
    Isdp,
}

/// Blocks of a command of which the last is not there yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    command: Vec<u8>,
    next_block: u8,
}

/// What a block of STORE DATA came to.
pub(super) enum StoreData {
    Incomplete,
    Complete(Vec<u8>),
}

impl Channel {
    pub(super) fn select(&mut self, application: Application) {
        *self = Self {
            application: Some(application),
            ..Self::default()
        };
    }

    /// Takes one block. Block 00 begins a new command, except where numbers wrap: behind block FF it goes on. A block out
    /// of sequence discards what was gathered.
    pub(super) fn store_data(&mut self, command: &Command<'_>) -> Result<StoreData, StatusWord> {
        let gathered = self.incoming.take();
        let is_last = match command.p1 {
            0x11 => false,
            0x91 => true,
            _ => return Err(StatusWord::WRONG_P1_P2),
        };
        if command.data.is_empty() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let mut incoming = match gathered {
            Some(incoming) if incoming.next_block == command.p2 => incoming,
            _ if command.p2 == 0 => Incoming::default(),
            _ => return Err(StatusWord::WRONG_P1_P2),
        };
        if incoming.command.len() + command.data.len() > COMMAND_OCTETS_MAX {
            return Err(StatusWord::NOT_ENOUGH_MEMORY);
        }
        incoming.command.extend_from_slice(command.data);
        incoming.next_block = incoming.next_block.wrapping_add(1);
        if is_last {
            return Ok(StoreData::Complete(incoming.command));
        }
        self.incoming = Some(incoming);
        Ok(StoreData::Incomplete)
    }

    /// At most `octets` of the answer, and what is to be said about the rest.
    pub(super) fn take_response(&mut self, octets: usize) -> Reply {
        let taken = octets.min(self.response.len());
        let data = self.response.drain(..taken).collect();
        let status = match self.response.len() {
            0 => StatusWord::OK,
            left => StatusWord::more_data(left),
        };
        Reply { data, status }
    }
}
