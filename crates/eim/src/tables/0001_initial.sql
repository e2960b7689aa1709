CREATE TABLE device (
    eid                TEXT PRIMARY KEY,
    label              TEXT NOT NULL,
    state              TEXT NOT NULL,
    fleet              TEXT NOT NULL,
    -- Counter of the newest package. The authority allocates counters; this is for reading.
    counter            BIGINT NOT NULL,
    -- NULL: none known. token_origin says who told: 'registration' or 'device'.
    association_token  BIGINT,
    token_origin       TEXT NOT NULL,
    -- When the token was last learnt from the device; bounds how often it can be.
    token_learnt_at    BIGINT,
    -- When the eUICC was last asked to prove its presence; bounds how often it can be.
    proof_asked_at     BIGINT,
    -- Highest seqNumber accepted in a signed result of this eUICC.
    last_seq_number    BIGINT NOT NULL,
    euicc_certificate  BLOB,
    eum_certificate    BLOB,
    -- What the authority knows of certificates and token: 'unknown', 'due', 'accepted' or 'refused'.
    association        TEXT NOT NULL,
    association_refusal TEXT,
    -- When it is to be told, or told again.
    association_due_at BIGINT,
    euicc_info1        BLOB,
    euicc_info2        BLOB,
    ipa_capabilities   BLOB,
    device_info        BLOB,
    default_smdp       TEXT,
    registered_at      BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL
);

CREATE INDEX device_association ON device (association_due_at) WHERE association_due_at IS NOT NULL;

CREATE TABLE device_contact (
    eid           TEXT PRIMARY KEY REFERENCES device (eid),
    last_poll_at  BIGINT NOT NULL,
    polls         BIGINT NOT NULL,
    peer          TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE operation (
    id                  TEXT PRIMARY KEY,
    eid                 TEXT NOT NULL REFERENCES device (eid),
    -- What it is signed on account of: an intent, or a reference of the eIM's own.
    intent              TEXT,
    reference           TEXT,
    actor               TEXT NOT NULL,
    -- Secrets are committed to; what opens them is in opening.
    commands            TEXT NOT NULL,
    state               TEXT NOT NULL,
    -- Why the authority does not sign it now, and when to ask again.
    held_code           TEXT,
    held_message        TEXT,
    held_until          BIGINT,
    eim_transaction_id  TEXT UNIQUE,
    counter             BIGINT,
    -- The token under the signature of the package, and so under that of its result.
    association_token   BIGINT,
    request             BLOB,
    result              BLOB,
    -- When the authority took the result.
    recorded_at         BIGINT,
    outcome             TEXT,
    refusals            BIGINT NOT NULL,
    -- Proofs of presence asked for before this could be handed over.
    proofs              BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    expires_at          BIGINT NOT NULL,
    delivered_at        BIGINT,
    finished_at         BIGINT,
    CHECK ((intent IS NULL) <> (reference IS NULL)),
    UNIQUE (intent, eid)
);

-- One package in flight for each association: the database itself refuses a second.
CREATE UNIQUE INDEX operation_in_flight ON operation (eid) WHERE state = 'in-flight';
CREATE INDEX operation_queue ON operation (eid, id) WHERE state IN ('queued', 'in-flight');
CREATE INDEX operation_history ON operation (eid, id);
CREATE INDEX operation_of_intent ON operation (intent) WHERE intent IS NOT NULL AND state IN ('queued', 'in-flight');

-- What opens the secrets that intents commit to.
CREATE TABLE opening (
    intent      TEXT PRIMARY KEY,
    openings    TEXT NOT NULL,
    -- Whether the intent was approved, so that operations need them.
    approved    BOOLEAN NOT NULL,
    expires_at  BIGINT NOT NULL
) WITHOUT ROWID;

-- Up to where the authority's feed was followed. One row.
CREATE TABLE feed (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    cursor  BIGINT NOT NULL
);
INSERT INTO feed (id, cursor) VALUES (1, 0);

-- Signed results on their way to the authority. A row is removed when it has taken it, and kept when it refused it.
CREATE TABLE report (
    id         TEXT PRIMARY KEY,
    eid        TEXT NOT NULL,
    operation  TEXT NOT NULL,
    result     BLOB NOT NULL,
    attempts   BIGINT NOT NULL,
    due_at     BIGINT,
    refusal    TEXT
) WITHOUT ROWID;
CREATE INDEX report_due ON report (id) WHERE due_at IS NOT NULL;

CREATE TABLE profile (
    eid                 TEXT NOT NULL REFERENCES device (eid),
    iccid               TEXT NOT NULL,
    state               TEXT NOT NULL,
    class               TEXT NOT NULL,
    name                TEXT NOT NULL,
    provider            TEXT NOT NULL,
    nickname            TEXT,
    isdp_aid            TEXT,
    fallback_attribute  BOOLEAN NOT NULL,
    fallback_allowed    BOOLEAN NOT NULL,
    ecall               BOOLEAN NOT NULL,
    policy_rules        TEXT NOT NULL,
    updated_at          BIGINT NOT NULL,
    PRIMARY KEY (eid, iccid)
);
CREATE INDEX profile_iccid ON profile (iccid);

CREATE TABLE associated_eim (
    eid      TEXT NOT NULL REFERENCES device (eid),
    eim_id   TEXT NOT NULL,
    id_type  BIGINT,
    seen_at  BIGINT NOT NULL,
    PRIMARY KEY (eid, eim_id)
);

CREATE TABLE notification (
    eid              TEXT NOT NULL REFERENCES device (eid),
    seq_number       BIGINT NOT NULL,
    event            TEXT NOT NULL,
    iccid            TEXT,
    address          TEXT NOT NULL,
    message          BLOB NOT NULL,
    received_at      BIGINT NOT NULL,
    forwarded_at     BIGINT,
    attempts         BIGINT NOT NULL,
    next_attempt_at  BIGINT,
    PRIMARY KEY (eid, seq_number)
);
CREATE INDEX notification_outbox ON notification (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- Rows stand in the order of their key: they are only ever read by device, and written by each package and result.
CREATE TABLE event (
    eid     TEXT NOT NULL,
    id      TEXT NOT NULL,
    at      BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    detail  TEXT NOT NULL,
    PRIMARY KEY (eid, id)
) WITHOUT ROWID;
