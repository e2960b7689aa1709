#!/usr/bin/env python3
"""A small client of Palisade: proposes changes, signed with a machine's Ed25519 key.

Needs Python 3.9 or newer and `cryptography`. Everything that decides is in five functions, so that other languages can
follow: `canonical` (RFC 8785), `signature_base` and `sign_request` (RFC 9421, RFC 9530), `device_set` and `seal`.
"""

import argparse
import base64
import hashlib
import http.client
import json
import os
import secrets
import socket
import ssl
import stat
import sys
import time
import urllib.parse

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TAG_INTENT = "palisade-intent"
TAG_READ = "palisade-read"
INTENTS = "/v1/intents"
LISTED_MAX = 100
INTEGER_MAX = 2**53 - 1


class PalisadeError(Exception):
    """Something that the caller can do something about."""


# --- canonical JSON -------------------------------------------------------------------------------------------------


def canonical(value):
    """The canonical octets (RFC 8785) of strings, integers, booleans, None, lists and dicts.

    Numbers with a fraction are refused: intents have none, and writing them right is most of RFC 8785.
    """
    try:
        return _canonical_text(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise PalisadeError(f"half a character cannot be encoded: {error}") from error


def _canonical_text(value):
    if value is None or isinstance(value, (bool, str)):
        # Escapes exactly what RFC 8785 section 3.2.2.2 escapes, in its short and lower-case forms.
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise PalisadeError(f"{value} has more than 53 bits, which canonical JSON cannot carry exactly")
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_canonical_text, value)) + "]"
    if isinstance(value, dict):
        # By UTF-16 code units (RFC 8785 section 3.2.3), which differs from Python's order above U+FFFF.
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        members = (_canonical_text(name) + ":" + _canonical_text(value[name]) for name in names)
        return "{" + ",".join(members) + "}"
    raise PalisadeError(f"{type(value).__name__} has no place in an intent")


# --- keys -----------------------------------------------------------------------------------------------------------


class Key:
    """A machine's Ed25519 key, as `palisade key create` writes it."""

    def __init__(self, name, seed):
        self.name = name
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self.id = "pk_" + _base64url(hashlib.sha256(self.public).digest()[:18])

    @classmethod
    def load(cls, path):
        """Reads a key file, which nobody else may be able to read."""
        if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
            raise PalisadeError(f"{path} can be read by others: chmod 600 {path}")
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if content.get("type") != "palisade-client-key-1":
            raise PalisadeError(f"{path} is not a client key file")
        key = cls(content["name"], _from_base64url(content["seed"]))
        if key.id != content["key_id"]:
            raise PalisadeError(f"{path} is damaged: its key is not the one it names")
        return key

    def sign(self, message):
        return self._private.sign(message)


# --- HTTP message signatures ----------------------------------------------------------------------------------------


def content_digest(body):
    """The field Content-Digest (RFC 9530)."""
    return "sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()).decode() + ":"


def signature_base(components, parameters):
    """What is signed (RFC 9421 section 2.5)."""
    lines = [f'"{name}": {value}' for name, value in components]
    return "\n".join(lines + [f'"@signature-params": {parameters}']).encode("ascii")


def sign_request(key, method, target, body, tag, created=None, nonce=None):
    """The three header fields that prove that the holder of `key` wants exactly this request."""
    created = int(time.time()) if created is None else created
    nonce = secrets.token_urlsafe(18) if nonce is None else nonce
    path, question_mark, query = target.partition("?")
    components = [("@method", method), ("@path", path)]
    if question_mark:
        components.append(("@query", "?" + query))
    components.append(("content-digest", content_digest(body)))
    names = " ".join(f'"{name}"' for name, _ in components)
    parameters = f'({names});created={created};nonce="{nonce}";keyid="{key.id}";alg="ed25519";tag="{tag}"'
    signature = key.sign(signature_base(components, parameters))
    return {
        "Content-Digest": content_digest(body),
        "Signature-Input": f"palisade={parameters}",
        "Signature": "palisade=:" + base64.b64encode(signature).decode() + ":",
    }


# --- intents --------------------------------------------------------------------------------------------------------


def intent(installation, action, note=None, lifetime_s=3600, now_ms=None, nonce=None):
    """One change, complete. `installation` is the origin of the ledger, so it can be used nowhere else."""
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    document = {
        "v": 1,
        "installation": installation,
        "nonce": secrets.token_hex(16) if nonce is None else nonce,
        "created_at": now_ms,
        "expires_at": now_ms + lifetime_s * 1000,
        "action": action,
    }
    if note is not None:
        document["note"] = note
    return document


def intent_id(octets):
    """The id of an intent: the SHA-256 of its canonical octets."""
    return _base64url(hashlib.sha256(octets).digest())


def operate(devices, commands):
    """The action that gives every device a package with these commands."""
    return {"type": "operate", "devices": devices, "commands": commands}


def device_set(eids):
    """Which devices: up to 100 are listed, more are committed to. The second value is the list to send along, or None."""
    eids = sorted(set(eids))
    if not eids:
        raise PalisadeError("an intent needs at least one device")
    if len(eids) <= LISTED_MAX:
        return {"eids": eids}, None
    return {"root": _base64url(merkle_root(eids)), "count": len(eids)}, eids


