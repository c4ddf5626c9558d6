package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sipway/sipway/store"
)

// errorReply is the body of every error below the JSON paths. The codes are fixed, the text
// is for people.
type errorReply struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

// failures are the errors that have a code of their own; all others are "failed".
var failures = []struct {
	err    error
	code   string
	status int
}{
	{store.ErrNotFound, "not_found", http.StatusNotFound},
	{store.ErrExists, "exists", http.StatusConflict},
	{store.ErrUnavailable, "unavailable", http.StatusServiceUnavailable},
	{context.DeadlineExceeded, "timeout", http.StatusGatewayTimeout},
}

const (
	codeBadRequest   = "bad_request"
	codeUnauthorized = "unauthorized"
	codeFailed       = "failed"
)

// reply answers with a value as JSON, or with the error.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	reply, status := errorReply{Error: err.Error(), Code: codeFailed}, http.StatusInternalServerError
	for _, f := range failures {
		if errors.Is(err, f.err) {
			reply.Code, status = f.code, f.status
			break
		}
	}
	if IsBadRequest(err) {
		reply.Code, status = codeBadRequest, http.StatusBadRequest
	}
	if status >= http.StatusInternalServerError {
		s.cfg.Logger.Warn("admin request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, status, reply)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // contacts are full of & and <
	// An error here is the end of the one who asked.
	_ = enc.Encode(v)
}

// decodeError is the inverse of fail: the error that the server had.
func decodeError(status int, body []byte) error {
	var reply errorReply
	if err := json.Unmarshal(body, &reply); err != nil || reply.Error == "" {
		return fmt.Errorf("the server answers %d %s", status, http.StatusText(status))
	}
	for _, f := range failures {
		if f.code == reply.Code {
			return described{reply.Error, f.err}
		}
	}
	err := errors.New(reply.Error)
	if reply.Code == codeBadRequest {
		return BadRequest(err)
	}
	return err
}

// parseBool reads a parameter that is true, false or absent.
func parseBool(name, value string) (bool, error) {
	switch value {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, BadRequest(fmt.Errorf("%s: expects true or false, not %q", name, value))
}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, line)
}
