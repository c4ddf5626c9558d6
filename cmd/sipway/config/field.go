package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one key of the configuration: a value, a list of values, or a group of keys.
type field struct {
	key   string // full, "registrar.min_expires"
	name  string // last part
	doc   string
	value reflect.Value
}

// group reports whether the field is a group of keys.
func (f field) group() bool { return isGroup(f.value.Type()) }

// list reports whether the field is a list of values.
func (f field) list() bool { return f.value.Kind() == reflect.Slice }

// env returns the name of the environment variable that overrides the field.
func (f field) env() string {
	return "SIPWAY_" + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

func isGroup(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textUnmarshaler)
}

// fields returns the keys of a group in their order; v is the struct.
func fields(v reflect.Value, prefix string) []field {
	all := make([]field, 0, v.NumField())
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("yaml")
		all = append(all, field{key: prefix + name, name: name, doc: tag.Get("doc"), value: v.Field(i)})
	}
	return all
}

// leaves returns all keys that hold a value or a list.
func (c *Config) leaves() (all []field) {
	var walk func(v reflect.Value, prefix string)
	walk = func(v reflect.Value, prefix string) {
		for _, f := range fields(v, prefix) {
			if f.group() {
				walk(f.value, f.key+".")
			} else {
				all = append(all, f)
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
	return all
}

// set sets a key from the texts of a flag or an environment variable.
func (c *Config) set(key string, texts []string) error {
	for _, f := range c.leaves() {
		if f.key == key {
			return f.set(texts)
		}
	}
	return fmt.Errorf("no key %s", key)
}

func (f field) set(texts []string) error {
	if f.list() {
		list := reflect.MakeSlice(f.value.Type(), len(texts), len(texts))
		for i, text := range texts {
			if err := setScalar(list.Index(i), text); err != nil {
				return err
			}
		}
		f.value.Set(list)
		return nil
	}
	if len(texts) != 1 {
		return errors.New("expects one value")
	}
	return setScalar(f.value, texts[0])
}

// environment applies the variables that lookup knows. An empty one counts as absent. Variables
// that begin with SIPWAY_ and name no key are left alone: container platforms make some up
// (SIPWAY_SERVICE_HOST).
func (c *Config) environment(lookup func(string) (string, bool)) (errs []error) {
	for _, f := range c.leaves() {
		text, ok := lookup(f.env())
		if !ok || text == "" {
			continue
		}
		texts := []string{text}
		if f.list() {
			texts = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
		}
		if err := f.set(texts); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", f.env(), err))
		}
	}
	return errs
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
)

// setScalar reads a value. Its errors say what is expected.
func setScalar(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch {
	case v.Type() == durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q: expects a duration such as 90s or 1h", text)
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q: expects a whole number", text)
		}
		v.SetInt(int64(n))
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q: expects true or false", text)
		}
		v.SetBool(text == "true")
	case v.Kind() == reflect.String:
		v.SetString(text)
	default:
		panic("config: no way to read a " + v.Type().String())
	}
	return nil
}

// scalar is the inverse of setScalar.
func scalar(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic(err) // no marshaler of a configuration value fails
		}
		return string(text)
	}
	if v.Type() == durationType {
		return duration(time.Duration(v.Int()))
	}
	return fmt.Sprint(v.Interface())
}

// duration writes 1h and not 1h0m0s.
func duration(d time.Duration) string {
	s := d.String()
	if rest, ok := strings.CutSuffix(s, "m0s"); ok {
		s = rest + "m"
	}
	if rest, ok := strings.CutSuffix(s, "h0m"); ok {
		s = rest + "h"
	}
	return s
}

// texts returns a leaf's value or values as text.
func (f field) texts() []string {
	if !f.list() {
		return []string{scalar(f.value)}
	}
	texts := make([]string, f.value.Len())
	for i := range texts {
		texts[i] = scalar(f.value.Index(i))
	}
	return texts
}
