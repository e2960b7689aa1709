//! What stands around the body: paths, content types, and the headers that name protocol version
//! and kind of client (SGP.32 v1.2 section 6.1, SGP.22 v2.5 section 6.2).

use std::fmt;
use std::str::FromStr;

/// Path of every function of ESipa and ES9+ in the ASN.1 binding.
pub const PATH_ASN1: &str = "/gsma/rsp2/asn1";
/// `Content-Type` of the ASN.1 binding.
pub const CONTENT_TYPE_ASN1: &str = "application/x-gsma-rsp-asn1";
/// `Content-Type` of the JSON binding.
pub const CONTENT_TYPE_JSON: &str = "application/json;charset=UTF-8";
/// Header that names the protocol version, in requests and answers.
pub const HEADER_ADMIN_PROTOCOL: &str = "X-Admin-Protocol";

/// The interfaces with JSON functions below `/gsma/rsp2/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interface {
    /// IPA to eIM, and eIM to IPA for injection.
    Esipa,
    /// LPA, IPA or eIM to SM-DP+ or SM-DS (ES9+, ES9+', ES11).
    Es9Plus,
    /// Operator to SM-DP+.
    Es2Plus,
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// The ASN.1 binding; the body says which function.
    Asn1,
    /// The JSON binding.
    Json {
        /// The interface.
        interface: Interface,
        /// The function, unchecked.
        function: &'a str,
    },
}

/// The encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// DER.
    Asn1,
    /// JSON.
    Json,
}

/// Value of `X-Admin-Protocol`: `gsma/rsp/v<major>.<minor>.<revision>`.
///
/// Peers write the version of SGP.22 (v2.1.0 up to v2.5.0) or of SGP.32 (v1.3.0); whether a
/// major version is spoken is for the caller to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdminProtocol {
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
    /// Revision.
    pub revision: u8,
}

/// The kinds of client that `User-Agent` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserAgent {
    /// `gsma-rsp-ipad`: IPA in the device.
    Ipad,
    /// `gsma-rsp-ipae`: IPA in the eUICC.
    Ipae,
    /// `gsma-rsp-lpad`: LPA in the device; also an eIM on ES9+'.
    Lpad,
}

/// Why a header value is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// Not a version.
    #[error("X-Admin-Protocol should be gsma/rsp/v<major>.<minor>.<revision>")]
    AdminProtocol,
    /// Not a kind of client.
    #[error("User-Agent should begin with gsma-rsp-ipad, gsma-rsp-ipae or gsma-rsp-lpad")]
    UserAgent,
    /// Neither binding.
    #[error("Content-Type should be application/x-gsma-rsp-asn1 or application/json")]
    ContentType,
}

impl Interface {
    /// The path segment.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esipa => "esipa",
            Self::Es9Plus => "es9plus",
            Self::Es2Plus => "es2plus",
        }
    }

    /// The path of one of its functions in the JSON binding.
    pub fn path(self, function: &str) -> String {
        format!("/gsma/rsp2/{}/{function}", self.name())
    }
}

impl<'a> Route<'a> {
    /// Reads a path; a query is not allowed in it.
    pub fn from_path(path: &'a str) -> Option<Self> {
        if path == PATH_ASN1 {
            return Some(Self::Asn1);
        }
        let (interface, function) = path.strip_prefix("/gsma/rsp2/")?.split_once('/')?;
        let interface = [Interface::Esipa, Interface::Es9Plus, Interface::Es2Plus]
            .into_iter()
            .find(|known| known.name() == interface)?;
        (!function.is_empty() && function.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(
            Self::Json {
                interface,
                function,
            },
        )
    }

    /// The binding that the path implies.
    pub fn binding(&self) -> Binding {
        match self {
            Self::Asn1 => Binding::Asn1,
            Self::Json { .. } => Binding::Json,
        }
    }
}

impl Binding {
    /// The value of `Content-Type` to send.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Asn1 => CONTENT_TYPE_ASN1,
            Self::Json => CONTENT_TYPE_JSON,
        }
    }

    /// Reads a `Content-Type`; parameters and case do not matter (RFC 9110 section 8.3.1).
    pub fn from_content_type(value: &str) -> Result<Self, InvalidHeader> {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(CONTENT_TYPE_ASN1) {
            return Ok(Self::Asn1);
        }
        if media_type.eq_ignore_ascii_case("application/json") {
            return Ok(Self::Json);
        }
        Err(InvalidHeader::ContentType)
    }
}

impl AdminProtocol {
    /// What to send when nothing else is known: the version that every peer seen understands.
    pub const DEFAULT: Self = Self {
        major: 2,
        minor: 1,
        revision: 0,
    };
}

impl FromStr for AdminProtocol {
    type Err = InvalidHeader;

