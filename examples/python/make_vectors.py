#!/usr/bin/env python3
"""Prints what the example client makes of fixed inputs, as JSON. The Rust tests compare and verify it."""

import json
import os
import sys

# The test leaves no files behind in the sources.
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import palisade_client as palisade  # noqa: E402

SEED = bytes(range(32))
NOW_MS = 1_790_000_000_000
CREATED = NOW_MS // 1000
NONCE = "0123456789abcdefghijklmn"
INSTALLATION = "eim.example.com/ledger"


def eid(number):
    """An EID with its two check digits (SGP.29)."""
    digits = f"89049032123451234512345{number:07d}"
    return f"{digits}{98 - int(digits) * 100 % 97:02d}"


EIDS = [eid(number) for number in range(300)]

# Values that canonicalisation may get wrong, besides those of intents.
VALUES = [
    {"b": 1, "a": [True, False, None], "": "", "10": 0, "9": -9007199254740991},
    {"\u20ac": "Euro", "\r": "CR", "1": "one", "\u0080": "control", "\U0001f602": "smile", "\u00f6": "o", "\ufb33": "dalet"},
    'quote " reverse \\ solidus / \b \f \n \r \t \x00 \x1f \x7f \u2028 \u00e9 \U0001f602',
    9007199254740991,
]


def main():
    key = palisade.Key("ci-runner", SEED)
    few, _ = palisade.device_set(EIDS[:3] + EIDS[:1])
    many, listed = palisade.device_set(reversed(EIDS))
    code, opening = palisade.seal("1$smdp.example.com$MATCHING-ID", bytes(16))
    enable = {"command": "enable", "iccid": "89000123456789012341", "rollback": True}
    source = {"activation-code": {"smdp": "smdp.example.com", "code": code}}
    download = {"command": "download", "source": source, "route": "direct"}
    intents = [
        (palisade.operate(few, [enable]), "meters move; \u00fcbung \u2028 \U0001f4e1 \"quoted\" \\", None, ()),
        (palisade.operate(many, [enable]), None, listed, ()),
        (palisade.operate(few, [download]), None, None, (opening,)),
        ({"type": "freeze", "scope": "everything"}, "phone rang", None, ()),
    ]
    proposals = []
    for number, (action, note, devices, openings) in enumerate(intents):
        document = palisade.intent(INSTALLATION, action, note, 3600, NOW_MS + number, f"{number:032x}")
        octets = palisade.canonical(document)
        target, fields, body = palisade.proposal(key, document, devices, openings, CREATED, NONCE)
        proposals.append(
            {
                "intent": octets.decode("utf-8"),
                "id": palisade.intent_id(octets),
                "target": target,
                "fields": fields,
                "body": body.decode("utf-8"),
            }
        )
    reads = []
    for target in ["/v1/intents/abc", "/v1/devices?limit=10&after=%2F", "/v1/devices?"]:
        fields = palisade.sign_request(key, "GET", target, b"", palisade.TAG_READ, CREATED, NONCE)
        reads.append({"target": target, "fields": fields})
    vectors = {
        "seed": SEED.hex(),
        "public": key.public.hex(),
        "key_id": key.id,
        "created_s": CREATED,
        "nonce": NONCE,
        "values": [{"value": value, "canonical": palisade.canonical(value).decode("utf-8")} for value in VALUES],
        "proposals": proposals,
        "reads": reads,
    }
    print(json.dumps(vectors, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
