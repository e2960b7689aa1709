use crate::der::{Extensions, Null};
use crate::{codes, sequence};

codes! {
    /// PEStatus.status. Values from 0x6000 to 0x6FFF and from 0x9000 to 0x9FFF are ISO 7816
    /// status words, those from 0xA000 on are the manufacturer's own.
    pub enum PeStatusCode {
        Ok = 0,
        PeNotSupported = 1,
        MemoryFailure = 2,
        BadValues = 3,
        NotEnoughMemory = 4,
        InvalidRequestFormat = 5,
        InvalidParameter = 6,
        RuntimeNotSupported = 7,
        LibNotSupported = 8,
        TemplateNotSupported = 9,
        FeatureNotSupported = 10,
        PinCodeMissing = 11,
        UnsupportedProfileVersion = 31,
    }
}

sequence! {
    /// PEStatus: what became of one profile element, or of the package.
    pub struct PeStatus @ 0x30 {
        /// The status.
        req status @ 0x80: PeStatusCode,
        /// Identification number of the element concerned.
        opt identification @ 0x81: i64,
        /// 0 to 255; meaning depends on the status.
        opt additional_information @ 0x82: i64,
        /// Octets from the start of the element to the part concerned.
        opt offset @ 0x83: i64,
    }
}

sequence! {
    /// EUICCResponse: what an eUICC says about the installation of a profile package. It is
    /// the `simaResponse` of a ProfileInstallationResult.
    pub struct EuiccResponse @ 0x30 {
        /// One entry `ok`, or an entry for each element that was not installed.
        req pe_status @ 0xA0: Vec<PeStatus>,
        /// Present when nothing was installed.
        opt profile_installation_aborted @ 0x81: Null,
        /// 2 to 64 characters.
        opt status_message @ 0x82: String,
    }
}

impl PeStatus {
    /// A status, with the element it is about where there is one.
    pub fn new(status: PeStatusCode, identification: Option<u16>) -> Self {
        Self {
            status,
            identification: identification.map(i64::from),
            additional_information: None,
            offset: None,
            extensions: Extensions::default(),
        }
    }
}

impl EuiccResponse {
    /// Everything was installed.
    pub fn success() -> Self {
        Self::of(vec![PeStatus::new(PeStatusCode::Ok, None)])
    }

    /// Installed, except for elements that may be left out.
    pub(super) fn of(pe_status: Vec<PeStatus>) -> Self {
        Self {
            pe_status,
            profile_installation_aborted: None,
            status_message: None,
            extensions: Extensions::default(),
        }
    }

    /// Nothing was installed. The message is cut to the 64 characters the format allows.
    pub fn aborted(status: PeStatus, message: &str) -> Self {
        Self {
            profile_installation_aborted: Some(Null),
            status_message: (message.chars().count() >= 2)
                .then(|| message.chars().take(64).collect()),
            ..Self::of(vec![status])
        }
    }

    /// Whether the profile was installed.
    pub fn is_installed(&self) -> bool {
        self.profile_installation_aborted.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::Element;

    #[test]
    fn success_has_the_octets_that_sgp32_names() {
        let success = EuiccResponse::success();
        assert_eq!(success.to_der(), hex_literal::hex!("3007A005300380 0100"));
        assert_eq!(EuiccResponse::from_der(&success.to_der()).unwrap(), success);
    }

    #[test]
    fn an_abort_carries_status_element_and_a_bounded_message() {
        let status = PeStatus::new(PeStatusCode::UnsupportedProfileVersion, Some(300));
        let aborted = EuiccResponse::aborted(status, &"é".repeat(80));
        assert_eq!(
            aborted.to_der()[..13],
            hex_literal::hex!("308190 A009 3007 80011F 8102012C")[..13]
        );
        assert_eq!(
            aborted
                .status_message
                .as_ref()
                .map(|text| text.chars().count()),
            Some(64)
        );
        assert!(
            !EuiccResponse::from_der(&aborted.to_der())
                .unwrap()
                .is_installed()
        );
    }
}
