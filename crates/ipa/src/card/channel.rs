//! APDU exchange with the ISD-R: logical channel, STORE DATA, GET RESPONSE, proactive commands (SGP.22 v2.5 section 5.7.2,
//! ETSI TS 102 221 sections 7.4.2, 10 and 11).

use rsp::der::{self, Element, Limits, Reader};
use rsp::tolerance;

use crate::ports::{CardTransport, TransportError};

/// AID of the ISD-R (SGP.02 section 2.2.3).
const ISD_R_AID: [u8; 16] = [
    0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00,
];
/// Terminal capability of a device with an assistant: user interface, download and discovery (SGP.22 v2.5 section 5.7.1).
const TERMINAL_CAPABILITY: [u8; 5] = [0xA9, 0x03, 0x83, 0x01, 0x07];
/// Octets of one answer of the card. Larger ones are not taken.
const ANSWER_OCTETS_MAX: usize = 512 << 10;
/// Proactive commands handled after one command.
const PROACTIVE_COMMANDS_MAX: usize = 8;
/// Highest number of a logical channel.
const CHANNEL_MAX: u8 = 19;

const SW_OK: u16 = 0x9000;
const SW_CHANNEL_NOT_SUPPORTED: u16 = 0x6881;

/// How to talk to this card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSettings {
    /// Octets in one STORE DATA block, 1 to 255. Some modems take fewer than 255.
    pub block_octets: u8,
    /// Put Le at the end of the last block. Needed where the transport does not turn case 4 into GET RESPONSE (T=1).
    pub append_le: bool,
    /// Send TERMINAL CAPABILITY before the ISD-R is selected. Not where a modem does it.
    pub send_terminal_capability: bool,
    /// Fetch and answer proactive commands. Not where a modem does it.
    pub handle_proactive: bool,
}

impl Default for CardSettings {
    fn default() -> Self {
        Self {
            block_octets: 255,
            append_le: false,
            send_terminal_capability: true,
            handle_proactive: true,
        }
    }
}

/// Why a function of the card has no (usable) answer.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The exchange broke. What the card did with the command is not known.
    #[error("the exchange with the card broke")]
    Transport(#[from] TransportError),
    /// The card refused with a status word.
    #[error("{function}: the card answered {status:04X}")]
    Status {
        /// The function.
        function: &'static str,
        /// SW1 SW2.
        status: u16,
    },
    /// The answer is not what the function answers.
    #[error("{function}: the card's answer cannot be read")]
    Malformed {
        /// The function.
        function: &'static str,
        /// What is wrong with it.
        #[source]
        source: der::Error,
    },
    /// The card answered without SW1 SW2, with too much, or without end.
    #[error("{function}: the card does not keep to the protocol: {problem}")]
    Protocol {
        /// The function.
        function: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// The function ended with an error code.
    #[error("{function}: the card refused with code {code}")]
    Code {
        /// The function.
        function: &'static str,
        /// The code on the wire.
        code: i64,
    },
}

/// What is known of the card between functions. Forgotten at a reset.
#[derive(Debug, Default)]
pub struct CardSession {
    channel: Option<u8>,
    /// Resets so far, for whoever wants to know whether one took place.
    resets: u64,
}

impl CardSession {
    /// How often the card was reset through this session.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Forgets the logical channel, so that the next function opens a new one.
    pub fn forget(&mut self) {
        self.channel = None;
    }
}

/// The functions of the card. Cheap to make; what lasts is in the [`CardSession`].
pub struct Es10<'a> {
    transport: &'a mut dyn CardTransport,
    session: &'a mut CardSession,
    settings: &'a CardSettings,
}

/// A command APDU of short length.
struct Command<'a> {
    header: [u8; 4],
    data: &'a [u8],
    le: Option<u8>,
}

struct Answer {
    data: Vec<u8>,
    status: u16,
}

impl<'a> Es10<'a> {
    /// Puts a client on a transport. Nothing is sent yet; the first function opens the channel.
    pub fn new(
        transport: &'a mut dyn CardTransport,
        session: &'a mut CardSession,
        settings: &'a CardSettings,
    ) -> Self {
        Self {
            transport,
            session,
            settings,
        }
    }

    /// Resets the card. The logical channel is gone with it.
    pub fn reset(&mut self) -> Result<(), CardError> {
        self.session.forget();
        self.session.resets += 1;
        Ok(self.transport.reset()?)
    }

