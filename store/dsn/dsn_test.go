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
		{"postgres://user:geheim@host/db", "this version has no PostgreSQL"},
		{"postgresql://host/db", "this version has no PostgreSQL"},
		{"mysql:db", `unknown scheme "mysql": want "sqlite:PATH"`},
		{"sipway.db", "has no scheme"},
		{"", "has no scheme"},
	}
	for _, tt := range tests {
		t.Run(tt.dsn, func(t *testing.T) {
			s, err := dsn.Open(t.Context(), tt.dsn)
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
