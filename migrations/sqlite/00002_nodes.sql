-- +goose Up

-- H(A1) of SHA-512/256 (RFC 7616), in hex; empty for users that were stored before.
ALTER TABLE user ADD COLUMN ha1_sha512_256 TEXT NOT NULL DEFAULT '';

-- Until when the process counts as alive that runs a node, in Unix milliseconds.
CREATE TABLE node (
	name  TEXT    PRIMARY KEY,
	epoch INTEGER NOT NULL,
	until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
