//! Both bindings carry every message there and back.

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rsp::binding::{Error, es9plus, esipa};

/// Runs a property over values made from random octets. Alternatives of a newer version are left
/// out: an alternative without a known tag has no place in the JSON binding.
fn hold<T>(property: impl Fn(&T) -> Result<(), TestCaseError>)
where
    T: Debug + for<'a> Arbitrary<'a>,
{
    let config = Config {
        cases: 512,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(any::<u8>(), 64..4096), |octets| {
        let message = T::arbitrary(&mut Unstructured::new(&octets))
            .map_err(|_| TestCaseError::reject("too few octets"))?;
        if format!("{message:?}").contains("Unknown(") {
            return Ok(());
        }
        property(&message)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn ok<T>(outcome: Result<T, Error>) -> Result<T, TestCaseError> {
    outcome.map_err(|error| TestCaseError::fail(format!("{error}: {error:?}")))
}

/// Whether a signature or key identifier of this length is, header included, as long as one that
/// peers send without its header. No curve and no hash gives such a length.
fn is_ambiguous(signature: &[u8], key_identifier: &[u8]) -> bool {
    [61, 93, 124].contains(&signature.len()) || key_identifier.len() == 18
}

#[test]
fn esipa_requests_survive_both_bindings() {
    hold(|request: &esipa::Request| {
        let asn1 = request.to_asn1();
        prop_assert_eq!(&ok(esipa::Request::from_asn1(&asn1))?, request);

        let (function, body) = ok(request.to_json())?;
        let read = ok(esipa::Request::from_json(function, &body))?;
        prop_assert_eq!(read.function(), request.function());
        prop_assert_eq!(ok(read.to_json())?, (function, body));
        Ok(())
    });
}

#[test]
fn esipa_responses_survive_both_bindings() {
    use rsp::sgp32::{AuthenticateClientResponseEsipa, InitiateAuthenticationResponseEsipa};
    hold(|response: &esipa::Response| {
        let function = response.function();
        match response {
            esipa::Response::InitiateAuthentication(
                InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(ok),
            ) => prop_assume!(!is_ambiguous(
                &ok.server_signature1,
                &ok.euicc_ci_pk_identifier_to_be_used
            )),
            esipa::Response::AuthenticateClient(
                AuthenticateClientResponseEsipa::AuthenticateClientOkDpEsipa(ok),
            ) => {
                prop_assume!(!is_ambiguous(&ok.smdp_signature2, &[]))
            }
            _ => {}
        }
        let asn1 = response.to_asn1().unwrap_or_default();
        prop_assert_eq!(&ok(esipa::Response::from_asn1(function, &asn1))?, response);

        let body = ok(response.to_json())?;
        let read = ok(esipa::Response::from_json(
            function,
            body.as_deref().unwrap_or_default(),
        ))?;
        prop_assert_eq!(read.function(), function);
        prop_assert_eq!(ok(read.to_json())?, body);
        Ok(())
    });
}

#[test]
fn injection_survives_both_bindings() {
    hold(|request: &esipa::InjectionRequest| {
        prop_assert_eq!(
            &ok(esipa::InjectionRequest::from_asn1(&request.to_asn1()))?,
            request
        );
        let (function, body) = ok(request.to_json())?;
        prop_assert_eq!(
            &ok(esipa::InjectionRequest::from_json(function, &body))?,
            request
        );
        Ok(())
    });
    hold(|response: &esipa::InjectionResponse| {
        prop_assert_eq!(
            &ok(esipa::InjectionResponse::from_asn1(&response.to_asn1()))?,
            response
        );
        let Ok(body) = response.to_json() else {
            // The answers with a correlation id are of SGP.32 v1.3.
            let is_newer = format!("{response:?}").contains("WithCid");
            prop_assert!(is_newer);
            return Ok(());
        };
        prop_assert_eq!(
            ok(ok(esipa::InjectionResponse::from_json(&body))?.to_json())?,
            body
        );
        Ok(())
    });
}

#[test]
fn es9plus_requests_survive_both_bindings() {
    hold(|request: &es9plus::Request| {
        let asn1 = request.to_asn1();
        prop_assert_eq!(asn1.first(), Some(&0xA2));
        prop_assert_eq!(&ok(es9plus::Request::from_asn1(&asn1))?, request);

        let (function, body) = request.to_json();
        let read = ok(es9plus::Request::from_json(function, &body))?;
        prop_assert_eq!(read.function(), request.function());
        prop_assert_eq!(read.to_json(), (function, body));
        Ok(())
    });
}

#[test]
fn es9plus_responses_survive_both_bindings() {
    hold(|response: &es9plus::Response| {
        let function = response.function();
        match response {
            es9plus::Response::InitiateAuthentication(Ok(ok)) => {
                prop_assume!(!is_ambiguous(
                    &ok.server_signature1,
                    &ok.euicc_ci_pk_id_to_be_used
                ))
            }
            es9plus::Response::AuthenticateClient(Ok(ok)) => {
                prop_assume!(!is_ambiguous(&ok.smdp_signature2, &[]));
            }
            _ => {}
        }
        // Failures are richer in JSON; from ASN.1 on they stay what they are.
        let asn1 = response.to_asn1();
        let read = ok(es9plus::Response::from_asn1(
            function,
            asn1.as_deref().unwrap_or_default(),
        ))?;
        prop_assert_eq!(read.to_asn1(), asn1);

        let body = response.to_json();
        let read = ok(es9plus::Response::from_json(
            function,
            body.as_deref().unwrap_or_default(),
        ))?;
        prop_assert_eq!(read.function(), function);
        prop_assert_eq!(read.to_json(), body);
        Ok(())
    });
}

#[test]
fn arbitrary_octets_never_panic() {
    let octets = vec(any::<u8>(), 0..256);
    let text = "[\\[{}\\]\",:a-zA-Z0-9=+/. ]{0,200}";
    let outcome = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    })
    .run(&(octets, text), |(octets, text)| {
        let _ = esipa::Request::from_asn1(&octets);
        let _ = es9plus::Request::from_asn1(&octets);
        for function in esipa::Function::ALL {
            let _ = esipa::Request::from_json(function.name(), text.as_bytes());
            let _ = esipa::Response::from_json(function, text.as_bytes());
            let _ = esipa::Response::from_asn1(function, &octets);
        }
        for function in es9plus::Function::ALL {
            let _ = es9plus::Request::from_json(function.name(), text.as_bytes());
            let _ = es9plus::Response::from_json(function, text.as_bytes());
            let _ = es9plus::Response::from_asn1(function, &octets);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
