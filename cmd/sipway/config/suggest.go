package config

import (
	"slices"
	"strings"
)

// planned are keys of sipway's configuration that this version does not have.
var planned = []string{"routes", "pools", "cluster", "media", "limits.enabled"}

// unknown says what is wrong with a key that does not exist, and which one may have been meant:
// the nearest of the same group, or else of all.
func unknown(prefix, name string) string {
	if slices.Contains(planned, prefix+name) {
		return "is not in this version"
	}
	best, bestDistance := "", 0
	consider := func(key, part string) {
		d := distance(name, part)
		if d <= max(1, len(name)/3) && (best == "" || d < bestDistance) {
			best, bestDistance = key, d
		}
	}
	all := Default().keys()
	for _, key := range all {
		if rest, ok := strings.CutPrefix(key, prefix); ok && !strings.Contains(rest, ".") {
			consider(key, rest)
		}
	}
	if best == "" {
		for _, key := range all {
			consider(key, key[strings.LastIndexByte(key, '.')+1:])
		}
	}
	if best == "" {
		return "unknown key"
	}
	return "unknown key, did you mean " + best + "?"
}

// keys returns all keys, groups too.
func (c *Config) keys() (all []string) {
	for _, f := range c.leaves() {
		if group, _, ok := strings.Cut(f.key, "."); ok && !slices.Contains(all, group) {
			all = append(all, group)
		}
		all = append(all, f.key)
	}
	return all
}

// distance is the number of characters to insert, delete, replace or swap with their neighbour
// to make a into b.
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, prev, row = prev, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j]+cost, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

func trimDot(prefix string) string { return strings.TrimSuffix(prefix, ".") }
