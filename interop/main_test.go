package interop

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/sipway/sipway/store/postgres/pgtest"
)

// patience bounds every wait for an event. It is far above what any event
// takes, because the race detector and a busy machine of two cores slow
// everything down; a test that waits this long has failed.
const patience = 30 * time.Second

// binary is the sipway under test, set by TestMain.
var binary string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	// What sipgo warns of is not what is tested.
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
	dir, err := os.MkdirTemp("", "sipway-interop-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if binary, err = build(dir); err != nil {
		return 0, err
	}
	defer func() {
		if cerr := closeBrowser(); cerr != nil && err == nil {
			err = cerr
		}
	}()
	return pgtest.Main(m), nil
}

// build compiles the server with the race detector: a data race under real
// traffic ends up in its log, which every test's server is checked for.
func build(dir string) (string, error) {
	if given := os.Getenv("SIPWAY_BINARY"); given != "" {
		return given, nil
	}
	out := filepath.Join(dir, "sipway")
	cmd := exec.Command("go", "build", "-race", "-o", out, "../cmd/sipway")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build -race ./cmd/sipway: %w\n%s", err, text)
	}
	return out, nil
}
