//! The types that can stand alone, and finding the one that octets are.

use super::walk::{Element, Expected, Walker, generic_name};
use super::{Annotated, DumpError, Node, Object, profile};
use crate::der::{Describe, Element as _, Tag, TypeInfo};
use crate::{saip, sgp22, sgp32, tolerance};

/// A type by its name.
pub(super) struct Entry {
    name: &'static str,
    info: fn() -> TypeInfo,
    accepts: fn(Tag) -> bool,
    decodes: fn(&[u8]) -> bool,
}

macro_rules! registry {
    ( $( $module:ident { $( $name:ident )* } )* ) => {
        const TYPES: &[Entry] = &[ $( $( Entry {
            name: stringify!($name),
            info: <$module::$name as Describe>::info,
            accepts: <$module::$name as crate::der::Element>::accepts,
            decodes: |bytes| $module::$name::from_der_within(bytes, &tolerance::card_limits()).is_ok(),
        }, )* )* ];
    };
}

// Where octets fit several types equally well, the first one is taken.
registry! {
    sgp32 {
        GetEimPackageRequest GetEimPackageResponse ProvideEimPackageResult ProvideEimPackageResultResponse
        TransferEimPackageRequest TransferEimPackageResponse HandleNotificationEsipa
        EuiccPackageRequest EuiccPackageResult IpaEuiccDataRequest IpaEuiccDataResponse EimAcknowledgements
        ProfileDownloadTriggerRequest ProfileDownloadTriggerResult EimPackageReceivedWithCid EimPackageErrorWithCid
    }
    sgp22 {
        InitiateAuthenticationRequest InitiateAuthenticationResponse AuthenticateClientRequest
        AuthenticateClientResponseEs9 AuthenticateClientResponseEs11 GetBoundProfilePackageRequest
        GetBoundProfilePackageResponse HandleNotification CancelSessionRequest CancelSessionResponse
        CancelSessionRequestEs9 CancelSessionResponseEs9
        RemoteProfileProvisioningRequest RemoteProfileProvisioningResponse
    }
    sgp32 {
        InitiateAuthenticationRequestEsipa InitiateAuthenticationResponseEsipa AuthenticateClientRequestEsipa
        AuthenticateClientResponseEsipa GetBoundProfilePackageRequestEsipa GetBoundProfilePackageResponseEsipa
        CancelSessionRequestEsipa CancelSessionResponseEsipa
        AddInitialEimRequest AddInitialEimResponse GetEimConfigurationDataRequest GetEimConfigurationDataResponse
        GetCertsRequest GetCertsResponse RetrieveNotificationsListRequest RetrieveNotificationsListResponse
        EuiccMemoryResetRequest EuiccMemoryResetResponse ImmediateEnableRequest ImmediateEnableResponse
        ProfileRollbackRequest ProfileRollbackResponse
        ConfigureImmediateProfileEnablingRequest ConfigureImmediateProfileEnablingResponse
        ExecuteFallbackMechanismRequest ExecuteFallbackMechanismResponse
        ReturnFromFallbackRequest ReturnFromFallbackResponse
        EnableEmergencyProfileRequest EnableEmergencyProfileResponse
        DisableEmergencyProfileRequest DisableEmergencyProfileResponse
        GetConnectivityParametersRequest GetConnectivityParametersResponse
        IpaeActivationRequest IpaeActivationResponse SetDefaultDpAddressRequest SetDefaultDpAddressResponse
        IsdrProprietaryApplicationTemplateIot
    }
    sgp22 {
        AuthenticateServerRequest AuthenticateServerResponse PrepareDownloadRequest PrepareDownloadResponse
        BoundProfilePackage InitialiseSecureChannelRequest ConfigureIsdpRequest StoreMetadataRequest
        ReplaceSessionKeysRequest UpdateMetadataRequest
        ProfileInstallationResult ProfileInstallationResultData NotificationMetadata
        ListNotificationRequest ListNotificationResponse NotificationSentRequest NotificationSentResponse
        ProfileInfoListRequest ProfileInfoListResponse ProfileInfo
        EnableProfileRequest EnableProfileResponse DisableProfileRequest DisableProfileResponse
        DeleteProfileRequest DeleteProfileResponse SetNicknameRequest SetNicknameResponse
        GetEuiccChallengeRequest GetEuiccChallengeResponse GetEuiccInfo1Request EuiccInfo1
        GetEuiccInfo2Request EuiccInfo2 GetEuiccDataRequest GetEuiccDataResponse
        EuiccConfiguredAddressesRequest EuiccConfiguredAddressesResponse GetRatRequest GetRatResponse
    }
    // Parts of messages, which all begin with 30.
    sgp22 {
        Certificate OtherSignedNotification AuthenticateResponseOk ServerSigned1 EuiccSigned1
        InitiateAuthenticationOkEs9 AuthenticateClientOk PrepareDownloadResponseOk EuiccSigned2 SmdpSigned2
        EuiccCancelSessionSigned SuccessResult ErrorResult
    }
    sgp32 {
        EuiccPackageSigned EuiccPackageResultSigned EuiccPackageResultDataSigned EuiccPackageErrorSigned
        EuiccPackageErrorDataSigned EimConfigurationData EprAndNotifications IpaEuiccData
        InitiateAuthenticationOkEsipa AuthenticateClientOkDpEsipa
    }
    saip { EuiccResponse }
    sgp22 { SubjectPublicKeyInfo Signature OneTimePublicKey Segment86 Segment87 Segment88 }
}

/// A profile package is a run of elements, not one of them.
const PROFILE_PACKAGE: &str = "ProfilePackage";

