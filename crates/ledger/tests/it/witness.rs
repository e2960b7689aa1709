//! Witnesses: an exchange recorded from another implementation, and a ledger with one.
use std::io;

use crate::common::{Disk, draft, filled, key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ledger::witness::{Answer, AnswerError, Refusal, SIZE_TYPE, add_checkpoint, read_answer};
use ledger::{Checkpoint, CosigningKey, Entry, Ledger, PublicKey, Witness, WitnessKey};
use proptest::prelude::*;

fn cosigning_key() -> CosigningKey {
    CosigningKey::from_seed("example.com/witness", &[5; 32]).unwrap()
}

fn keep(_: &Checkpoint) -> io::Result<()> {
    Ok(())
}

/// The requests that litewitness is tested with, by a Sigsum log.
#[test]
fn answers_as_another_witness_does() {
    let exchange = include_str!("../../../../tests/data/ledger/add-checkpoint");
    let origin =
        "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562";
    let public = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f";
    let octets = [&[1], hex::decode(public).unwrap().as_slice()].concat();
    let log: PublicKey = format!(
        "{origin}+{:08x}+{}",
        signed_note::key_id(origin, &octets),
        STANDARD.encode(&octets)
    )
    .parse()
    .unwrap();
    let mut witness = Witness::new(cosigning_key());
    witness.know(log.clone(), None);
    let mut statuses = Vec::new();
    for block in exchange.split("== ").skip(1) {
        let (wanted, request) = block.split_once('\n').unwrap();
        let status = match witness.add_checkpoint(request.as_bytes(), 1_700_000_000, &mut keep) {
            Ok(line) => {
                let (_, note) = request.split_once("\n\n").unwrap();
                let checkpoint = Checkpoint::open(note.as_bytes(), &log).unwrap();
                let answer = read_answer(200, line.as_bytes(), &checkpoint, witness.key());
                assert_eq!(answer.unwrap(), Answer::Cosigned(line));
                200
            }
            Err(refusal) => refusal.status(),
        };
        assert_eq!(status.to_string(), wanted, "{request}");
        statuses.push(status);
    }
    assert_eq!(statuses, [200, 403, 404, 422, 422, 200, 409, 200, 409]);
    assert_eq!(witness.latest(origin).unwrap().size(), 5);
}

/// Asks until the witness has cosigned the ledger's checkpoint, as the owner of a ledger would over HTTP.
fn ask(ledger: &mut Ledger<Disk>, witness: &mut Witness, old: u64, time: u64) -> u32 {
    let mut old = old;
    for calls in 1.. {
        let request = add_checkpoint(&ledger.reader(), old).unwrap();
        let (status, body) = match witness.add_checkpoint(request.as_bytes(), time, &mut keep) {
            Ok(body) => (200, body),
            Err(refusal) => (refusal.status(), refusal.body()),
        };
        match read_answer(status, body.as_bytes(), ledger.checkpoint(), witness.key()).unwrap() {
            Answer::Cosigned(line) => {
                ledger.cosign(&line, witness.key()).unwrap();
                return calls;
            }
            Answer::Conflict(size) => old = size,
        }
    }
    0
}

#[test]
fn a_ledger_is_cosigned_as_it_grows() {
    let mut ledger = filled(&[300, 40], 5);
    let mut witness = Witness::new(cosigning_key());
    witness.know(key().public().clone(), None);
    assert_eq!(ask(&mut ledger, &mut witness, 0, 100), 1);
    assert_eq!(
        ask(&mut ledger, &mut witness, 342, 150),
        1,
        "the same again"
    );
    ledger.append(vec![draft(340, 5)]).unwrap();
    ledger.publish().unwrap();
    assert_eq!(
        ledger
            .checkpoint()
            .cosignatures(&[witness.key().clone()])
            .unwrap(),
        []
    );
    assert_eq!(
        ask(&mut ledger, &mut witness, 7, 200),
        2,
        "told where it is"
    );
    let seen = |ledger: &Ledger<Disk>, key: WitnessKey| {
        let cosignatures = ledger.checkpoint().cosignatures(&[key]).unwrap();
        cosignatures[0].time
    };
    assert_eq!(seen(&ledger, witness.key().clone()), 200);

    // The cosigned checkpoint is the one that is published and remembered.
    let remembered = witness.latest("ledger.test/log").unwrap().clone();
    assert_eq!(ledger.checkpoint().root(), remembered.root());
    let ledger = Ledger::open(
        ledger.into_files(),
        key(),
        Some(&remembered),
        &mut |_: &Entry| {},
    );
    assert_eq!(seen(&ledger.unwrap(), witness.key().clone()), 200);

    // Started again, it goes on from what was kept.
    let mut again = Witness::new(cosigning_key());
    let kept = Checkpoint::open(remembered.note(), key().public()).unwrap();
    again.know(key().public().clone(), Some(kept));
    let fork = filled(&[300, 40, 7], 6);
    let request = add_checkpoint(&fork.reader(), remembered.size()).unwrap();
    assert!(matches!(
        again.add_checkpoint(request.as_bytes(), 300, &mut keep),
        Err(Refusal::Inconsistent)
    ));
}

#[test]
fn what_does_not_continue_is_not_cosigned() {
    let ledger = filled(&[300, 40], 5);
    let mut witness = Witness::new(cosigning_key());
    let request = add_checkpoint(&ledger.reader(), 0).unwrap();
    let ask = |witness: &mut Witness, request: &str| {
        witness
            .add_checkpoint(request.as_bytes(), 100, &mut keep)
            .map_err(|refusal| refusal.status())
    };
    assert_eq!(ask(&mut witness, &request), Err(404));
    witness.know(key().public().clone(), None);
    for (wanted, good, bad) in [
        (
            422,
            "old 0\n",
            "old 0\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=\n",
        ),
        (400, "old 0\n", "old 343\n"),
        (409, "old 0\n", "old 1\n"),
        (400, "old 0\n", "old 00\n"),
        (400, "old 0\n", "old\n"),
        (
            400,
            "old 0\n",
            "old 0\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0\n",
        ),
        (403, "\n342\n", "\n343\n"),
        (404, "ledger.test/log\n", "ledger.test/other\n"),
    ] {
        let altered = request.replacen(good, bad, 1);
        assert_ne!(altered, request);
        assert_eq!(ask(&mut witness, &altered), Err(wanted), "{altered}");
    }
    let many = "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=\n".repeat(64);
    assert_eq!(
        ask(
            &mut witness,
            &request.replacen("old 0\n", &format!("old 0\n{many}"), 1)
        ),
        Err(400)
    );

    // What cannot be kept is not cosigned, and not taken for seen.
    let full = witness.add_checkpoint(request.as_bytes(), 100, &mut |_| {
        Err(io::ErrorKind::StorageFull.into())
    });
    assert!(matches!(full, Err(Refusal::Keep(_))));
    assert!(witness.latest("ledger.test/log").is_none());
    ask(&mut witness, &request).unwrap();

    // A smaller tree, a forked one of the same size, and one without time.
    let early = filled(&[300], 5);
    assert_eq!(
        ask(&mut witness, &add_checkpoint(&early.reader(), 0).unwrap()),
        Err(409)
    );
    let fork = filled(&[300, 40], 6);
    assert_eq!(
        ask(&mut witness, &add_checkpoint(&fork.reader(), 342).unwrap()),
        Err(422)
    );
    let again = add_checkpoint(&ledger.reader(), 342).unwrap();
    assert!(
        witness
            .add_checkpoint(again.as_bytes(), 0, &mut keep)
            .is_err()
    );
    let conflict = witness
        .add_checkpoint(request.as_bytes(), 100, &mut keep)
        .unwrap_err();
    assert_eq!(
        (conflict.body().as_str(), conflict.content_type()),
        ("342\n", SIZE_TYPE)
    );
}

#[test]
fn answers_are_verified() {
    let ledger = filled(&[3], 2);
    let mut witness = Witness::new(cosigning_key());
    witness.know(key().public().clone(), None);
    let request = add_checkpoint(&ledger.reader(), 0).unwrap();
    let line = witness
        .add_checkpoint(request.as_bytes(), 100, &mut keep)
        .unwrap();
    let other = CosigningKey::from_seed("example.com/other", &[6; 32]).unwrap();
    let read = |status, body: &str, key: &WitnessKey| {
        read_answer(status, body.as_bytes(), ledger.checkpoint(), key)
    };
    let both = format!("— example.com/unknown AAAAAAAA\n{line}");
    assert_eq!(
        read(200, &both, witness.key()).unwrap(),
        Answer::Cosigned(line.clone())
    );
    assert!(matches!(
        read(200, &line, other.public()),
        Err(AnswerError::Absent(_))
    ));
    assert!(matches!(
        read(200, "hello\n", witness.key()),
        Err(AnswerError::Malformed)
    ));
    assert!(matches!(
        read(409, "12", witness.key()),
        Err(AnswerError::Malformed)
    ));
    assert!(matches!(
        read(409, "+12\n", witness.key()),
        Err(AnswerError::Malformed)
    ));
    assert_eq!(
        read(409, "12\n", witness.key()).unwrap(),
        Answer::Conflict(12)
    );
    assert!(matches!(
        read(503, "busy\u{7}\n", witness.key()),
        Err(AnswerError::Refused { status: 503, text }) if text == "busy\\u{7}"
    ));
    // For another checkpoint.
    let later = filled(&[4], 2);
    assert!(matches!(
        read_answer(200, line.as_bytes(), later.checkpoint(), witness.key()),
        Err(AnswerError::Cosignature(_))
    ));
}

proptest! {
    /// Garbage is refused, never a panic.
    #[test]
    fn garbage_is_no_request(head in ".{0,80}", note in "(.|\n){0,200}") {
        let mut witness = Witness::new(cosigning_key());
        witness.know(key().public().clone(), None);
        for request in [format!("{head}\n\n{note}"), format!("old 0\n\n{note}"), format!("old 0\n{head}\n\nledger.test/log\n{note}")] {
            prop_assert!(witness.add_checkpoint(request.as_bytes(), 1, &mut keep).is_err());
            let _ = read_answer(200, request.as_bytes(), filled(&[], 1).checkpoint(), witness.key());
        }
    }
}