def merkle_root(eids):
    """The root of the tree (RFC 6962 section 2.1) whose leaves are the EIDs."""
    if len(eids) == 1:
        return hashlib.sha256(b"\x00" + eids[0].encode("ascii")).digest()
    split = 1 << (len(eids) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(eids[:split]) + merkle_root(eids[split:])).digest()


def seal(secret, salt=None):
    """A commitment to a secret, such as an activation code, for the intent; and what opens it, to send along."""
    salt = secrets.token_bytes(16) if salt is None else salt
    digest = hashlib.sha256(salt + secret.encode("utf-8")).digest()
    return {"sha256": _base64url(digest)}, {"salt": salt.hex(), "secret": secret}


def proposal(key, document, devices=None, openings=(), created=None, nonce=None):
    """Target, header fields and body of the request that proposes an intent.

    The body is the intent itself. If something travels beside it (a list of devices, what opens secrets), the intent
    and the proof are members of the body instead, and the proof is the same.
    """
    octets = canonical(document)
    fields = sign_request(key, "POST", INTENTS, octets, TAG_INTENT, created, nonce)
    if devices is None and not openings:
        return INTENTS, {"Content-Type": "application/json", **fields}, octets
    body = {
        "intent": octets.decode("utf-8"),
        "proof": {
            "type": "http-signature",
            "method": "POST",
            "path": INTENTS,
            "content_digest": fields["Content-Digest"],
            "signature_input": fields["Signature-Input"],
            "signature": fields["Signature"],
        },
    }
    if devices is not None:
        body["devices"] = devices
    if openings:
        body["openings"] = list(openings)
    return INTENTS, {"Content-Type": "application/json"}, canonical(body)


# --- connection -----------------------------------------------------------------------------------------------------


class Client:
    """Calls a Palisade eIM on its control socket (`unix:/path`) or at an HTTPS address."""

    def __init__(self, address, key, ca_file=None, timeout_s=30):
        self._address = address
        self._key = key
        self._timeout_s = timeout_s
        self._tls = None if address.startswith("unix:") else ssl.create_default_context(cafile=ca_file)

    def propose(self, document, devices=None, openings=()):
        """Proposes an intent; gives how it stands."""
        target, fields, body = proposal(self._key, document, devices, openings)
        return self._call("POST", target, fields, body)

    def get(self, target):
        """Reads something, `/v1/intents/<id>` for example."""
        return self._call("GET", target, sign_request(self._key, "GET", target, b"", TAG_READ), b"")

    def _call(self, method, target, fields, body):
        connection = self._connect()
        try:
            connection.request(method, target, body=body or None, headers=fields)
            answer = connection.getresponse()
            text = answer.read(16 * 1024 * 1024).decode("utf-8", "replace")
        except OSError as error:
            raise PalisadeError(f"cannot reach {self._address}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise PalisadeError(f"{method} {target}: {answer.status} {answer.reason}: {text.strip()}")
        return json.loads(text) if text else None

    def _connect(self):
        if self._tls is None:
            return _UnixConnection(self._address[len("unix:"):], self._timeout_s)
        url = urllib.parse.urlsplit(self._address)
        if url.scheme != "https" or not url.hostname:
            raise PalisadeError("the address is unix:/path/to/socket or https://host[:port]")
        return http.client.HTTPSConnection(url.hostname, url.port, timeout=self._timeout_s, context=self._tls)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout_s):
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- command line ---------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description="Enable a profile on devices, signed with a machine's key.")
    parser.add_argument("--key", required=True, help="key file of `palisade key create`")
    parser.add_argument("--address", required=True, help="unix:/path/to/control.sock or https://host[:port]")
    parser.add_argument("--ca-file", help="PEM file with the CA of an HTTPS address")
    parser.add_argument("--installation", required=True, help="origin of the ledger, as `palisade init` printed it")
    parser.add_argument("--note", help="why, for the people who approve")
    parser.add_argument("--rollback", action="store_true", help="go back if the new profile has no connectivity")
    parser.add_argument("--dry-run", action="store_true", help="print the request, send nothing")
    parser.add_argument("iccid", help="profile to enable")
    parser.add_argument("eid", nargs="+", help="devices")
    arguments = parser.parse_args()

    key = Key.load(arguments.key)
    devices, send_along = device_set(arguments.eid)
    command = {"command": "enable", "iccid": arguments.iccid, "rollback": arguments.rollback}
    document = intent(arguments.installation, operate(devices, [command]), arguments.note)
    print(f"intent {intent_id(canonical(document))}", file=sys.stderr)
    if arguments.dry_run:
        target, fields, body = proposal(key, document, send_along)
        print(f"POST {target}")
        for name, value in fields.items():
            print(f"{name}: {value}")
        print(f"\n{body.decode('utf-8')}")
        return
    answer = Client(arguments.address, key, arguments.ca_file).propose(document, send_along)
    print(json.dumps(answer, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    try:
        main()
    except (PalisadeError, OSError) as error:
        sys.exit(f"palisade_client: {error}")
