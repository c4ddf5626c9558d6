package main

import (
	"strings"
	"testing"
)

const (
	config   = `{"config": {"scan_level": "symbol"}} {"progress": {"message": "Scanning"}}`
	called   = `{"osv": {"id": "GO-1", "summary": "a flood"}} {"finding": {"osv": "GO-1", "fixed_version": "v1.3.0", "trace": [{"module": "a.test/b", "version": "v1.2.0"}]}} {"finding": {"osv": "GO-1", "fixed_version": "v1.3.0", "trace": [{"module": "a.test/b", "version": "v1.2.0", "package": "a.test/b/c", "function": "Read", "receiver": "*Reader"}, {"module": "x", "package": "x/y", "function": "Z"}, {"module": "x", "package": "x/proxy", "function": "Serve", "position": {"filename": "proxy/serve.go", "line": 7}}]}}`
	shorter  = `{"finding": {"osv": "GO-1", "trace": [{"module": "a.test/b", "version": "v1.2.0", "package": "a.test/b/c", "function": "Read"}, {"module": "x", "package": "x/sip", "function": "Parse"}]}}`
	imported = `{"osv": {"id": "GO-2", "summary": "a leak"}} {"finding": {"osv": "GO-2", "trace": [{"module": "a.test/b", "version": "v1.2.0", "package": "a.test/b/c"}]}}`
	library  = `{"osv": {"id": "GO-3", "summary": "a loop"}} {"finding": {"osv": "GO-3", "fixed_version": "v1.26.9", "trace": [{"module": "stdlib", "version": "v1.26.8", "package": "net/http", "function": "Get"}, {"module": "x", "package": "x/admin", "function": "Ask", "position": {"filename": "admin/ask.go", "line": 3}}]}}`
)

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		fails    bool
		says     string
	}{
		{"nothing", config, false, ""},
		{"called", config + called, true,
			"error: GO-1 in a.test/b v1.2.0, fixed in v1.3.0\n  a flood\n  proxy/serve.go:7: x/proxy.Serve leads to a.test/b/c.Reader.Read\n"},
		{"called by two ways", config + called + shorter, true,
			"error: GO-1 in a.test/b v1.2.0, not fixed yet\n  a flood\n  x/sip.Parse leads to a.test/b/c.Read\n"},
		{"not called", config + imported, false, "1 more in what is linked in, which nothing calls\n"},
		{"the standard library", config + library, false,
			"warning: GO-3 in Go's standard library v1.26.8, fixed in v1.26.9\n  a loop\n  admin/ask.go:3: x/admin.Ask leads to net/http.Get\n"},
		{"all of them", config + library + imported + called, true, "error: GO-1"},
	} {
		r, err := read(strings.NewReader(tt.in))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var b strings.Builder
		if err := r.write(&b); err != nil != tt.fails || !strings.HasPrefix(b.String(), tt.says) {
			t.Errorf("%s: %v, and\n%s", tt.name, err, &b)
		}
	}
}

// A stream that proves nothing is no clean bill of health.
func TestReadSeesFaults(t *testing.T) {
	for name, in := range map[string]string{
		"empty":           "",
		"packages alone":  `{"config": {"scan_level": "package"}}`,
		"cut off":         config + `{"finding": {"osv": `,
		"no trace":        config + `{"finding": {"osv": "GO-1", "trace": []}}`,
		"no JSON at all":  "govulncheck: no go.mod",
		"a finding alone": called,
	} {
		if _, err := read(strings.NewReader(in)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
