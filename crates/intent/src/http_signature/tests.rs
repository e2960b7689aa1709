use proptest::prelude::*;

use super::*;

/// RFC 9421 appendix B.1.4, test-key-ed25519.
const RFC_KEY: &str = "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5";
const RFC_PUBLIC_KEY: &str = "26b40b8f93fff3d897112f7ebc582b232dbd72517d082fe83cfb30ddce43d1bb";

/// Milliseconds at which the requests of these tests are signed.
const NOW_MS: u64 = 1_790_000_000_000;
const NONCE: &str = "bm9uY2Utbm9uY2U_";
const BODY: &[u8] = br#"{"action":"x"}"#;
const MAX_AGE_MS: u64 = 300_000;

fn key() -> ClientKey {
    let seed = hex::decode(RFC_KEY).unwrap().try_into().unwrap();
    ClientKey::from_seed("ci-runner".parse().unwrap(), &seed)
}

fn parts() -> RequestParts<'static> {
    RequestParts::from_target("POST", "/v1/intents")
}

fn signed_by(parts: &RequestParts<'_>) -> HttpProof {
    sign(parts, BODY, &key(), NOW_MS / 1000, NONCE, TAG_INTENT).unwrap()
}

fn signed() -> HttpProof {
    signed_by(&parts())
}

fn judge(proof: &HttpProof) -> Result<Verified, SignatureError> {
    verify(proof, BODY, TAG_INTENT, &key().public(), NOW_MS, MAX_AGE_MS)
}

/// Signs whatever Signature-Input says, as a careless or hostile client would. `member` is the value of the label `a`.
fn signed_as(member: &str, lines: &[(&str, String)]) -> HttpProof {
    let signature = key().sign(base::assemble(lines, member).as_bytes());
    HttpProof {
        signature_input: format!("a={member}"),
        signature: fields::signature("a", &signature),
        ..signed()
    }
}

fn usual_lines() -> Vec<(&'static str, String)> {
    vec![
        ("@method", "POST".to_owned()),
        ("@path", "/v1/intents".to_owned()),
        ("content-digest", fields::content_digest(BODY)),
    ]
}

fn parameters() -> String {
    format!(
        ";created={};nonce=\"{NONCE}\";keyid=\"{}\";alg=\"ed25519\";tag=\"palisade-intent\"",
        NOW_MS / 1000,
        key().id()
    )
}

