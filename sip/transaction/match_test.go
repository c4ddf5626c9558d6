package transaction

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sipway/sipway/sip"
)

// variant is newRequest with words replaced.
func variant(t *testing.T, method sip.Method, f sip.Flow, branch string, replace ...string) *sip.Message {
	t.Helper()
	m := parse(t, strings.NewReplacer(replace...).Replace(
		fmt.Sprintf(requestText, method, f.Transport, branch, method)))
	m.SetReceived(f.Remote)
	return m
}

// wantMatch checks whether the request that came last made no transaction of its own, and
// that this does not hang on the hash alone: hashes may collide.
func (r *rig) wantMatch(want bool, f sip.Flow, m *sip.Message) {
	r.t.Helper()
	if got := len(r.requests) == 1; got != want {
		r.t.Errorf("matched: %v", got)
	}
	again := r.hash.request(f, m, m.Method(), m.ToTag())
	if got := r.requests[0].matches(&again); got != want {
		r.t.Errorf("matches: %v", got)
	}
}

// RFC 3261 §17.2.3: branch, sent-by and method, and besides the flow. What the branch does
// not stand for may differ.
func TestMatchRequests(t *testing.T) {
	otherPort, otherHost, otherWS := udp, udp, ws
	otherPort.Remote = netip.MustParseAddrPort("192.0.2.1:6000")
	otherHost.Remote = netip.MustParseAddrPort("192.0.2.2:5070")
	otherWS.ID++
	for _, test := range []struct {
		name   string
		first  sip.Flow
		second sip.Flow
		m      func(*testing.T, sip.Flow) *sip.Message
		match  bool
	}{
		{"copy", udp, udp, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs")
		}, true},
		{"other port of the host", udp, otherPort, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs")
		}, true},
		{"other Call-ID", udp, udp, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs", "call-1", "call-2", "CSeq: 42", "CSeq: 43")
		}, true},
		{"other branch", udp, udp, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKS")
		}, false},
		{"other method", udp, udp, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.BYE, f, "z9hG4bKs")
		}, false},
		{"other sent-by host", udp, udp, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs", "UDP 192.0.2.1", "UDP 192.0.2.2")
		}, false},
		{"other sent-by port", udp, udp, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs", "192.0.2.1:5070", "192.0.2.1:5071")
		}, false},
		{"other host", udp, otherHost, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs")
		}, false},
		{"stream after datagram", udp, tcp, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, udp, "z9hG4bKs")
		}, false},
		{"same connection", ws, ws, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs")
		}, true},
		{"other connection", ws, otherWS, func(t *testing.T, f sip.Flow) *sip.Message {
			return variant(t, sip.INFO, f, "z9hG4bKs")
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.Receive(test.first, variant(t, sip.INFO, test.first, "z9hG4bKs"))
				r.Receive(test.second, test.m(t, test.second))
				r.wantMatch(test.match, test.second, test.m(t, test.second))
				for _, tx := range r.requests {
					r.reply(tx, 200)
				}
			})
		})
	}
}

// A branch that is no more than the magic cookie identifies nothing (RFC 4475 §3.3.1).
var legacyBranches = []string{"z9hG4bK", "1", "3"}

// RFC 3261 §17.2.3 for requests of RFC 2543 clients: every field that is compared tells
// transactions apart.
func TestMatchLegacyRequests(t *testing.T) {
	const tagged = "To: <sip:bob@example.test>;tag=t1"
	for _, method := range []sip.Method{sip.INVITE, sip.OPTIONS} {
		for _, branch := range legacyBranches {
			for _, test := range []struct {
				name    string
				replace []string
				match   bool
			}{
				{"copy", nil, true},
				{"other header field", []string{"Proxy-Require: foo", "Proxy-Require: bar"}, true},
				{"Request-URI", []string{"sip:bob@example.test SIP/2.0", "sip:bob@192.0.2.7 SIP/2.0"}, false},
				{"To tag", []string{"To: <sip:bob@example.test>", tagged}, false},
				{"From tag", []string{"tag=a1", "tag=a2"}, false},
				{"Call-ID", []string{"call-1", "call-2"}, false},
				{"CSeq", []string{"CSeq: 42", "CSeq: 43"}, false},
				{"sent-by", []string{"192.0.2.1:5070", "192.0.2.1:5071"}, false},
				{"branch", []string{"branch=" + branch, "branch=2"}, false},
			} {
				t.Run(string(method)+"/"+branch+"/"+test.name, func(t *testing.T) {
					bubble(t, Config{}, func(r *rig) {
						r.Receive(udp, variant(t, method, udp, branch))
						r.Receive(udp, variant(t, method, udp, branch, test.replace...))
						r.wantMatch(test.match, udp, variant(t, method, udp, branch, test.replace...))
						for _, tx := range r.requests {
							r.reply(tx, 500)
						}
					})
				})
			}
		}
	}
}

