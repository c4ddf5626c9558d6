// Vuln looks for known vulnerabilities in what is linked in, by govulncheck, and fails where our
// code calls one of a module. Those of Go's standard library it only tells of: the toolchain is
// the machine's, and no change of ours mends it.
//
//	go run ./vuln
//
// The database comes as the Go module in which it is published, golang.org/x/vulndb at its
// latest, so that it is there wherever modules are. Where it can't be had, that is a failure.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

const database = "golang.org/x/vulndb"

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	dir, err := os.MkdirTemp("", "sipway-vuln-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	version, err := index(dir)
	if err != nil {
		return fmt.Errorf("the database of vulnerabilities can't be had, so nothing is known: %w", err)
	}
	found, err := command("tool", "govulncheck", "-db", "file://"+filepath.ToSlash(dir), "-format", "json", "./...")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "known vulnerabilities by %s\n", version)
	report, err := read(bytes.NewReader(found))
	if err != nil {
		return fmt.Errorf("govulncheck: %w", err)
	}
	return report.write(out)
}

// index fetches the database and writes its index, as govulncheck reads it, to dir.
func index(dir string) (version string, err error) {
	text, err := command("mod", "download", "-json", database+"@latest")
	if err != nil {
		return "", errors.Join(err, errors.New(failure(text)))
	}
	var module struct{ Version, Dir string }
	if err := json.Unmarshal(text, &module); err != nil {
		return "", err
	}
	entries := filepath.Join(module.Dir, "data", "osv")
	if _, err := command("run", database+"/cmd/indexdb@"+module.Version, "-vulns", entries, "-out", dir); err != nil {
		return "", err
	}
	// An index of nothing would let everything pass.
	indexed, err := filepath.Glob(filepath.Join(dir, "ID", "GO-*.json"))
	if err == nil && len(indexed) < 1000 {
		err = fmt.Errorf("%s %s has %d entries, too few to be all", database, module.Version, len(indexed))
	}
	return database + " " + module.Version, err
}

// failure is what go mod download says in its JSON.
func failure(text []byte) string {
	var result struct{ Error string }
	if json.Unmarshal(text, &result) != nil {
		return ""
	}
	return result.Error
}

// command runs the go command and returns its output.
func command(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("go %s %s: %w\n%s", args[0], args[1], err, bytes.TrimSpace(messages.Bytes()))
	}
	return out, err
}
