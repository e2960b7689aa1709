//! A small terminal in front of the card, for tests and simulations.

use rand_core::CryptoRng;

use super::{Card, ISDR_AID};
use crate::apdu::{StatusWord, interindustry_class, proprietary_class};

/// The logical channel that [`Card::es10`] uses: one that terminals which count upwards hardly reach.
const CHANNEL: u8 = 19;

impl Card {
    /// Sends one ES10 command as a terminal does: opens a channel, selects the ISD-R, cuts the command into STORE DATA
    /// blocks and gathers the answer with GET RESPONSE. A REFRESH is fetched and answered; the reset that it asks for is
    /// left out.
    ///
    /// Fails with the status word when it is an error, and with 0000 when the card does not answer.
    pub fn es10(&mut self, command: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, StatusWord> {
        self.open_isdr(rng)?;
        let cla = proprietary_class(CHANNEL);
        let blocks = command.chunks(255);
        let last = blocks.len().saturating_sub(1);
        let mut answer = Vec::new();
        for (index, block) in blocks.enumerate() {
            let p1 = if index == last { 0x91 } else { 0x11 };
            let mut apdu = vec![cla, 0xE2, p1, index as u8, block.len() as u8];
            apdu.extend_from_slice(block);
            answer = self.exchange(&apdu, rng)?;
        }
        Ok(answer)
    }

    fn open_isdr(&mut self, rng: &mut dyn CryptoRng) -> Result<(), StatusWord> {
        if self.channel(CHANNEL).is_some() {
            return Ok(());
        }
        self.exchange(
            &[0x80, 0xAA, 0x00, 0x00, 0x05, 0xA9, 0x03, 0x83, 0x01, 0x07],
            rng,
        )?;
        self.exchange(&[0x00, 0x70, 0x00, CHANNEL], rng)?;
        let mut select = vec![interindustry_class(CHANNEL), 0xA4, 0x04, 0x00, 0x10];
        select.extend(ISDR_AID);
        self.exchange(&select, rng)?;
        Ok(())
    }

    /// One command with all that belongs to it.
    fn exchange(&mut self, apdu: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, StatusWord> {
        let mut gathered = Vec::new();
        let mut response = self.transmit(apdu, rng);
        loop {
            let Some((data, status)) = response.split_last_chunk::<2>() else {
                return Err(StatusWord(0));
            };
            gathered.extend_from_slice(data);
            response = match *status {
                [0x90, 0x00] => return Ok(gathered),
                [0x91, length] => {
                    self.handle_refresh(length, rng)?;
                    return Ok(gathered);
                }
                [0x61, length] => {
                    let get_response = [proprietary_class(CHANNEL), 0xC0, 0x00, 0x00, length];
                    self.transmit(&get_response, rng)
                }
                other => return Err(StatusWord(u16::from_be_bytes(other))),
            };
        }
    }

    fn handle_refresh(&mut self, length: u8, rng: &mut dyn CryptoRng) -> Result<(), StatusWord> {
        const DONE: [u8; 17] = [
            0x80, 0x14, 0x00, 0x00, 0x0C, 0x81, 0x03, 0x01, 0x01, 0x04, 0x82, 0x02, 0x82, 0x81,
            0x83, 0x01, 0x00,
        ];
        for apdu in [&[0x80, 0x12, 0x00, 0x00, length][..], &DONE] {
            let response = self.transmit(apdu, rng);
            match response.split_last_chunk::<2>() {
                Some((_, [0x90, 0x00])) => {}
                Some((_, status)) => return Err(StatusWord(u16::from_be_bytes(*status))),
                None => return Err(StatusWord(0)),
            }
        }
        Ok(())
    }
}