    /// Closes the logical channel, for whoever uses the card next.
    pub fn close(&mut self) -> Result<(), CardError> {
        let Some(channel) = self.session.channel.take() else {
            return Ok(());
        };
        let close = Command {
            header: [0x00, 0x70, 0x80, channel],
            data: &[],
            le: None,
        };
        self.exchange("MANAGE CHANNEL", 0x00, &close)?;
        Ok(())
    }

    /// Sends one ES10 command and reads its answer.
    pub(super) fn call<Q: Element, A: Element>(
        &mut self,
        function: &'static str,
        request: &Q,
    ) -> Result<A, CardError> {
        let answer = self.store_data(function, &request.to_der())?;
        decode(function, &answer)
    }

    /// Sends the data of one ES10 command and returns the answer's data.
    pub(super) fn store_data(
        &mut self,
        function: &'static str,
        data: &[u8],
    ) -> Result<Vec<u8>, CardError> {
        let channel = self.open()?;
        match self.send_blocks(function, channel, data) {
            // The card was reset behind our back. A command on a channel that is not open was not executed.
            Err(CardError::Status {
                status: SW_CHANNEL_NOT_SUPPORTED,
                ..
            }) => {
                self.session.forget();
                let channel = self.open()?;
                self.send_blocks(function, channel, data)
            }
            Err(error @ (CardError::Transport(_) | CardError::Protocol { .. })) => {
                self.session.forget();
                Err(error)
            }
            other => other,
        }
    }

    fn send_blocks(
        &mut self,
        function: &'static str,
        channel: u8,
        data: &[u8],
    ) -> Result<Vec<u8>, CardError> {
        let block_octets = usize::from(self.settings.block_octets.max(1));
        let class = proprietary_class(channel);
        let mut blocks = data.chunks(block_octets).peekable();
        let mut number: u8 = 0;
        let mut answer = Vec::new();
        while let Some(block) = blocks.next() {
            let is_last = blocks.peek().is_none();
            let p1 = if is_last { 0x91 } else { 0x11 };
            let le = (is_last && self.settings.append_le).then_some(0);
            let command = Command {
                header: [class, 0xE2, p1, number],
                data: block,
                le,
            };
            answer = self.execute(function, class, &command)?;
            number = number.wrapping_add(1);
        }
        Ok(answer)
    }

    /// Opens a logical channel with the ISD-R selected, unless there is one.
    fn open(&mut self) -> Result<u8, CardError> {
        match self.session.channel {
            Some(channel) => Ok(channel),
            None => self.open_channel(false),
        }
    }

    fn open_channel(&mut self, is_repeated: bool) -> Result<u8, CardError> {
        if self.settings.send_terminal_capability {
            let command = Command {
                header: [0x80, 0xAA, 0x00, 0x00],
                data: &TERMINAL_CAPABILITY,
                le: None,
            };
            // A card that does not know it does without.
            self.exchange("TERMINAL CAPABILITY", 0x80, &command)?;
        }
        let manage = Command {
            header: [0x00, 0x70, 0x00, 0x00],
            data: &[],
            le: Some(1),
        };
        let opened = match self.execute("MANAGE CHANNEL", 0x00, &manage) {
            // All channels are open, perhaps by an earlier run that did not end well.
            Err(CardError::Status { .. }) if !is_repeated => {
                self.reset()?;
                return self.open_channel(true);
            }
            other => other?,
        };
        let channel = match opened.as_slice() {
            [channel @ 1..=CHANNEL_MAX] => *channel,
            _ => {
                return Err(CardError::Protocol {
                    function: "MANAGE CHANNEL",
                    problem: "no channel number",
                });
            }
        };
        let class = interindustry_class(channel);
        let select = Command {
            header: [class, 0xA4, 0x04, 0x00],
            data: &ISD_R_AID,
            le: None,
        };
        self.execute("SELECT ISD-R", class, &select)?;
        self.session.channel = Some(channel);
        Ok(channel)
    }

    /// Sends a command that must end normally, and handles what the card wants of the device afterwards.
    fn execute(
        &mut self,
        function: &'static str,
        class: u8,
        command: &Command<'_>,
    ) -> Result<Vec<u8>, CardError> {
        let answer = self.exchange(function, class, command)?;
        match answer.status {
            SW_OK => Ok(answer.data),
            proactive @ 0x9100..=0x91FF => {
                if self.settings.handle_proactive {
                    self.handle_proactive(proactive)?;
                }
                Ok(answer.data)
            }
            status => Err(CardError::Status { function, status }),
        }
    }

