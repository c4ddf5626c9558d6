package admin

import (
	"context"
	"net/http"
)

// Reloaded says what a configuration that was read again has changed.
type Reloaded struct {
	Applied []string `json:"applied"` // keys that have changed and are in force
	Restart []string `json:"restart"` // keys that have changed and need a restart
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	reply, err := s.cfg.Reload(r.Context())
	if reply.Applied == nil {
		reply.Applied = []string{}
	}
	if reply.Restart == nil {
		reply.Restart = []string{}
	}
	s.reply(w, r, reply, err)
}

// Reload has the server read its configuration again.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	err = c.call(ctx, http.MethodPost, "/reload", nil, nil, &r)
	return r, err
}