// The ACK of an RFC 2543 client has the INVITE's branch, whatever the response was, and is
// told by the To tag of the response.
func TestLegacyAck(t *testing.T) {
	for _, test := range []struct {
		name     string
		toTag    string // of the INVITE
		status   int
		ackTag   string // "": that of the response
		want     []string
		finished bool
	}{
		{"non-2xx", "", 486, "", nil, true},
		{"non-2xx in a dialog", "t1", 486, "", nil, true},
		{"non-2xx of somebody else", "", 486, "other", []string{"ack"}, false},
		{"2xx", "", 200, "", []string{"ack"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				to := "To: <sip:bob@example.test>"
				tagged := func(tag string) []string {
					if tag == "" {
						return nil
					}
					return []string{to, to + ";tag=" + tag}
				}
				r.Receive(udp, variant(t, sip.INVITE, udp, "1", tagged(test.toTag)...))
				r.reply(r.requests[0], test.status)
				tag := test.ackTag
				if tag == "" {
					tag = r.sent().m.ToTag()
				}
				r.taken()
				r.Receive(udp, variant(t, sip.ACK, udp, "1", tagged(tag)...))
				r.want(test.want...)
				if got := r.requests[0].now() == confirmed; got != test.finished {
					t.Errorf("Confirmed: %v", got)
				}
			})
		})
	}
}

// JsSIP's ACK to a non-2xx has another CSeq number: the branch decides. Its To tag, which
// every ACK to a non-2xx has and no INVITE outside a dialog, is not looked at either.
func TestAckMatchesByBranch(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.invited(ws, 486)
		r.Receive(ws, variant(t, sip.ACK, ws, "z9hG4bKs", "CSeq: 42", "CSeq: 43", "bob@example.test>\n", "bob@example.test>;tag=b1\n"))
		r.want()
		r.wantEmpty()
	})
}

// An ACK that ends no transaction is the user's; it is never answered.
func TestStrayAck(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		for _, branch := range append(legacyBranches, "z9hG4bKs") {
			r.Receive(udp, newRequest(t, sip.ACK, udp, branch))
		}
		r.want("ack", "ack", "ack", "ack")
		r.Receive(udp, newRequest(t, sip.INFO, udp, "z9hG4bKs"))
		r.Receive(udp, newRequest(t, sip.ACK, udp, "z9hG4bKs"))
		r.want("request INFO", "ack")
		r.reply(r.requests[0], 200)
	})
}

func TestWithoutVia(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.Receive(udp, sip.NewRequest(sip.OPTIONS, "sip:bob@example.test"))
		r.Receive(udp, sip.NewResponse(sip.NewRequest(sip.OPTIONS, "sip:bob@example.test"), 200, "", ""))
		r.want()
	})
}

// Transactions whose hashes collide are told apart.
func TestTableChains(t *testing.T) {
	table := newTable[*Client]()
	txs := make([]*Client, 5)
	never := func(*Client) bool { return false }
	for i := range txs {
		txs[i] = &Client{branch: fmt.Sprint(i)}
		if other := table.insert(9, txs[i], never); other != nil {
			t.Fatal("inserted over another")
		}
	}
	if other := table.insert(9, new(Client), func(c *Client) bool { return c == txs[2] }); other != txs[2] {
		t.Errorf("inserted twice, found %v", other)
	}
	for _, gone := range []int{2, 4, 0, 3, 1} { // from the middle, the head, the end
		table.remove(txs[gone])
		txs[gone] = nil
		for i, tx := range txs {
			got := table.find(9, func(c *Client) bool { return c.branch == fmt.Sprint(i) })
			if got != tx {
				t.Errorf("after %d went: found %v for %d", gone, got, i)
			}
		}
	}
	if n := table.shards[9].n; n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A table finds each of many transactions, and is small again when they have gone.
func TestTableGrows(t *testing.T) {
	table := newTable[*Client]()
	txs := make([]*Client, 10_000)
	of := func(i int) uint64 { return uint64(i) * mix }
	for i := range txs {
		txs[i] = new(Client)
		table.insert(of(i), txs[i], func(*Client) bool { return false })
	}
	for i, tx := range txs {
		if got := table.find(of(i), func(*Client) bool { return true }); got != tx {
			t.Fatalf("%d is not found", i)
		}
	}
	for i, tx := range txs {
		table.remove(tx)
		if table.find(of(i), func(*Client) bool { return true }) != nil {
			t.Fatalf("%d is still there", i)
		}
	}
	for i := range table.shards {
		if s := &table.shards[i]; s.n != 0 || len(s.buckets) > minBuckets {
			t.Errorf("shard %d has %d in %d buckets", i, s.n, len(s.buckets))
		}
	}
}

// Flows that share a list are told apart.
func TestFlowTableShares(t *testing.T) {
	table := newFlowTable()
	a, b := uint64(7), uint64(7+shards*flowLists)
	txs := [4]Client{}
	for i, flow := range []uint64{a, b, a, b} {
		table.join(flow, &txs[i].member, &txs[i])
	}
	table.leave(a, &txs[0].member)
	if got := table.take(a); len(got) != 1 || got[0] != &txs[2] {
		t.Errorf("took %v", got)
	}
	table.leave(a, &txs[2].member) // it has left
	if got := table.take(b); len(got) != 2 {
		t.Errorf("took %d of the other flow", len(got))
	}
}