    /// Sends a command and collects its answer: 6Cxx and 61xx (ETSI TS 102 221 section 7.3.1).
    fn exchange(
        &mut self,
        function: &'static str,
        class: u8,
        command: &Command<'_>,
    ) -> Result<Answer, CardError> {
        let mut answer = self.transmit(function, command)?;
        if let [0x6C, le] = answer.status.to_be_bytes() {
            let exact = Command {
                le: Some(le),
                ..*command
            };
            answer = self.transmit(function, &exact)?;
        }
        let mut data = answer.data;
        let mut status = answer.status;
        while let [0x61, le] = status.to_be_bytes() {
            let more = Command {
                header: [class, 0xC0, 0x00, 0x00],
                data: &[],
                le: Some(le),
            };
            let mut part = self.transmit(function, &more)?;
            if let [0x6C, le] = part.status.to_be_bytes() {
                part = self.transmit(
                    function,
                    &Command {
                        le: Some(le),
                        ..more
                    },
                )?;
            }
            if part.data.is_empty() && part.status & 0xFF00 == 0x6100 {
                return Err(CardError::Protocol {
                    function,
                    problem: "GET RESPONSE yields nothing",
                });
            }
            data.extend_from_slice(&part.data);
            if data.len() > ANSWER_OCTETS_MAX {
                return Err(CardError::Protocol {
                    function,
                    problem: "the answer does not end",
                });
            }
            status = part.status;
        }
        Ok(Answer { data, status })
    }

    fn transmit(
        &mut self,
        function: &'static str,
        command: &Command<'_>,
    ) -> Result<Answer, CardError> {
        let mut data = self.transport.transmit(&command.to_octets())?;
        let status = match data.as_slice() {
            [.., sw1, sw2] if data.len() <= 256 + 2 => u16::from_be_bytes([*sw1, *sw2]),
            _ => {
                return Err(CardError::Protocol {
                    function,
                    problem: "an answer of impossible length",
                });
            }
        };
        data.truncate(data.len().saturating_sub(2));
        Ok(Answer { data, status })
    }

    /// Fetches proactive commands and answers them. REFRESH that reaches the UICC resets the card here.
    fn handle_proactive(&mut self, announced: u16) -> Result<(), CardError> {
        let mut status = announced;
        let mut must_reset = false;
        for _ in 0..PROACTIVE_COMMANDS_MAX {
            let [0x91, length] = status.to_be_bytes() else {
                break;
            };
            let fetch = Command {
                header: [0x80, 0x12, 0x00, 0x00],
                data: &[],
                le: Some(length),
            };
            let fetched = self.exchange("FETCH", 0x80, &fetch)?;
            let Some(details) = command_details(&fetched.data) else {
                break;
            };
            must_reset |= is_resetting_refresh(details);
            let response = terminal_response(details);
            let command = Command {
                header: [0x80, 0x14, 0x00, 0x00],
                data: &response,
                le: None,
            };
            status = self.exchange("TERMINAL RESPONSE", 0x80, &command)?.status;
        }
        if must_reset {
            self.reset()?;
        }
        Ok(())
    }
}

impl Command<'_> {
    fn to_octets(&self) -> Vec<u8> {
        let mut octets = self.header.to_vec();
        if !self.data.is_empty() {
            // Blocks have at most 255 octets.
            octets.push(u8::try_from(self.data.len()).unwrap_or(u8::MAX));
            octets.extend_from_slice(self.data);
        }
        octets.extend(self.le);
        octets
    }
}

/// Reads an answer of the card under the limits for cards.
pub(super) fn decode<T: Element>(function: &'static str, answer: &[u8]) -> Result<T, CardError> {
    T::from_der_within(answer, &tolerance::card_limits())
        .map_err(|source| CardError::Malformed { function, source })
}

fn proprietary_class(channel: u8) -> u8 {
    if channel < 4 {
        0x80 | channel
    } else {
        0xC0 | (channel - 4)
    }
}

fn interindustry_class(channel: u8) -> u8 {
    if channel < 4 {
        channel
    } else {
        0x40 | (channel - 4)
    }
}

