package sip_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sample is a message of testdata.
type sample struct {
	name string
	raw  []byte
	head map[string]string // of a torture message
}

// readMessages returns the messages of testdata/messages.
func readMessages(tb testing.TB) (samples []sample) {
	tb.Helper()
	for _, path := range glob(tb, "messages") {
		raw, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		samples = append(samples, sample{name: nameOf(path), raw: raw})
	}
	return samples
}

// readTorture returns the messages of testdata/torture; its README describes the format.
func readTorture(tb testing.TB) (samples []sample) {
	tb.Helper()
	for _, path := range glob(tb, "torture") {
		file, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		head, raw, ok := bytes.Cut(file, []byte("\n\n"))
		if !ok {
			tb.Fatalf("%s: no empty line behind the head", path)
		}
		s := sample{name: nameOf(path), raw: raw, head: map[string]string{}}
		for line := range strings.Lines(string(head)) {
			name, value, _ := strings.Cut(line, ": ")
			s.head[name] = strings.TrimSuffix(value, "\n")
		}
		samples = append(samples, s)
	}
	return samples
}

// readAll returns both, for whom it does not matter what is right with a message.
func readAll(tb testing.TB) []sample {
	return append(readMessages(tb), readTorture(tb)...)
}

func glob(tb testing.TB, folder string) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", folder, "*.sip"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no messages in testdata/%s: %v", folder, err)
	}
	return paths
}

// deepEqual compares values of one type.
func deepEqual[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

func nameOf(path string) string { return strings.TrimSuffix(filepath.Base(path), ".sip") }
