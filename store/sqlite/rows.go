package sqlite

import (
	"database/sql"
	"net/netip"
	"time"

	"github.com/sipway/sipway/sip"
	"github.com/sipway/sipway/store"
)

// bindingColumns are the columns in the order of scanBinding and bindingValues.
const bindingColumns = `aor, key, contact, params, path, q, methods, instance, reg_id,
	user_agent, call_id, cseq, transport, local, remote, flow, node, epoch,
	created, updated, expires`

// bindingRow is a row on its way into or out of the database.
type bindingRow struct {
	store.Binding
	transport, local, remote  string
	flow                      int64 // the bits of an unsigned number
	created, updated, expires int64 // Unix milliseconds
}

// scanBindings reads all rows and closes them.
func scanBindings(rows *sql.Rows) ([]store.Binding, error) {
	defer rows.Close()
	var all []store.Binding
	for rows.Next() {
		var r bindingRow
		err := rows.Scan(&r.AOR, &r.Key, &r.Contact, &r.Params, &r.Path, &r.Q, &r.Methods, &r.Instance, &r.RegID,
			&r.UserAgent, &r.CallID, &r.CSeq, &r.transport, &r.local, &r.remote, &r.flow, &r.Node, &r.Epoch,
			&r.created, &r.updated, &r.expires)
		if err != nil {
			return nil, err
		}
		all = append(all, r.binding())
	}
	return all, rows.Err()
}

// binding returns the value of a scanned row.
func (r *bindingRow) binding() store.Binding {
	r.Flow.Transport, _ = sip.ParseTransport(r.transport)
	// What is no address is the zero address, as it was when it was stored.
	r.Flow.Local, _ = netip.ParseAddrPort(r.local)
	r.Flow.Remote, _ = netip.ParseAddrPort(r.remote)
	r.Flow.ID = uint64(r.flow)
	r.Created = time.UnixMilli(r.created)
	r.Updated = time.UnixMilli(r.updated)
	r.Expires = time.UnixMilli(r.expires)
	r.Pack()
	return r.Binding
}

// bindingValues returns the arguments that store b.
func bindingValues(b *store.Binding) []any {
	return []any{b.AOR, b.Key, b.Contact, b.Params, b.Path, b.Q, b.Methods, b.Instance, b.RegID,
		b.UserAgent, b.CallID, b.CSeq, b.Flow.Transport.String(), address(b.Flow.Local), address(b.Flow.Remote),
		int64(b.Flow.ID), b.Node, b.Epoch,
		b.Created.UnixMilli(), b.Updated.UnixMilli(), b.Expires.UnixMilli()}
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// userColumns are the columns in the order of scanUsers and userValues.
const userColumns = `name, domain, ha1_md5, ha1_sha256, ha1_sha512_256`

// userValues returns the arguments that store u.
func userValues(u *store.User) []any {
	return []any{u.Name, u.Domain, u.HA1.MD5, u.HA1.SHA256, u.HA1.SHA512256}
}

// scanUsers reads all rows of userColumns and closes them.
func scanUsers(rows *sql.Rows) ([]store.User, error) {
	defer rows.Close()
	var all []store.User
	for rows.Next() {
		var u store.User
		if err := rows.Scan(&u.Name, &u.Domain, &u.HA1.MD5, &u.HA1.SHA256, &u.HA1.SHA512256); err != nil {
			return nil, err
		}
		u.Pack()
		all = append(all, u)
	}
	return all, rows.Err()
}
