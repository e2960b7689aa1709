-- Where somebody wants to be told what happens. The events themselves are the eIM's; here is only how far each was told.
CREATE TABLE webhook (
    id               TEXT PRIMARY KEY,
    owner            TEXT NOT NULL,
    url              TEXT NOT NULL,
    -- HMAC needs it as it is.
    secret           BLOB NOT NULL,
    -- JSON list of kinds of events; NULL: all.
    kinds            TEXT,
    created_at       BIGINT NOT NULL,
    -- Up to which event it was told.
    cursor           BIGINT NOT NULL,
    -- 'active', or why it is not.
    state            TEXT NOT NULL,
    attempts         BIGINT NOT NULL,
    next_attempt_at  BIGINT NOT NULL,
    last_status      BIGINT,
    last_error       TEXT,
    last_success_at  BIGINT,
    failing_since    BIGINT
);
CREATE INDEX webhook_of ON webhook (owner, id);
