package main

import (
	"os"
	"slices"
	"testing"
)

// Every rule is obeyed and proved somewhere, and README.md says where.
func TestRules(t *testing.T) {
	found, err := collect("../..")
	if err != nil {
		t.Fatal(err)
	}
	rows, missing := table(found)
	if len(missing) > 0 {
		t.Errorf("not obeyed or not proved: %q", missing)
	}
	text, err := os.ReadFile("../../" + readme)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := insert(string(text), rows); err != nil || want != string(text) {
		t.Errorf("the table of rules is not what the comments say (%v): run make rules", err)
	}
}

func TestCite(t *testing.T) {
	for _, tc := range []struct {
		line, section string
		want          []key
	}{
		{"// x (RFC 3261 §16.7 step 5) y", "", []key{{"16.7", 5}}},
		{"// RFC 3261 §16.7, steps 1 to 3", "", []key{{"16.7", 1}, {"16.7", 2}, {"16.7", 3}}},
		{"// RFC 3261 §16.6 steps 10 and 11.", "", []key{{"16.6", 10}, {"16.6", 11}}},
		{"// RFC 3261 §16.8, RFC 3261 §16.10", "", []key{{"16.8", 0}, {"16.10", 0}}},
		{"m.PushVia(v) // step 8", "16.6", []key{{"16.6", 8}}},
		{"m.PushVia(v) // step 8", "", nil},
		{"// RFC 3261 §17.1", "", nil},
	} {
		if got, _ := cite(tc.line, tc.section); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %v, want %v", tc.line, got, tc.want)
		}
	}
}

func TestInsert(t *testing.T) {
	old := "a\n" + begin + "old\n" + end + "b\n"
	if got, err := insert(old, "new\n"); err != nil || got != "a\n"+begin+"new\n"+end+"b\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", begin + "a", "a" + end} {
		if got, err := insert(bad, "new\n"); err == nil {
			t.Errorf("%q has a place for the table: %q", bad, got)
		}
	}
}