/// Number, type and qualifier of a proactive command (ETSI TS 102 223 section 6.6: BER-TLV D0 around COMPREHENSION-TLVs).
fn command_details(command: &[u8]) -> Option<[u8; 3]> {
    let limits = Limits {
        non_minimal_lengths: true,
        ..Limits::default()
    };
    let mut reader = Reader::new(command, &limits).ok()?;
    let body = reader.expect(0xD0.into()).ok()?.content();
    // Command details come first. Bit 8 of the tag is the comprehension flag.
    match body {
        [tag, 0x03, number, kind, qualifier, ..] if tag & 0x7F == 0x01 => {
            Some([*number, *kind, *qualifier])
        }
        _ => None,
    }
}

/// REFRESH with UICC Reset or eUICC Profile State Change: the file system is another one afterwards.
fn is_resetting_refresh([_, kind, qualifier]: [u8; 3]) -> bool {
    const REFRESH: u8 = 0x01;
    kind == REFRESH && matches!(qualifier, 0x04 | 0x09)
}

/// "Performed" for REFRESH and MORE TIME, "beyond the terminal's capabilities" for all else.
fn terminal_response([number, kind, qualifier]: [u8; 3]) -> Vec<u8> {
    let result = if matches!(kind, 0x01 | 0x02) {
        0x00
    } else {
        0x30
    };
    vec![
        0x81, 0x03, number, kind, qualifier, 0x82, 0x02, 0x82, 0x81, 0x83, 0x01, result,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use hex_literal::hex;

    use super::*;

    /// Answers in order, and checks every command against what was expected.
    struct Script {
        exchanges: VecDeque<(Vec<u8>, Vec<u8>)>,
        resets: usize,
    }

    impl Script {
        fn new(exchanges: &[(&[u8], &[u8])]) -> Self {
            let exchanges = exchanges
                .iter()
                .map(|(command, answer)| (command.to_vec(), answer.to_vec()))
                .collect();
            Self {
                exchanges,
                resets: 0,
            }
        }
    }

    impl CardTransport for Script {
        fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
            let (expected, answer) = self
                .exchanges
                .pop_front()
                .ok_or_else(|| TransportError::new("the script has ended"))?;
            assert_eq!(command, expected, "{command:02X?}");
            Ok(answer)
        }

        fn reset(&mut self) -> Result<(), TransportError> {
            self.resets += 1;
            Ok(())
        }
    }

    const OPENING: [(&[u8], &[u8]); 4] = [
        (&hex!("80AA000005 A903830107"), &hex!("9000")),
        (&hex!("0070000001"), &hex!("01 9000")),
        (
            &hex!("01A4040010 A0000005591010FFFFFFFF8900000100"),
            &hex!("6105"),
        ),
        (&hex!("01C0000005"), &hex!("6F03 84 01 A0 9000")),
    ];

    fn run(
        rest: &[(&[u8], &[u8])],
        settings: CardSettings,
        data: &[u8],
    ) -> (Result<Vec<u8>, CardError>, Script, CardSession) {
        let exchanges: Vec<_> = OPENING
            .iter()
            .copied()
            .chain(rest.iter().copied())
            .collect();
        let mut script = Script::new(&exchanges);
        let mut session = CardSession::default();
        let result = Es10::new(&mut script, &mut session, &settings).store_data("test", data);
        (result, script, session)
    }

    #[test]
    fn a_command_goes_in_numbered_blocks_and_its_answer_is_collected() {
        let settings = CardSettings {
            block_octets: 2,
            ..CardSettings::default()
        };
        let (result, script, session) = run(
            &[
                (&hex!("81E2110002 BF3E"), &hex!("9000")),
                (&hex!("81E2110102 035C"), &hex!("9000")),
                (&hex!("81E2910202 015A"), &hex!("6102")),
                (&hex!("81C0000002"), &hex!("6C01")),
                (&hex!("81C0000001"), &hex!("AA 6101")),
                (&hex!("81C0000001"), &hex!("BB 9000")),
            ],
            settings,
            &hex!("BF3E035C015A"),
        );
        assert_eq!(result.unwrap(), hex!("AABB"));
        assert!(script.exchanges.is_empty());
        assert_eq!(session.channel, Some(1));
    }

    #[test]
    fn refresh_is_fetched_answered_and_followed_by_a_reset() {
        let (result, script, session) = run(
            &[
                (&hex!("81E2910003 BF5100 00"), &hex!("BF5100 910B")),
                (&hex!("801200000B"), &hex!("D009 8103010104 82028182 9000")),
                (
                    &hex!("801400000C 8103010104 82028281 830100"),
                    &hex!("9000"),
                ),
            ],
            CardSettings {
                append_le: true,
                ..CardSettings::default()
            },
            &hex!("BF5100"),
        );
        assert_eq!(result.unwrap(), hex!("BF5100"));
        assert_eq!(
            (script.resets, session.resets(), session.channel),
            (1, 1, None)
        );
        assert!(script.exchanges.is_empty());
    }

    #[test]
    fn other_proactive_commands_are_declined_without_a_reset() {
        let (result, script, _) = run(
            &[
                (&hex!("81E2910003 BF2000"), &hex!("910B")),
                (
                    &hex!("801200000B"),
                    &hex!("D009 8103 01 26 00 82028182 910B"),
                ),
                (
                    &hex!("801400000C 8103012600 82028281 830130"),
                    &hex!("9000"),
                ),
            ],
            CardSettings::default(),
            &hex!("BF2000"),
        );
        assert!(result.unwrap().is_empty());
        assert_eq!(script.resets, 0);
    }

    #[test]
    fn a_lost_channel_is_opened_again_and_the_command_repeated_once() {
        let mut rest: Vec<(&[u8], &[u8])> = vec![(&hex!("81E2910003 BF2000"), &hex!("6881"))];
        rest.extend(OPENING);
        rest.push((&hex!("81E2910003 BF2000"), &hex!("9000")));
        let (result, script, _) = run(&rest, CardSettings::default(), &hex!("BF2000"));
        assert!(result.is_ok());
        assert!(script.exchanges.is_empty());
    }

    #[test]
    fn a_card_without_a_free_channel_is_reset_once() {
        let [capability, manage, _, _] = OPENING;
        let full = (manage.0, &hex!("6A81")[..]);
        let mut exchanges = vec![capability, full];
        exchanges.extend(OPENING);
        exchanges.push((&hex!("81E2910003 BF2000"), &hex!("9000")));
        exchanges.push((&hex!("00708001"), &hex!("9000")));
        let mut script = Script::new(&exchanges);
        let (mut session, settings) = (CardSession::default(), CardSettings::default());
        let mut es10 = Es10::new(&mut script, &mut session, &settings);
        es10.store_data("test", &hex!("BF2000")).unwrap();
        es10.close().unwrap();
        assert_eq!((script.resets, script.exchanges.len()), (1, 0));

        let mut script = Script::new(&[capability, full, capability, full]);
        let mut session = CardSession::default();
        let outcome = Es10::new(&mut script, &mut session, &settings).store_data("test", &[0]);
        assert!(matches!(
            outcome,
            Err(CardError::Status { status: 0x6A81, .. })
        ));
    }

    #[test]
    fn a_card_that_misbehaves_is_an_error_not_a_panic_or_a_loop() {
        let command: &[u8] = &hex!("81E2910003 BF2000");
        for answer in [&hex!("")[..], &hex!("90"), &[0x55; 300]] {
            let (result, _, session) = run(
                &[(command, answer)],
                CardSettings::default(),
                &hex!("BF2000"),
            );
            assert!(
                matches!(result, Err(CardError::Protocol { .. })),
                "{answer:02X?}"
            );
            assert_eq!(session.channel, None);
        }
        let endless = [
            (command, &hex!("6100")[..]),
            (&hex!("81C0000000"), &hex!("6100")),
        ];
        let (result, _, _) = run(&endless, CardSettings::default(), &hex!("BF2000"));
        assert!(matches!(result, Err(CardError::Protocol { .. })));
        let (result, _, _) = run(
            &[(command, &hex!("6A80"))],
            CardSettings::default(),
            &hex!("BF2000"),
        );
        assert!(matches!(
            result,
            Err(CardError::Status { status: 0x6A80, .. })
        ));
        let (result, _, _) = run(&[], CardSettings::default(), &hex!("BF2000"));
        assert!(matches!(result, Err(CardError::Transport(_))));
    }

    #[test]
    fn channels_above_three_have_the_further_class() {
        assert_eq!(
            (
                proprietary_class(3),
                proprietary_class(4),
                proprietary_class(19)
            ),
            (0x83, 0xC0, 0xCF)
        );
        assert_eq!(
            (interindustry_class(3), interindustry_class(4)),
            (0x03, 0x40)
        );
    }
}
