package admin

import (
	"net/http"
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
}

type countReply struct {
	Count int `json:"count"`
}

type removalReply struct {
	Removed []Removal `json:"removed"`
}
