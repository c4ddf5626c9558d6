package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sipway/sipway/"

// allowed says which packages of ours a package may import: those named and what they
// stand for with "/..." behind. It is the drawing in docs/ARCHITECTURE.md.
var allowed = map[string][]string{
	"sip":             {},
	"sip/transaction": {"sip"},
	"sip/digest":      {"sip"},
	"sip/dialog":      {"sip"},
	"transport":       {"sip"},
	"transport/...":   {"sip", "transport/..."},
	"migrations":      {},
	"store":           {"sip"},
	"store/...":       {"sip", "store", "store/...", "migrations"},
	"limits":          {"sip"},
	"auth":            {"sip", "sip/transaction", "sip/digest", "store", "auth/token"},
	"auth/token":      {"sip"},
	"registrar":       {"sip", "sip/transaction", "store", "auth"},
	"proxy":           {"sip", "sip/transaction", "sip/dialog", "store", "auth"},
	"media":           {},
	"admin":           {"sip", "sip/digest", "store"},
	"cmd/...":         {"..."},
	"bench/...":       {"bench/...", "sip", "sip/digest"},
	"bench/server":    {"bench/...", "sip", "sip/digest", "store/postgres/pgtest"},
	"bench/store":     {"sip", "store", "store/..."},
	"interop":         {"store/postgres/pgtest"},
	"docs/...":        {},
	"vuln":            {},
}

// pure packages import nothing but the standard library, and of that no sockets, no SQL.
var pure = []string{"sip", "sip/transaction", "sip/digest", "sip/dialog"}

func TestLayers(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		checkImports(t, strings.TrimPrefix(p.ImportPath, module), p.Imports)
	}
	if seen < len(pure) {
		t.Fatalf("only %d packages were looked at", seen)
	}
}

func checkImports(t *testing.T, pkg string, imports []string) {
	may, known := allowed[pkg]
	if !known {
		may, known = allowed[wildcard(pkg)]
	}
	if !known {
		t.Errorf("package %s has no place in the layers: give it one in docs/ARCHITECTURE.md and here", pkg)
	}
	for _, path := range imports {
		own, isOwn := strings.CutPrefix(path, module)
		switch {
		case isOwn && !slices.Contains(may, own) && !slices.Contains(may, wildcard(own)) && !slices.Contains(may, "..."):
			t.Errorf("%s imports %s, which is not below it", pkg, own)
		case isOwn || !slices.Contains(pure, pkg):
		case strings.Contains(path, "."):
			t.Errorf("%s imports %s: it keeps to the standard library", pkg, path)
		case path == "net" || path == "database/sql" || path == "os":
			t.Errorf("%s imports %s: it is pure protocol", pkg, path)
		}
	}
}

func wildcard(pkg string) string {
	top, _, _ := strings.Cut(pkg, "/")
	return top + "/..."
}
