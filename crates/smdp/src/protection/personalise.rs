use rsp::der::{Element, Error};
use rsp::ids::Iccid;
use rsp::saip::{ElementKind, PACKAGE_LIMITS, ProfileHeader, ProfilePackage, SaipError};
use zeroize::Zeroizing;

/// Why a profile package cannot be given another ICCID.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PersonalisationError {
    /// Not a profile package.
    #[error("the profile package cannot be read")]
    Package(#[source] SaipError),
    /// Its header is broken.
    #[error("the profile header cannot be read")]
    Header(#[source] Error),
    /// Its ICCID is not where it should be.
    #[error("EF.ICCID does not hold the ICCID of the profile header")]
    IccidNotFound,
}

/// The package with another ICCID, in the profile header and in EF.ICCID. Everything else stays
/// octet for octet.
///
/// A package that carries the ICCID already is returned as it is.
pub(crate) fn personalise(
    package: &[u8],
    iccid: Iccid,
) -> Result<Zeroizing<Vec<u8>>, PersonalisationError> {
    let parsed = ProfilePackage::parse(package).map_err(PersonalisationError::Package)?;
    let header = parsed.header().map_err(PersonalisationError::Header)?;
    let old = header
        .iccid()
        .map_err(|_| PersonalisationError::IccidNotFound)?;
    if old == iccid {
        return Ok(Zeroizing::new(package.to_vec()));
    }
    let file = parsed
        .iccid_of_file()
        .map_err(PersonalisationError::Header)?;
    if file.is_some_and(|file| file != old) {
        return Err(PersonalisationError::IccidNotFound);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(package.len() + 16));
    for element in parsed.elements() {
        match element.kind() {
            ElementKind::Header => out.extend_from_slice(&with_iccid(element.raw(), iccid)?),
            kind if kind.brings_master_file() && file.is_some() => {
                let at = only_place(element.raw(), old.octets())
                    .ok_or(PersonalisationError::IccidNotFound)?;
                let start = out.len() + at;
                out.extend_from_slice(element.raw());
                if let Some(place) = out.get_mut(start..start + iccid.octets().len()) {
                    place.copy_from_slice(iccid.octets());
                }
            }
            _ => out.extend_from_slice(element.raw()),
        }
    }
    // The ten octets could have stood in another file; then EF.ICCID still has the old number.
    let check = ProfilePackage::parse(&out).map_err(PersonalisationError::Package)?;
    let changed = check
        .iccid_of_file()
        .map_err(PersonalisationError::Header)?;
    match file.is_none() || changed == Some(iccid) {
        true => Ok(out),
        false => Err(PersonalisationError::IccidNotFound),
    }
}

fn with_iccid(header: &[u8], iccid: Iccid) -> Result<Vec<u8>, PersonalisationError> {
    let mut header = ProfileHeader::from_der_within(header, &PACKAGE_LIMITS)
        .map_err(PersonalisationError::Header)?;
    // The header has the digits in order, EF.ICCID has them swapped.
    let swap = |octet: &u8| octet.rotate_left(4);
    for (digit_pair, swapped) in header.iccid_digits.iter_mut().zip(iccid.octets()) {
        *digit_pair = swap(swapped);
    }
    Ok(header.to_der())
}

/// Where ten octets stand, if they stand there once.
fn only_place(octets: &[u8], wanted: &[u8; 10]) -> Option<usize> {
    let mut places = octets
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| window == wanted);
    match (places.next(), places.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILES: [&str; 4] = [
        "ts48-v7-bertlv-suci.der",
        "ts48-v7-bertlv-suci-noramrfm.der",
        "ts48-v7-nobertlv.der",
        "ts48-v7-nobertlv-noramrfm.der",
    ];

    fn profile(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/ts48");
        std::fs::read(format!("{folder}/{name}")).unwrap()
    }

    #[test]
    fn a_profile_gets_another_iccid_and_keeps_all_else() {
        let iccid: Iccid = "8988200000000000017".parse().unwrap();
        for name in PROFILES {
            let original = profile(name);
            let changed = personalise(&original, iccid).unwrap();
            let parsed = ProfilePackage::parse(&changed).unwrap();
            assert_eq!(parsed.header().unwrap().iccid().unwrap(), iccid, "{name}");
            assert_eq!(parsed.iccid_of_file().unwrap(), Some(iccid), "{name}");
            let before = ProfilePackage::parse(&original).unwrap();
            assert_eq!(changed.len(), original.len());
            let differing = changed
                .iter()
                .zip(&original)
                .filter(|(a, b)| a != b)
                .count();
            assert!(differing <= 20, "{name}: {differing} octets differ");
            assert_eq!(parsed.imsi().unwrap(), before.imsi().unwrap());
            let own = before.header().unwrap().iccid().unwrap();
            assert_eq!(
                *personalise(&changed, own).unwrap(),
                original,
                "there and back"
            );
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let iccid: Iccid = "8988200000000000017".parse().unwrap();
        for bad in [&[][..], &[0x30, 0x00], &profile(PROFILES[0])[1..]] {
            assert!(personalise(bad, iccid).is_err());
        }
    }
}
