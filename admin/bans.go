package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Bans are the sources that the server does not hear for a while.
//
// Errors: store.ErrNotFound where a source is not banned, and what [BadRequest] makes.
type Bans interface {
	// Bans returns the bans of this moment, in the order of their ends.
	Bans(ctx context.Context) ([]Ban, error)
	// AddBan bans the source that an address belongs to.
	AddBan(ctx context.Context, addr netip.Addr, length time.Duration) (Ban, error)
	// RemoveBan ends a ban, and forgets what the source has done.
	RemoveBan(ctx context.Context, addr netip.Addr) error
}

// Ban is a source that is not heard: an IPv4 address or the /64 of an IPv6 one.
type Ban struct {
	Source    string    `json:"source"`
	Reason    string    `json:"reason"`
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"`
	ExpiresIn int64     `json:"expires_in"` // seconds
	Count     int       `json:"count"`      // bans of the source of late
}

type bansReply struct {
	Bans []Ban `json:"bans"`
}

// defaultBan is how long a ban by hand lasts that says nothing else.
const defaultBan = time.Hour

func (s *Server) routeBans(mux *http.ServeMux) {
	bans := s.cfg.Bans
	if bans == nil {
		return
	}
	mux.HandleFunc("GET /bans", func(w http.ResponseWriter, r *http.Request) {
		list, err := bans.Bans(r.Context())
		if list == nil {
			list = []Ban{}
		}
		s.reply(w, r, bansReply{list}, err)
	})
	mux.HandleFunc("PUT /bans/{source}", func(w http.ResponseWriter, r *http.Request) {
		addr, err := ParseSource(r.PathValue("source"))
		length := defaultBan
		if text := r.URL.Query().Get("for"); err == nil && text != "" {
			if length, err = time.ParseDuration(text); err != nil || length <= 0 {
				err = BadRequest(fmt.Errorf("for: expects a duration such as 1h30m, not %q", text))
			}
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		ban, err := bans.AddBan(r.Context(), addr, length)
		s.reply(w, r, ban, err)
	})
	mux.HandleFunc("DELETE /bans/{source}", func(w http.ResponseWriter, r *http.Request) {
		addr, err := ParseSource(r.PathValue("source"))
		if err == nil {
			err = bans.RemoveBan(r.Context(), addr)
		}
		s.reply(w, r, struct{}{}, err)
	})
}

// ParseSource reads a source as a ban names it, or any address of it.
func ParseSource(s string) (netip.Addr, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return addr, BadRequest(fmt.Errorf("%q: expects an address, such as 192.0.2.1 or 2001:db8::1", s))
		}
		return addr.Unmap().WithZone(""), nil
	}
	if p.Addr().Is4() && p.Bits() != 32 || p.Addr().Is6() && p.Bits() != 64 && p.Bits() != 128 {
		return p.Addr(), BadRequest(fmt.Errorf("%s: sources are single addresses of IPv4 and /64 of IPv6", p))
	}
	return p.Addr(), nil
}

var _ Bans = (*Client)(nil)

// Bans implements [Bans].
func (c *Client) Bans(ctx context.Context) ([]Ban, error) {
	var reply bansReply
	err := c.call(ctx, http.MethodGet, "/bans", nil, nil, &reply)
	return reply.Bans, err
}

// AddBan implements [Bans].
func (c *Client) AddBan(ctx context.Context, addr netip.Addr, length time.Duration) (b Ban, err error) {
	err = c.call(ctx, http.MethodPut, "/bans/"+url.PathEscape(addr.String()), url.Values{"for": {length.String()}}, nil, &b)
	return b, err
}

// RemoveBan implements [Bans].
func (c *Client) RemoveBan(ctx context.Context, addr netip.Addr) error {
	return c.call(ctx, http.MethodDelete, "/bans/"+url.PathEscape(addr.String()), nil, nil, &struct{}{})
}
