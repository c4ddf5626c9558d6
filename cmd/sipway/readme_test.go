package main

import (
	"os"
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