    fn from_str(value: &str) -> Result<Self, InvalidHeader> {
        let number = |text: &str| {
            let is_digits =
                (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            is_digits.then(|| text.parse::<u8>().ok()).flatten()
        };
        let parse = || {
            let mut numbers = value.trim().strip_prefix("gsma/rsp/v")?.split('.');
            let version = Self {
                major: number(numbers.next()?)?,
                minor: number(numbers.next()?)?,
                revision: number(numbers.next()?)?,
            };
            numbers.next().is_none().then_some(version)
        };
        parse().ok_or(InvalidHeader::AdminProtocol)
    }
}

impl fmt::Display for AdminProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gsma/rsp/v{}.{}.{}",
            self.major, self.minor, self.revision
        )
    }
}

impl UserAgent {
    /// The value to send.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipad => "gsma-rsp-ipad",
            Self::Ipae => "gsma-rsp-ipae",
            Self::Lpad => "gsma-rsp-lpad",
        }
    }
}

impl FromStr for UserAgent {
    type Err = InvalidHeader;

    /// Free text may follow behind a semicolon.
    fn from_str(value: &str) -> Result<Self, InvalidHeader> {
        let kind = value.split(';').next().unwrap_or_default().trim();
        [Self::Ipad, Self::Ipae, Self::Lpad]
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or(InvalidHeader::UserAgent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_and_read() {
        assert_eq!(
            Interface::Esipa.path("getEimPackage"),
            "/gsma/rsp2/esipa/getEimPackage"
        );
        assert_eq!(Route::from_path("/gsma/rsp2/asn1"), Some(Route::Asn1));
        for interface in [Interface::Esipa, Interface::Es9Plus, Interface::Es2Plus] {
            assert_eq!(
                Route::from_path(&interface.path("cancelSession")),
                Some(Route::Json {
                    interface,
                    function: "cancelSession"
                })
            );
        }
        for path in [
            "",
            "/",
            "/gsma/rsp2/asn1/",
            "/gsma/rsp2/esipa/",
            "/gsma/rsp2/esipa",
            "/gsma/rsp2/es12/x",
            "/gsma/rsp2/esipa/a/b",
            "/gsma/rsp2/esipa/a?b",
            "/gsma/rsp2/esipa/..",
            "/gsma/rsp2/ESIPA/a",
        ] {
            assert_eq!(Route::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn content_types_may_carry_parameters() {
        for value in [
            "application/json",
            "application/json;charset=UTF-8",
            "Application/JSON ; charset=utf-8",
        ] {
            assert_eq!(Binding::from_content_type(value), Ok(Binding::Json));
        }
        assert_eq!(
            Binding::from_content_type("application/x-gsma-rsp-asn1"),
            Ok(Binding::Asn1)
        );
        for value in [
            "",
            "text/json",
            "application/jsonx",
            "application/x-gsma-rsp-asn1x",
        ] {
            assert_eq!(
                Binding::from_content_type(value),
                Err(InvalidHeader::ContentType)
            );
        }
    }

    #[test]
    fn any_version_is_read_and_nothing_else() {
        for value in [
            "gsma/rsp/v2.1.0",
            "gsma/rsp/v2.4.0",
            "gsma/rsp/v1.3.0",
            "gsma/rsp/v3.0.255",
        ] {
            assert_eq!(value.parse::<AdminProtocol>().unwrap().to_string(), value);
        }
        for value in [
            "",
            "gsma/rsp/v2",
            "gsma/rsp/v2.1",
            "gsma/rsp/v2.1.0.0",
            "gsma/rsp/v2.1.256",
            "gsma/rsp/v2.1.",
            "gsma/rsp/v2.+1.0",
            "gsma/rsp/2.1.0",
            "gsma/rsp/v2.1.0x",
            "gsma/rsp/v2.1.0000",
        ] {
            assert_eq!(
                value.parse::<AdminProtocol>(),
                Err(InvalidHeader::AdminProtocol),
                "{value}"
            );
        }
    }

    #[test]
    fn user_agents_may_carry_free_text() {
        assert_eq!("gsma-rsp-ipad".parse(), Ok(UserAgent::Ipad));
        assert_eq!("gsma-rsp-ipae; maker 1.0".parse(), Ok(UserAgent::Ipae));
        assert_eq!("gsma-rsp-lpad;com.example".parse(), Ok(UserAgent::Lpad));
        for value in [
            "",
            "curl/8",
            "gsma-rsp-ipadx",
            "x gsma-rsp-ipad",
            "GSMA-RSP-IPAD",
        ] {
            assert_eq!(
                value.parse::<UserAgent>(),
                Err(InvalidHeader::UserAgent),
                "{value}"
            );
        }
    }
}
