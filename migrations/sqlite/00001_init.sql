-- +goose Up

-- Says whose file it is: "sipw".
PRAGMA application_id = 1936289911;

-- One contact of an address-of-record. Times are Unix milliseconds. The rows of an AOR
-- stand in the order of (created, id).
CREATE TABLE binding (
	id         INTEGER PRIMARY KEY,
	aor        TEXT    NOT NULL,
	key        TEXT    NOT NULL,
	contact    TEXT    NOT NULL,
	params     TEXT    NOT NULL,
	path       TEXT    NOT NULL,
	q          INTEGER NOT NULL,
	methods    TEXT    NOT NULL,
	instance   TEXT    NOT NULL,
	reg_id     INTEGER NOT NULL,
	user_agent TEXT    NOT NULL,
	call_id    TEXT    NOT NULL,
	cseq       INTEGER NOT NULL,
	transport  TEXT    NOT NULL,
	local      TEXT    NOT NULL,
	remote     TEXT    NOT NULL,
	flow       INTEGER NOT NULL,
	node       TEXT    NOT NULL,
	epoch      INTEGER NOT NULL,
	created    INTEGER NOT NULL,
	updated    INTEGER NOT NULL,
	expires    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX binding_key ON binding (aor, key);
CREATE INDEX binding_expires ON binding (expires);

-- Somebody who may register, with H(A1) in hex for each algorithm; never the password.
CREATE TABLE user (
	domain     TEXT NOT NULL,
	name       TEXT NOT NULL,
	ha1_md5    TEXT NOT NULL,
	ha1_sha256 TEXT NOT NULL,
	PRIMARY KEY (domain, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
