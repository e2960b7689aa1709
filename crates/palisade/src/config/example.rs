/// A configuration file with every setting. Lines that begin with `#: ` are settings that are not set.
pub(crate) const EXAMPLE: &str = r#"# Palisade configuration.
#
# Read from <data>/palisade.toml, or from the file given with --config.
# The environment (PALISADE_...) counts more than this file, and flags count most.
# Relative paths begin at the folder of this file.

[eim]
# eimId: the name that eUICCs know this eIM by. It cannot change while devices are associated.
id = "eim.example.com"

# Host name under which devices reach ESipa, with a port unless it is 443.
fqdn = "eim.example.com:8443"

# Where ESipa listens.
listen = "0.0.0.0:8443"

# Name of the TLS key in <data>/keys (a PKCS#8 PEM file, mode 0600). The signing key is the authority's.
tls_key = "eim-tls"

# Certificate chain of ESipa: PEM with the end entity first, or one DER certificate.
tls_certificate = "eim-tls.pem"

# Lowest TLS version: "1.2" (SGP.32) or "1.3".
tls_version_min = "1.2"

# Folder with the certificates (*.der, *.pem) and CRLs (*.crl) of the CIs that eUICCs and SM-DP+s chain
# to, and of the sub-CAs and EUMs (SGP.22 v3) that do not come along in messages.
euicc_trust = "trust/euicc"

# Folder with the roots of the TLS certificates of SM-DP+s (indirect downloads, notifications).
smdp_trust = "trust/smdp"

# Operations that may wait for one device, and how long each may wait and be executed.
queue_per_device_max = 64
operation_lifetime_hours = 720

# Settings that weaken protections. Each is named in a warning when the server starts.
#
# For IPAs that open a connection for each request: triggers and data requests are handed to
# whoever polls with an EID.
#: insecure_trust_any_connection = true
# For test eUICCs whose EUM certificate does not permit them.
#: insecure_ignore_eum_name_constraints = true
# For measurements: a power cut may lose what was acknowledged.
#: insecure_no_flush = true

# Addresses that replace name resolution for SM-DP+s.
[eim.resolve]
#: "smdp.example.com" = "127.0.0.1:8444"

# The authority, which alone can sign. In the eIM's folder this section says where it is; without any of
# these `palisade serve` starts one beside it, with the folder `data`.
[authority]
data = "authority"
# Somebody else starts it on this machine:
#: socket = "/run/palisade-authority/authority.sock"
# Or it runs on another host, and both show certificates (then without socket):
## address = "authority.example.com:9443"
## server_ca = "authority-ca.pem"
## client_certificate = "authority-client.pem"
## client_key = "keys/authority-client.pem"

# In the authority's own folder it says how it works. The eIM's signing key: in a file, perhaps with
# passphrase = { file = "/etc/palisade/passphrase" } or { credential = "name" }; or in a hardware module:
# key = { store = "pkcs11", module = "/usr/lib/softhsm/libsofthsm2.so", token = "palisade",
#         key = "eim-signing", pin = { file = "/etc/palisade/hsm.pin" } }
key = { store = "file", path = "keys/eim-signing.pem" }
# Further keys while devices are moved from one to another: palisade signing-key.
#: further_keys = [{ store = "file", path = "keys/eim-signing-2.pem" }]
# What devices are told about ESipa: host name, and what to trust: "key" (the key in
# the certificate of ESipa), "certificate", "ca" (then tls_certificate_of_eim is that of the CA, and the host
# name must be in the certificate of ESipa) or "none".
#: fqdn = "eim.example.com:8443"
tls_trust = "key"
tls_certificate_of_eim = "eim-tls.pem"
# CIs that eUICCs chain to. Nothing is signed for a device whose eUICC does not chain to one of them.
euicc_trust = "trust/euicc"
# For test eUICCs whose EUM certificate does not permit them.
#: insecure_ignore_eum_name_constraints = true
# Seconds between two publications of the ledger, if there is something new.
publish_interval_s = 1
# Listening for eIMs on other hosts, with mutual TLS.
#: listen = "0.0.0.0:9443"
#: client_ca = "eim-client-ca.pem"
tls_certificate = "authority-tls.pem"
tls_key = "keys/authority-tls.pem"
# Witnesses cosign checkpoints, so that not even this host can rewrite history unseen.
#: witnesses = [{ key = "witness.example.com+5b2b0b1f+BA...", url = "https://witness.example.com", ca = "witness-ca.pem" }]

# API and pages for people and systems, beside the eIM.
[console]
# An address with a port; it is off unless one is set, as `palisade init` does. Put it where operators are, not
# where devices are.
listen = "127.0.0.1:8442"
# Where browsers find it; by default the host of eim.fqdn with the port above. Passkeys work only from
# origins that the authority knows: palisade init --origin.
#: origin = "https://eim.example.com:8442"
# Certificate and key; by default those of ESipa.
#: tls_certificate = "console-tls.pem"
#: tls_key = "console-tls"
# Without TLS, for browsers on this machine: http://localhost:PORT. Browsers refuse passkeys on pages whose
# certificate they do not trust, and the certificates of a lab are such.
#: insecure_http = true
# Certificates that receivers of webhooks chain to: a file of PEM, or a folder.
webhook_trust = "/etc/ssl/certs/ca-certificates.crt"
# Webhooks go to public addresses only. Hosts that may be on networks of your own:
#: webhook_hosts = ["hooks.internal.example.com"]
# How long a browser stays signed in without a request, and in all.
session_idle_minutes = 30
session_hours = 12

# What peers may cost.
[limits]
connections_max = 8192
connections_per_peer_max = 2048
requests_max = 1024
body_octets_max = 131072
idle_timeout_s = 75
drain_timeout_s = 10

[log]
# A level (error, warn, info, debug) or a list such as "info,eim=debug".
filter = "info"
# "text" or "json".
format = "text"

# The SM-DP+ for tests and labs: palisade smdp.
[smdp]
# Host name as in activation codes and in the certificates of the PKI. Devices use port 443 of it, or
# are told another with --resolve.
#: fqdn = "smdp.example.com"
listen = "0.0.0.0:8444"
# ES2+, with client certificates; it is not offered without an address.
#: es2_listen = "127.0.0.1:8445"
# Folder that `palisade pki new` made.
#: pki = "pki"
# Name of the operator that has the ES2+ client certificate of the PKI.
es2_operator = "operator"
# Where that operator is told about downloads; it is not without an address.
#: es2_progress_url = "https://operator.example.com"
# Lets a retried download use another one-time key of the same eUICC.
rebinding = false
# Protects profiles with random keys instead of those of the session.
profile_keys = false
"#;