/// The names of all types that [`annotate`](super::annotate) can be told.
pub fn types() -> impl Iterator<Item = &'static str> {
    TYPES
        .iter()
        .map(|entry| entry.name)
        .chain([PROFILE_PACKAGE])
}

/// Whether a type is one of those that bring this tag with them.
pub(super) fn has_own_tag(type_name: &str, tag: Tag) -> bool {
    TYPES
        .iter()
        .any(|entry| entry.name == type_name && (entry.accepts)(tag))
}

/// A type that was asked for.
pub(super) enum Wanted {
    ProfilePackage,
    Type(&'static Entry),
}

impl Wanted {
    pub(super) fn find(name: &str) -> Result<Self, DumpError> {
        if name.eq_ignore_ascii_case(PROFILE_PACKAGE) {
            return Ok(Self::ProfilePackage);
        }
        TYPES
            .iter()
            .find(|entry| entry.name.eq_ignore_ascii_case(name))
            .map(Self::Type)
            .ok_or_else(|| DumpError::UnknownType {
                name: name.escape_debug().collect(),
                suggestion: closest(name),
            })
    }
}

/// The type whose name differs least, unless they all differ too much.
fn closest(name: &str) -> Option<&'static str> {
    const NAME_CHARACTERS_MAX: usize = 64;
    let wanted: Vec<char> = name
        .to_ascii_lowercase()
        .chars()
        .take(NAME_CHARACTERS_MAX)
        .collect();
    let best = types().min_by_key(|known| distance(&wanted, known))?;
    (distance(&wanted, best) <= best.len() / 3).then_some(best)
}

/// Insertions, deletions and replacements between two names.
fn distance(wanted: &[char], known: &str) -> usize {
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (line, letter) in known.to_ascii_lowercase().chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, other) in row.iter().skip(1).zip(wanted) {
            left = (diagonal + usize::from(letter != *other))
                .min(left + 1)
                .min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Builds the trees of everything in the octets.
pub(super) fn annotate(bytes: &[u8], wanted: Option<Wanted>) -> Annotated {
    let mut annotated = Annotated {
        objects: Vec::new(),
        fault: None,
        notes: Vec::new(),
    };
    let mut walker = Walker::new(bytes);
    let is_profile = match wanted {
        Some(Wanted::ProfilePackage) => true,
        Some(Wanted::Type(_)) => false,
        None => profile::looks_like_one(bytes),
    };
    let mut at = 0;
    while at < bytes.len() && walker.fault.is_none() {
        if !annotated.objects.is_empty()
            && let Some(status) = status_word(bytes, at)
        {
            annotated.notes.push(status);
            break;
        }
        let Some(element) = walker.read(at, bytes.len()) else {
            break;
        };
        at = element.end();
        annotated.objects.push(match &wanted {
            _ if is_profile => Object {
                type_name: Some("ProfileElement"),
                also_fits: Vec::new(),
                node: profile::element(&mut walker, element),
            },
            Some(Wanted::Type(entry)) => Object {
                type_name: Some(entry.name),
                also_fits: Vec::new(),
                node: as_type(&mut walker, element, entry),
            },
            _ => best(&mut walker, element),
        });
    }
    annotated.fault = walker.fault;
    annotated
}

/// What a card puts behind its response: `9000`, `61xx`.
fn status_word(bytes: &[u8], at: usize) -> Option<String> {
    match *bytes.get(at..)? {
        [high @ (0x61..=0x6F | 0x90..=0x9F), low] => {
            Some(format!("status word {high:02X}{low:02X}"))
        }
        _ => None,
    }
}

fn as_type(walker: &mut Walker<'_>, element: Element, entry: &Entry) -> Node {
    if !(entry.accepts)(element.tag) {
        let mut node = walker.generic(element, entry.name.to_owned(), 0);
        let message = format!("a {} does not begin with tag {}", entry.name, element.tag);
        node.remarks.push(super::Remark::Invalid(message));
        return node;
    }
    walker.typed(
        element,
        entry.name.to_owned(),
        Expected::element((entry.info)()),
        0,
    )
}

/// The type that fits best: one that decodes before one that does not, then the one with the
/// fewest remarks, then the first.
fn best(walker: &mut Walker<'_>, element: Element) -> Object {
    // Too many parts of messages are a SEQUENCE: one that does not decode proves nothing.
    let must_decode = element.tag == Tag::SEQUENCE || !element.tag.is_constructed();
    let whole = walker.octets(element.offset..element.end());
    let mut ranked: Vec<(u64, &'static Entry, Node, Walker<'_>)> = Vec::new();
    for entry in TYPES.iter().filter(|entry| (entry.accepts)(element.tag)) {
        let decodes = (entry.decodes)(whole);
        if must_decode && !decodes {
            continue;
        }
        let mut trial = walker.trial();
        let node = as_type(&mut trial, element, entry);
        walker.charge(&trial);
        let penalty = node
            .penalty(0)
            .saturating_mul(2)
            .saturating_add(u64::from(!decodes));
        ranked.push((penalty, entry, node, trial));
    }
    let Some(least) = ranked.iter().map(|(penalty, ..)| *penalty).min() else {
        return Object {
            type_name: None,
            also_fits: Vec::new(),
            node: walker.generic(element, generic_name(element.tag), 0),
        };
    };
    let mut fitting = ranked.into_iter().filter(|(penalty, ..)| *penalty == least);
    let Some((_, entry, node, trial)) = fitting.next() else {
        return Object {
            type_name: None,
            also_fits: Vec::new(),
            node: walker.generic(element, String::new(), 0),
        };
    };
    *walker = trial;
    let also_fits = fitting.map(|(_, entry, ..)| entry.name).collect();
    Object {
        type_name: Some(entry.name),
        also_fits,
        node,
    }
}
