CREATE TABLE profile_package (
    id     INTEGER PRIMARY KEY,
    sha256 BLOB    NOT NULL UNIQUE,
    octets BLOB    NOT NULL,
    -- Non-volatile memory that an eUICC needs for it, in octets.
    memory BIGINT  NOT NULL
);

CREATE TABLE profile (
    iccid        TEXT    PRIMARY KEY,
    profile_type TEXT    NOT NULL,
    -- The operator that may order it; any if NULL.
    operator     TEXT,
    package_id   INTEGER NOT NULL REFERENCES profile_package (id),
    -- DER StoreMetadataRequest.
    metadata     BLOB    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('Available', 'Allocated', 'Linked', 'Confirmed', 'Released',
                                                   'Downloaded', 'Installed', 'Error', 'Unavailable')),
    -- The order that it is in, or was in last.
    order_id     BIGINT
);
CREATE INDEX profile_by_type ON profile (profile_type, state);

CREATE TABLE download_order (
    id                    INTEGER PRIMARY KEY,
    iccid                 TEXT    NOT NULL REFERENCES profile (iccid),
    -- Who ordered; this server's own administration if NULL.
    operator              TEXT,
    eid                   TEXT,
    -- Empty for the default SM-DP+; NULL until confirmed.
    matching_id           TEXT,
    confirmation_hash     BLOB,
    confirmation_failures BIGINT  NOT NULL DEFAULT 0,
    attempts              BIGINT  NOT NULL DEFAULT 0,
    -- One-time key of the eUICC that a package was bound to.
    bound_otpk            BLOB,
    created_at            BIGINT  NOT NULL,
    expires_at            BIGINT,
    closed_at             BIGINT
);
CREATE UNIQUE INDEX open_order_by_matching_id ON download_order (matching_id)
    WHERE closed_at IS NULL AND matching_id <> '';
CREATE INDEX open_default_order ON download_order (eid)
    WHERE closed_at IS NULL AND matching_id = '';

-- A bound profile package that was sent. Its result comes later, perhaps much later.
CREATE TABLE download (
    number         INTEGER PRIMARY KEY,
    transaction_id BLOB    NOT NULL UNIQUE,
    order_id       BIGINT  NOT NULL REFERENCES download_order (id),
    iccid          TEXT    NOT NULL,
    eid            TEXT    NOT NULL,
    -- DER SubjectPublicKeyInfo of the eUICC that was authenticated.
    euicc_key      BLOB    NOT NULL,
    delivered_at   BIGINT  NOT NULL,
    -- DER ProfileInstallationResult that was believed.
    result         BLOB,
    result_at      BIGINT
);
CREATE INDEX download_by_order ON download (order_id, number);
CREATE INDEX download_by_profile ON download (iccid, eid);

CREATE TABLE notification (
    eid         TEXT   NOT NULL,
    seq_number  BIGINT NOT NULL,
    event       TEXT   NOT NULL,
    iccid       TEXT,
    address     TEXT   NOT NULL,
    octets      BLOB   NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (eid, seq_number, event)
);

CREATE TABLE history (
    number       INTEGER PRIMARY KEY,
    iccid        TEXT   NOT NULL,
    at           BIGINT NOT NULL,
    event        TEXT   NOT NULL,
    state_before TEXT   NOT NULL,
    state_after  TEXT   NOT NULL,
    order_id     BIGINT,
    -- The operator, the eUICC, or this server's administration.
    actor        TEXT   NOT NULL
);
CREATE INDEX history_by_iccid ON history (iccid, number);

CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY,
    operator        TEXT   NOT NULL,
    iccid           TEXT   NOT NULL,
    eid             TEXT,
    profile_type    TEXT   NOT NULL,
    occurred_at     BIGINT NOT NULL,
    point           BIGINT NOT NULL,
    subject         TEXT,
    reason          TEXT,
    result          BLOB,
    attempts        BIGINT NOT NULL DEFAULT 0,
    next_attempt_at BIGINT NOT NULL
);
CREATE INDEX outbox_by_time ON outbox (next_attempt_at);
