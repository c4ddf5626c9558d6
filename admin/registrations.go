package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// routeRegistrations serves the registrations.
func (s *Server) routeRegistrations(mux *http.ServeMux) {
	regs := s.cfg.Registrations
	if regs == nil {
		return
	}
	mux.HandleFunc("GET /registrations", func(w http.ResponseWriter, r *http.Request) {
		q, err := parseQuery(r.URL.Query())
		if err != nil {
			s.fail(w, r, err)
			return
		}
		page, err := regs.List(r.Context(), q)
		if page.Registrations == nil {
			page.Registrations = []Registration{}
		}
		s.reply(w, r, page, err)
	})
	mux.HandleFunc("GET /registrations/count", func(w http.ResponseWriter, r *http.Request) {
		q, err := parseQuery(r.URL.Query())
		if err != nil {
			s.fail(w, r, err)
			return
		}
		n, err := regs.Count(r.Context(), q)
		s.reply(w, r, countReply{n}, err)
	})
	mux.HandleFunc("GET /registrations/{aor}", func(w http.ResponseWriter, r *http.Request) {
		list, err := regs.Show(r.Context(), r.PathValue("aor"))
		s.reply(w, r, Page{Registrations: list}, err)
	})
	mux.HandleFunc("DELETE /registrations/{aor}", func(w http.ResponseWriter, r *http.Request) {
		v := r.URL.Query()
		kick, err := parseBool("kick", v.Get("kick"))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		removed, err := regs.Remove(r.Context(), r.PathValue("aor"), v.Get("contact"), kick)
		s.reply(w, r, removalReply{removed}, err)
	})
	if live, ok := regs.(Live); ok {
		mux.HandleFunc("POST /registrations/{aor}/ping", s.ping(live))
		mux.HandleFunc("GET /registrations/watch", s.watch(live))
	}
}

// How long a ping waits for answers: where the request does not say, and at most.
const (
	pingTime    = 5 * time.Second
	maxPingTime = 32 * time.Second // 64*T1, when the transactions give up
)

func (s *Server) ping(live Live) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wait := pingTime
		if text := r.URL.Query().Get("timeout"); text != "" {
			var err error
			if wait, err = time.ParseDuration(text); err != nil || wait <= 0 || wait > maxPingTime {
				s.fail(w, r, BadRequest(fmt.Errorf("timeout: expects a duration up to %v, not %q", maxPingTime, text)))
				return
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		pongs, err := live.Ping(ctx, r.PathValue("aor"))
		s.reply(w, r, pingReply{pongs}, err)
	}
}

type pingReply struct {
	Pings []Pong `json:"pings"`
}

type countReply struct {
	Count int `json:"count"`
}

type removalReply struct {
	Removed []Removal `json:"removed"`
}
