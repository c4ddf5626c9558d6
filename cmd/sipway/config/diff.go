package config

import (
	"reflect"
	"slices"
)

// Diff returns the keys whose values differ, in the order of the reference. Secrets differ, too,
// whose texts are the same.
func Diff(a, b *Config) (keys []string) {
	others := b.leaves()
	for i, f := range a.leaves() {
		if !slices.Equal(f.texts(), others[i].texts()) || !f.list() && f.value.Interface() != others[i].value.Interface() {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// With returns a copy of c that has the values of other for the keys that are to be taken.
func (c *Config) With(other *Config, take func(key string) bool) *Config {
	next := *c
	values := other.leaves()
	for i, f := range next.leaves() {
		if take(f.key) {
			f.value.Set(reflect.ValueOf(values[i].value.Interface()))
		}
	}
	return &next
}
