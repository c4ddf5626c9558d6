package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Office issues what users show to others instead of a password. An address-of-record that is
// none of ours is an error that [BadRequest] made.
type Office interface {
	// Ticket returns a one-time ticket for the user, and when it expires.
	Ticket(aor string, ttl time.Duration) (ticket string, expires time.Time, err error)
	// TURN returns credentials for the TURN servers, as JSON has them.
	TURN(aor string) (any, error)
}

// The life of a ticket: long enough to load a page with it.
const (
	defaultTicketTTL = time.Minute
	maxTicketTTL     = time.Hour
)

// officeRequest is the body of POST /tickets and POST /turn.
type officeRequest struct {
	AOR string `json:"aor"`
	TTL string `json:"ttl,omitempty"` // a duration such as "60s"
}

type ticketReply struct {
	Ticket  string    `json:"ticket"`
	Expires time.Time `json:"expires"`
}

func (s *Server) routeOffice(mux *http.ServeMux) {
	if s.cfg.Office == nil {
		return
	}
	mux.HandleFunc("POST /tickets", s.postTicket)
	mux.HandleFunc("POST /turn", func(w http.ResponseWriter, r *http.Request) {
		q, err := readOffice(w, r)
		var reply any
		if err == nil {
			reply, err = s.cfg.Office.TURN(q.AOR)
		}
		s.reply(w, r, reply, err)
	})
}

func (s *Server) postTicket(w http.ResponseWriter, r *http.Request) {
	q, err := readOffice(w, r)
	ttl := defaultTicketTTL
	if err == nil && q.TTL != "" {
		if ttl, err = time.ParseDuration(q.TTL); err != nil || ttl < time.Second || ttl > maxTicketTTL {
			err = BadRequest(fmt.Errorf("ttl: expects a duration of 1s to %v, not %q", maxTicketTTL, q.TTL))
		}
	}
	var reply ticketReply
	if err == nil {
		reply.Ticket, reply.Expires, err = s.cfg.Office.Ticket(q.AOR, ttl)
		reply.Expires = reply.Expires.UTC()
	}
	s.reply(w, r, reply, err)
}

func readOffice(w http.ResponseWriter, r *http.Request) (q officeRequest, err error) {
	const most = 4 << 10
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return q, BadRequest(fmt.Errorf(`expects {"aor": "alice@example.test"}: %w`, err))
	}
	return q, nil
}
