-- +goose Up

-- One contact of an address-of-record. What comes from messages is any bytes, which text
-- can't hold; the view registration shows it. Times are Unix milliseconds. The rows of an
-- AOR stand in the order of (created, id).
--
-- A refresh changes no column of an index, so it needs no new entry there as long as the
-- page has room (HOT); that is why nothing is indexed by its expiry.
CREATE TABLE binding (
	id         bigint  GENERATED ALWAYS AS IDENTITY,
	aor        bytea   NOT NULL,
	key        bytea   NOT NULL,
	contact    bytea   NOT NULL,
	params     bytea   NOT NULL,
	path       bytea   NOT NULL,
	q          integer NOT NULL,
	methods    bytea   NOT NULL,
	instance   bytea   NOT NULL,
	reg_id     integer NOT NULL,
	user_agent bytea   NOT NULL,
	call_id    bytea   NOT NULL,
	cseq       bigint  NOT NULL,
	transport  text    NOT NULL,
	local      text    NOT NULL,
	remote     text    NOT NULL,
	flow       bigint  NOT NULL,
	node       bytea   NOT NULL,
	epoch      bigint  NOT NULL,
	created    bigint  NOT NULL,
	updated    bigint  NOT NULL,
	expires    bigint  NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX binding_key ON binding (aor, key);

CREATE VIEW registration AS SELECT
	encode(aor, 'escape') AS aor, encode(contact, 'escape') AS contact, transport, remote,
	encode(user_agent, 'escape') AS user_agent, encode(node, 'escape') AS node,
	to_timestamp(created / 1000.0) AS created, to_timestamp(updated / 1000.0) AS updated,
	to_timestamp(expires / 1000.0) AS expires
FROM binding;

-- Somebody who may register, with H(A1) in hex for each algorithm; never the password.
CREATE TABLE sip_user (
	domain         bytea NOT NULL,
	name           bytea NOT NULL,
	ha1_md5        text  NOT NULL,
	ha1_sha256     text  NOT NULL,
	ha1_sha512_256 text  NOT NULL,
	PRIMARY KEY (domain, name)
);

-- Until when the process counts as alive that runs a node.
CREATE TABLE node (
	name  bytea  PRIMARY KEY,
	epoch bigint NOT NULL,
	until bigint NOT NULL
);

CREATE TABLE secret (
	name  text  PRIMARY KEY,
	value bytea NOT NULL
);