#[test]
fn makes_the_signature_of_rfc_9421_b_2_6() {
    assert_eq!(hex::encode(key().public().as_bytes()), RFC_PUBLIC_KEY);
    let lines = [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("@method", "POST"),
        ("@path", "/foo"),
        ("@authority", "example.com"),
        ("content-type", "application/json"),
        ("content-length", "18"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let base = base::assemble(
        &lines,
        r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
    );
    assert_eq!(
        base,
        r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#
    );
    assert_eq!(
        fields::signature("sig-b26", &key().sign(base.as_bytes())),
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    );
}

#[test]
fn makes_the_digests_of_rfc_9530() {
    // RFC 9530 appendices B.1 (with its line break) and B.2 (empty), RFC 9421 section 2.
    for (body, digest) in [
        (
            "{\"hello\": \"world\"}\n",
            "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=",
        ),
        ("", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        (
            "{\"hello\": \"world\"}",
            "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
        ),
    ] {
        assert_eq!(
            fields::content_digest(body.as_bytes()),
            format!("sha-256=:{digest}:")
        );
    }
}

#[test]
fn a_signed_request_verifies() {
    let proof = signed();
    assert_eq!(
        proof.signature_input,
        format!(
            "palisade=(\"@method\" \"@path\" \"content-digest\"){}",
            parameters()
        )
    );
    let verified = Verified {
        key_id: key().id(),
        created_s: NOW_MS / 1000,
        nonce: NONCE.to_owned(),
    };
    assert_eq!(judge(&proof), Ok(verified));
    let stored = serde_json::to_string(&proof).unwrap();
    assert!(!stored.contains("query"));
    assert_eq!(serde_json::from_str::<HttpProof>(&stored).unwrap(), proof);
    let opened = proof.open(BODY, TAG_INTENT).unwrap();
    assert_eq!(opened.key_id(), &key().id());
    // Years later, from the record.
    assert!(opened.verify_at_any_time(&key().public()).is_ok());
}

#[test]
fn queries_are_covered() {
    let request = RequestParts::from_target("GET", "/v1/devices?limit=10&after=%2F");
    let proof = sign(&request, b"", &key(), NOW_MS / 1000, NONCE, TAG_READ).unwrap();
    let judge = |proof: &HttpProof| {
        verify(proof, b"", TAG_READ, &key().public(), NOW_MS, MAX_AGE_MS).map(|_| ())
    };
    assert_eq!(judge(&proof), Ok(()));
    let mut changed = proof.clone();
    changed.query = Some("limit=10&after=%2f".to_owned());
    assert_eq!(judge(&changed), Err(SignatureError::Invalid));
    changed.query = None;
    assert_eq!(judge(&changed), Err(SignatureError::Invalid));
    // A query was added on the way.
    let mut added = signed();
    added.query = Some("force=true".to_owned());
    assert_eq!(
        verify(
            &added,
            BODY,
            TAG_INTENT,
            &key().public(),
            NOW_MS,
            MAX_AGE_MS
        ),
        Err(SignatureError::NotCovered {
            component: "@query"
        })
    );
}

#[test]
fn anything_altered_is_refused() {
    let alter = |change: &dyn Fn(&mut HttpProof)| {
        let mut proof = signed();
        change(&mut proof);
        judge(&proof).unwrap_err()
    };
    assert_eq!(
        alter(&|p| p.method = "PUT".to_owned()),
        SignatureError::Invalid
    );
    assert_eq!(
        alter(&|p| p.path = "/v1/intent".to_owned()),
        SignatureError::Invalid
    );
    assert_eq!(
        alter(&|p| p.content_digest = fields::content_digest(b"other")),
        SignatureError::DigestDiffers
    );
    assert_eq!(
        alter(&|p| p.signature_input = p.signature_input.replace(NONCE, "AAAAAAAAAAAAAAAA")),
        SignatureError::Invalid
    );
    assert_eq!(
        verify(
            &signed(),
            b"{}",
            TAG_INTENT,
            &key().public(),
            NOW_MS,
            MAX_AGE_MS
        ),
        Err(SignatureError::DigestDiffers)
    );
    // Body and digest together: then the signature is wrong.
    let mut both = signed();
    both.content_digest = fields::content_digest(b"{}");
    assert_eq!(
        verify(
            &both,
            b"{}",
            TAG_INTENT,
            &key().public(),
            NOW_MS,
            MAX_AGE_MS
        ),
        Err(SignatureError::Invalid)
    );
    let other = ClientKey::from_seed("other".parse().unwrap(), &[1; 32]);
    assert_eq!(
        verify(
            &signed(),
            BODY,
            TAG_INTENT,
            &other.public(),
            NOW_MS,
            MAX_AGE_MS
        ),
        Err(SignatureError::OtherKey {
            stated: key().id(),
            used: other.id()
        })
    );
}

#[test]
fn a_signature_for_reading_changes_nothing() {
    let read = sign(&parts(), BODY, &key(), NOW_MS / 1000, NONCE, TAG_READ).unwrap();
    let none = SignatureError::NoSignature {
        tag: TAG_INTENT.to_owned(),
    };
    assert_eq!(judge(&read), Err(none.clone()));
    let mut renamed = read;
    renamed.signature_input = renamed.signature_input.replace(TAG_READ, TAG_INTENT);
    assert_eq!(judge(&renamed), Err(SignatureError::Invalid));
    let mut untagged = signed();
    untagged.signature_input = untagged
        .signature_input
        .replace(";tag=\"palisade-intent\"", "");
    assert_eq!(judge(&untagged), Err(none));
}

#[test]
fn time_is_bounded_on_both_sides() {
    let at = |now_ms: u64| {
        verify(
            &signed(),
            BODY,
            TAG_INTENT,
            &key().public(),
            now_ms,
            MAX_AGE_MS,
        )
        .map(|_| ())
    };
    assert_eq!(at(NOW_MS + MAX_AGE_MS), Ok(()));
    assert_eq!(
        at(NOW_MS + MAX_AGE_MS + 1),
        Err(SignatureError::Old {
            age_s: 300,
            limit_s: 300
        })
    );
    assert_eq!(at(NOW_MS - SKEW_MS), Ok(()));
    assert_eq!(
        at(NOW_MS - SKEW_MS - 1),
        Err(SignatureError::FromTheFuture { ahead_s: 60 })
    );
    assert_eq!(
        at(0).unwrap_err(),
        SignatureError::FromTheFuture {
            ahead_s: NOW_MS / 1000
        }
    );
    assert!(at(u64::MAX).is_err());

    let member = |expires: u64| {
        format!(
            "(\"@method\" \"@path\" \"content-digest\"){};expires={expires}",
            parameters()
        )
    };
    let expiring = signed_as(&member(NOW_MS / 1000 + 1), &usual_lines());
    assert!(judge(&expiring).is_ok());
    let expired = signed_as(&member(NOW_MS / 1000), &usual_lines());
    assert_eq!(judge(&expired), Err(SignatureError::Expired));
}

#[test]
fn coverage_is_neither_less_nor_more_than_needed() {
    let with = |components: &str, lines: &[(&str, String)]| {
        judge(&signed_as(
            &format!("({components}){}", parameters()),
            lines,
        ))
        .map(|_| ())
    };
    let lines = usual_lines();
    let usual = r#""@method" "@path" "content-digest""#;
    assert_eq!(with(usual, &lines), Ok(()));
    let mut reversed = lines.clone();
    reversed.reverse();
    assert_eq!(
        with(r#""content-digest" "@path" "@method""#, &reversed),
        Ok(())
    );
    for (at, component) in ["@method", "@path", "content-digest"]
        .into_iter()
        .enumerate()
    {
        let mut fewer = lines.clone();
        fewer.remove(at);
        let names: Vec<String> = fewer
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        assert_eq!(
            with(&names.join(" "), &fewer),
            Err(SignatureError::NotCovered { component })
        );
    }
    for components in [
        r#""@method" "@path" "content-digest" "date""#,
        r#""@method" "@path" "content-digest" "content-digest""#,
        r#""@method" "@path" "content-digest";sf"#,
        r#""@method";req "@path" "content-digest""#,
        r#""@METHOD" "@path" "content-digest""#,
        r#"@method "@path" "content-digest""#,
    ] {
        let refused = with(components, &lines).unwrap_err();
        assert!(
            matches!(
                refused,
                SignatureError::Coverage | SignatureError::Field { .. }
            ),
            "{components}: {refused}"
        );
    }
}

#[test]
fn parameters_are_the_known_ones_in_their_forms() {
    let with = |parameters: &str| {
        let member = format!("(\"@method\" \"@path\" \"content-digest\"){parameters}");
        judge(&signed_as(&member, &usual_lines()))
            .map(|_| ())
            .unwrap_err()
    };
    let good = parameters();
    let parameter = |error: SignatureError| match error {
        SignatureError::Parameter { parameter, .. } => parameter,
        other => panic!("{other}"),
    };
    for other in ["hmac-sha256", "rsa-pss-sha512", "ED25519", "none"] {
        assert_eq!(
            with(&good.replace("\"ed25519\"", &format!("\"{other}\""))),
            SignatureError::Algorithm
        );
    }
    assert_eq!(
        with(&good.replace(";alg=\"ed25519\"", "")),
        SignatureError::Algorithm
    );
    assert_eq!(
        with(&good.replace("\"ed25519\"", "ed25519")),
        SignatureError::Algorithm
    );
    assert_eq!(
        with(&format!("{good};context=\"x\"")),
        SignatureError::UnknownParameter
    );
    let created = format!("{}", NOW_MS / 1000);
    for (from, to, name) in [
        (format!(";created={created}"), String::new(), "created"),
        (created.clone(), format!("\"{created}\""), "created"),
        (created.clone(), "-5".to_owned(), "created"),
        (created.clone(), format!("{created}.5"), "created"),
        (format!(";nonce=\"{NONCE}\""), String::new(), "nonce"),
        (NONCE.to_owned(), "short".to_owned(), "nonce"),
        (NONCE.to_owned(), "a".repeat(65), "nonce"),
        (NONCE.to_owned(), "sixteen letters.".to_owned(), "nonce"),
        (key().id().to_string(), String::new(), "keyid"),
        (key().id().to_string(), "a b".to_owned(), "keyid"),
    ] {
        assert_eq!(parameter(with(&good.replace(&from, &to))), name, "{to}");
    }
}

#[test]
fn what_is_repeated_or_not_canonical_is_refused() {
    let field = |field| Err(SignatureError::Field { field });
    let input = signed().signature_input;
    let signature = signed().signature;
    let with = |input: &str, signature: &str| {
        judge(&HttpProof {
            signature_input: input.to_owned(),
            signature: signature.to_owned(),
            ..signed()
        })
        .map(|_| ())
    };
    assert_eq!(with(&input, &signature), Ok(()));
    for bad in [
        format!("{input}, {input}"),
        format!("{input},{}", input.replace("palisade=", "b=")),
        format!(" {input}"),
        format!("{input};created=1"),
        input.replace(" \"@path\"", "  \"@path\""),
        input.replace("palisade=(", "palisade=( "),
        "palisade=\"text\"".to_owned(),
        "palisade".to_owned(),
        "palisade=(".to_owned(),
        "Palisade=()".to_owned(),
        "\u{e4}=()".to_owned(),
    ] {
        assert_eq!(with(&bad, &signature), field("Signature-Input"), "{bad}");
    }
    for bad in [
        format!("{signature}, {signature}"),
        signature.replace("==:", ":"),
        signature.replace("palisade", "other"),
        "palisade=:AAAA:".to_owned(),
        "palisade=(:AAAA:)".to_owned(),
        format!("{signature};x"),
        String::new(),
    ] {
        assert_eq!(with(&input, &bad), field("Signature"), "{bad}");
    }
    let second = input.replace("palisade=", "b=");
    assert_eq!(
        with(&format!("{input}, {second}"), &signature),
        Err(SignatureError::Ambiguous {
            tag: TAG_INTENT.to_owned()
        })
    );
}

#[test]
fn signatures_of_others_are_passed_over() {
    let proof = signed();
    let with = |extra: usize| {
        let mut input = proof.signature_input.clone();
        let mut signature = proof.signature.clone();
        for number in 0..extra {
            input.push_str(&format!(", proxy{number}=(\"@authority\");tag=\"proxy\""));
            signature.push_str(&format!(", proxy{number}=:AAAA:"));
        }
        judge(&HttpProof {
            signature_input: input,
            signature,
            ..proof.clone()
        })
        .map(|_| ())
    };
    assert_eq!(with(LABELS_MAX - 1), Ok(()));
    assert_eq!(with(LABELS_MAX), Err(SignatureError::TooManySignatures));
}

#[test]
fn digests_other_than_one_sha_256_are_refused() {
    let with = |digest: &str| {
        let lines = [
            usual_lines()[0].clone(),
            usual_lines()[1].clone(),
            ("content-digest", digest.to_owned()),
        ];
        let proof = signed_as(
            &format!("(\"@method\" \"@path\" \"content-digest\"){}", parameters()),
            &lines,
        );
        judge(&HttpProof {
            content_digest: digest.to_owned(),
            ..proof
        })
        .map(|_| ())
    };
    let good = fields::content_digest(BODY);
    assert_eq!(with(&good), Ok(()));
    for bad in [
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:".to_owned(),
        format!("{good}, sha-512=:AAAA:"),
        format!("{good}, {good}"),
        "sha-256=:AAAA:".to_owned(),
        String::new(),
    ] {
        assert_eq!(with(&bad), Err(SignatureError::DigestForm), "{bad}");
    }
}

#[test]
fn bounds_hold_at_the_limit_and_above() {
    let too_long = |what, limit| SignatureError::TooLong { what, limit };
    let path = format!("/{}", "a".repeat(TARGET_MAX - 1));
    let request = RequestParts::from_target("POST", &path);
    assert!(judge(&signed_by(&request)).is_ok());
    let longer = format!("{path}a");
    let sign_it = |method: &str, target: &str, body: &[u8], nonce: &str| {
        let request = RequestParts::from_target(method, target);
        sign(&request, body, &key(), NOW_MS / 1000, nonce, TAG_INTENT).unwrap_err()
    };
    assert_eq!(
        sign_it("POST", &longer, BODY, NONCE),
        too_long("the path with its query", TARGET_MAX)
    );
    assert_eq!(
        sign_it(&"A".repeat(17), "/", BODY, NONCE),
        too_long("the method", METHOD_MAX)
    );
    assert_eq!(
        sign_it("POST", "/", &vec![0; BODY_MAX + 1], NONCE),
        too_long("the body", BODY_MAX)
    );
    let mut padded = signed();
    padded.signature_input.push_str(&" ".repeat(FIELD_MAX));
    assert_eq!(judge(&padded), Err(too_long("Signature-Input", FIELD_MAX)));
    for (method, target, what) in [
        ("post", "/", "method"),
        ("", "/", "method"),
        ("POST", "", "path"),
        ("POST", "v1", "path"),
        ("POST", "/a b", "path"),
        ("POST", "/a\n\"@path\": /b", "path"),
        ("POST", "/\u{e4}", "path"),
        ("POST", "/a?b\r", "query"),
        ("POST", "/a?b#c", "query"),
    ] {
        assert_eq!(
            sign_it(method, target, BODY, NONCE),
            SignatureError::Target { what },
            "{target}"
        );
    }
    assert!(matches!(
        sign_it("POST", "/", BODY, "short"),
        SignatureError::Parameter {
            parameter: "nonce",
            ..
        }
    ));
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_nothing_else_does(
        path in "/[!-\"$->@-~]{0,60}",
        query in proptest::option::of("[!-\"$-~]{0,60}"),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        nonce in "[A-Za-z0-9_-]{16,64}",
        other in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let request = RequestParts { method: "POST", path: &path, query: query.as_deref() };
        let proof = sign(&request, &body, &key(), NOW_MS / 1000, &nonce, TAG_INTENT).unwrap();
        let judge = |proof: &HttpProof, body: &[u8]| {
            verify(proof, body, TAG_INTENT, &key().public(), NOW_MS, MAX_AGE_MS)
        };
        prop_assert_eq!(judge(&proof, &body).map(|verified| verified.nonce), Ok(nonce));
        prop_assert_eq!(judge(&proof, &other).is_ok(), body == other);
        let mut moved = proof.clone();
        moved.path.push('x');
        prop_assert!(judge(&moved, &body).is_err());
    }

    #[test]
    fn no_fields_make_it_fail_otherwise(input in ".{0,120}", signature in ".{0,120}", digest in ".{0,60}") {
        let proof = HttpProof { signature_input: input, signature, content_digest: digest, ..signed() };
        prop_assert!(judge(&proof).is_err());
    }

    #[test]
    fn one_changed_character_is_refused(place in 0_usize..400, character in "[ -~]") {
        let mut proof = signed();
        let fields = format!("{}\n{}", proof.signature_input, proof.signature);
        let mut characters: Vec<char> = fields.chars().collect();
        let place = place % characters.len();
        let new = character.chars().next().unwrap();
        prop_assume!(characters[place] != new && characters[place] != '\n');
        characters[place] = new;
        let changed: String = characters.into_iter().collect();
        let (input, signature) = changed.split_once('\n').unwrap();
        proof.signature_input = input.to_owned();
        proof.signature = signature.to_owned();
        prop_assert!(judge(&proof).is_err());
    }
}
