package admin

import (
	"encoding/json"
	"net/http"
	"time"
)

// statusReply is the body of /status. Its names are fixed: scripts read them.
type statusReply struct {
	Status    string           `json:"status"` // "OK", or why it is not
	Version   string           `json:"version"`
	Started   time.Time        `json:"started"`
	Uptime    int64            `json:"uptime_seconds"`
	Domains   []string         `json:"domains"`
	Listeners []string         `json:"listeners"`
	Store     string           `json:"store,omitempty"`
	Counters  map[string]int64 `json:"counters"`

	CertificateExpires time.Time `json:"certificate_expires,omitzero"` // the first that ends
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	reply := statusReply{
		Status:  "OK",
		Version: s.cfg.Version,
		Started: s.started.UTC(),
		Uptime:  int64(time.Since(s.started).Seconds()),
	}
	if err := s.ready(); err != nil {
		reply.Status = err.Error()
	}
	if s.cfg.Status != nil {
		st := s.cfg.Status()
		reply.Domains, reply.Listeners, reply.Store, reply.Counters = st.Domains, st.Listeners, st.Store, st.Counters
		reply.CertificateExpires = st.CertificateExpires
	}
	body, err := json.MarshalIndent(reply, "", "  ")
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(body, '\n'))
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.ready(); err != nil {
		text(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	text(w, http.StatusOK, "OK")
}

func (s *Server) ready() error {
	if s.cfg.Ready == nil {
		return nil
	}
	return s.cfg.Ready()
}
