-- Browsers that are signed in. Only the hash of what their cookie holds is here.
CREATE TABLE session (
    id             INTEGER PRIMARY KEY,
    secret_sha256  BLOB NOT NULL UNIQUE,
    principal      TEXT NOT NULL,
    credential     TEXT NOT NULL,
    address        TEXT NOT NULL,
    agent          TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    seen_at        BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL
);
CREATE INDEX session_of ON session (principal, id);
CREATE INDEX session_end ON session (expires_at);
