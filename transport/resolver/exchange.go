package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// rounds is how often every nameserver is asked before none is said to answer.
	rounds = 3

	// payload is the size of UDP answers that is asked for. It is what passes everywhere
	// without fragments; what is larger comes over TCP.
	payload = 1232
)

// exchange asks the nameservers one after the other until one answers that a name has
// records or has none.
func (r *Resolver) exchange(ctx context.Context, q question) (*dns.Msg, error) {
	var failure error
	timeout := r.cfg.Timeout
	for range rounds {
		silence := false
		for _, s := range r.servers.list() {
			m, err := r.askServer(ctx, s, q, timeout)
			switch {
			case err == nil:
				r.servers.answered(s)
				return m, nil
			case errors.Is(err, ErrFailed):
				failure = err
			default:
				r.servers.silent(s, err)
				silence = true
			}
			if ctx.Err() != nil {
				break
			}
		}
		// Who has failed once fails again; who was silent may have lost a datagram.
		if !silence || ctx.Err() != nil {
			break
		}
		timeout = 2 * r.cfg.Timeout
	}
	if failure != nil {
		return nil, failure
	}
	return nil, ErrSilent
}

// askServer asks one nameserver. The error is ErrFailed, wrapped, where it answered that it
// can't answer.
func (r *Resolver) askServer(ctx context.Context, s netip.AddrPort, q question, timeout time.Duration) (*dns.Msg, error) {
	query := new(dns.Msg).SetQuestion(q.name, q.qtype)
	query.SetEdns0(payload, false)
	m, err := send(ctx, "udp", s, query, timeout)
	if err == nil && unextended(m.Rcode) { // RFC 6891 §7
		query.Extra = nil
		m, err = send(ctx, "udp", s, query, timeout)
	}
	if err != nil {
		return nil, err
	}
	if m.Truncated {
		whole, err := send(ctx, "tcp", s, query, timeout)
		switch {
		case err == nil:
			m = whole
		case len(m.Answer) == 0:
			return nil, err
		}
	}
	switch {
	case m.Rcode == dns.RcodeNameError:
	case m.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("%w: %s", ErrFailed, dns.RcodeToString[m.Rcode])
	case len(m.Answer) == 0 && !m.Authoritative && !m.RecursionAvailable && soa(m) == nil:
		return nil, fmt.Errorf("%w: referral", ErrFailed) // it does not look up for others
	}
	return m, nil
}

func unextended(rcode int) bool {
	return rcode == dns.RcodeFormatError || rcode == dns.RcodeNotImplemented || rcode == dns.RcodeBadVers
}

func send(ctx context.Context, network string, s netip.AddrPort, query *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	client := dns.Client{Net: network, Timeout: timeout}
	m, _, err := client.ExchangeContext(ctx, query, s.String())
	switch {
	case err != nil:
		return nil, err
	case !m.Response || len(m.Question) > 0 && !sameQuestion(m.Question[0], query.Question[0]):
		return nil, errors.New("resolver: answer to another question")
	}
	return m, nil
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}
