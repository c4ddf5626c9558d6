package dsn_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipway/sipway/store/dsn"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ dsn, err string }{
		{"memory:", ""},
		{"sqlite:" + filepath.Join(dir, "a.db"), ""},
		{"sqlite:" + filepath.Join(dir, "odd ?#%41 name.db"), ""},
		{"sqlite:" + filepath.Join(dir, "none", "a.db"), "no such file or directory"},
		{"sqlite:", "names no file"},
		{"memory:x", "nothing can follow"},
		{"postgres://user:geheim@127.0.0.1:1/db", "connection refused"},
		{"postgres://user:geheim@127.0.0.1:1/db?connect_timeout=geheim", "can't be read"},
		{"postgres://user:geheim@127.0.0.1:1x/db", "can't be read"},
		{"postgresql://127.0.0.1:1/db?password=geheim", "connection refused"},
		{"postgre://user:geheim@host/db", "unknown scheme"},
		{"mysql:db", `unknown scheme "mysql": want "sqlite:PATH"`},
		{"sipway.db", "has no scheme"},
		{"", "has no scheme"},
	}
	for _, tt := range tests {
		t.Run(tt.dsn, func(t *testing.T) {
			s, err := dsn.Open(t.Context(), tt.dsn, dsn.Options{})
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("error %v tells the password", err)
			}
		})
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "odd ?#%41 name.db")); len(found) != 1 {
		t.Error("the path is not taken as it stands")
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"memory:":                              "memory:",
		"sqlite:a?password=b":                  "sqlite:a?password=b", // a file's name
		"postgres://u@h/d":                     "postgres://u@h/d",
		"postgres://u:geheim@h:1/d":            "postgres://u:xxxxx@h:1/d",
		"postgres://u@h/d?password=geheim&a=b": "postgres://u@h/d?password=xxxxx&a=b",
		"postgres://u:ge%heim@h/d":             "postgres://...",
		"postgres:u:geheim@h/d":                "...",
		"u:geheim@h/d":                         "...",
		"1:geheim@h/d":                         "...",
		"host=h password=ge:heim":              "...",
		"host=h password=geheim user=u":        "host=h password=xxxxx user=u",
		"host=h password = 'ge heim' user=u":   "host=h password = xxxxx user=u",
	} {
		if got := dsn.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	file := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	if st, err := dsn.Status(t.Context(), file); err == nil {
		t.Errorf("status of a file that is not there: %+v", st)
	}
	s, err := dsn.Open(t.Context(), file, dsn.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := dsn.Status(t.Context(), file); err != nil || st.Current != st.Target || st.Target == 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	for _, other := range []string{"memory:", "x", "postgres://user:geheim@127.0.0.1:1/db"} {
		if st, err := dsn.Status(t.Context(), other); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("status of %s: %+v, %v", other, st, err)
		}
	}
}
