package postgres

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// bindingColumns are the columns in the order of scanBindings and of columns.
const bindingColumns = `aor, key, contact, params, path, q, methods, instance, reg_id,
	user_agent, call_id, cseq, transport, local, remote, flow, node, epoch,
	created, updated, expires`

// scanBindings reads all rows of bindingColumns and closes them.
func scanBindings(rows pgx.Rows) ([]store.Binding, error) {
	defer rows.Close()
	var all []store.Binding
	for rows.Next() {
		b, err := scanBinding(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, rows.Err()
}

// scanBinding reads a row, whose further columns go to more.
func scanBinding(rows pgx.Rows, more ...any) (b store.Binding, err error) {
	var (
		aor, key, contact, params, path, methods bytes
		instance, userAgent, callID, node        bytes
		transport, local, remote                 string
		flow, created, updated, expires          int64
	)
	err = rows.Scan(append([]any{&aor, &key, &contact, &params, &path, &b.Q, &methods, &instance, &b.RegID,
		&userAgent, &callID, &b.CSeq, &transport, &local, &remote, &flow, &node, &b.Epoch,
		&created, &updated, &expires}, more...)...)
	if err != nil {
		return b, err
	}
	b.AOR, b.Key, b.Contact, b.Params, b.Path = string(aor), string(key), string(contact), string(params), string(path)
	b.Methods, b.Instance, b.UserAgent = string(methods), string(instance), string(userAgent)
	b.CallID, b.Node = string(callID), string(node)
	b.Flow.Transport, _ = sip.ParseTransport(transport)
	// What is no address is the zero address, as it was when it was stored.
	b.Flow.Local, _ = netip.ParseAddrPort(local)
	b.Flow.Remote, _ = netip.ParseAddrPort(remote)
	b.Flow.ID = uint64(flow)
	b.Created, b.Updated, b.Expires = time.UnixMilli(created), time.UnixMilli(updated), time.UnixMilli(expires)
	b.Pack()
	return b, nil
}

// bytes is a column of bytes as it stands in the connection's buffer: valid until the next
// row.
type bytes []byte

// ScanBytes implements pgtype.BytesScanner.
func (b *bytes) ScanBytes(v []byte) error {
	*b = v
	return nil
}

// columns are bindings as arrays, for statements that take many rows at a time.
type columns struct {
	aor, key, contact, params, path, methods [][]byte
	instance, userAgent, callID, node        [][]byte
	q, regID                                 []int32
	transport, local, remote                 []string
	cseq, flow, epoch                        []int64
	created, updated, expires                []int64
}

func (c *columns) add(b *store.Binding) {
	c.aor, c.key = append(c.aor, []byte(b.AOR)), append(c.key, []byte(b.Key))
	c.contact, c.params = append(c.contact, []byte(b.Contact)), append(c.params, []byte(b.Params))
	c.path, c.methods = append(c.path, []byte(b.Path)), append(c.methods, []byte(b.Methods))
	c.instance, c.userAgent = append(c.instance, []byte(b.Instance)), append(c.userAgent, []byte(b.UserAgent))
	c.callID, c.node = append(c.callID, []byte(b.CallID)), append(c.node, []byte(b.Node))
	c.q, c.regID = append(c.q, int32(b.Q)), append(c.regID, int32(b.RegID))
	c.transport = append(c.transport, b.Flow.Transport.String())
	c.local, c.remote = append(c.local, address(b.Flow.Local)), append(c.remote, address(b.Flow.Remote))
	c.cseq, c.flow, c.epoch = append(c.cseq, int64(b.CSeq)), append(c.flow, int64(b.Flow.ID)), append(c.epoch, b.Epoch)
	c.created = append(c.created, b.Created.UnixMilli())
	c.updated = append(c.updated, b.Updated.UnixMilli())
	c.expires = append(c.expires, b.Expires.UnixMilli())
}

func (c *columns) empty() bool { return len(c.aor) == 0 }

// args are all columns, in the order of bindingColumns.
func (c *columns) args() []any {
	return []any{c.aor, c.key, c.contact, c.params, c.path, c.q, c.methods, c.instance, c.regID,
		c.userAgent, c.callID, c.cseq, c.transport, c.local, c.remote, c.flow, c.node, c.epoch,
		c.created, c.updated, c.expires}
}

// unnest are the arrays of args as rows.
const unnest = `unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::int[],
	$7::bytea[], $8::bytea[], $9::int[], $10::bytea[], $11::bytea[], $12::bigint[],
	$13::text[], $14::text[], $15::text[], $16::bigint[], $17::bytea[], $18::bigint[],
	$19::bigint[], $20::bigint[], $21::bigint[])`

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// userColumns are the columns in the order of queryUsers.
const userColumns = `name, domain, ha1_md5, ha1_sha256, ha1_sha512_256`

// queryUsers returns the rows of a query for userColumns.
func (s *Store) queryUsers(ctx context.Context, sql string, args ...any) ([]store.User, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (u store.User, err error) {
		var name, domain bytes
		err = row.Scan(&name, &domain, &u.HA1.MD5, &u.HA1.SHA256, &u.HA1.SHA512256)
		u.Name, u.Domain = string(name), string(domain)
		u.Pack()
		return u, err
	})
}
