package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sipway/sipway/cmd/sipway/config"
)

// The README has the reference of the configuration as `sipway config reference` prints it.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), strings.TrimSpace(config.Reference())) {
		t.Error("README.md: the table under Configuration is not what `sipway config reference` prints")
	}
}

// readmeMetrics returns the metrics that the README lists, sorted.
func readmeMetrics(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(readme)) {
		if rest, ok := strings.CutPrefix(line, "| `sipway_"); ok {
			name, _, _ := strings.Cut(rest, "`")
			name, _, _ = strings.Cut(name, "{")
			names = append(names, "sipway_"+name)
		}
	}
	slices.Sort(names)
	return names
}
