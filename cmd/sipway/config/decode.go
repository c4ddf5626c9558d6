package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder reads a YAML document into a Config and gathers what is wrong with it.
type decoder struct {
	file string
	errs []error
}

// decode reads the file's text over the values that c has.
func (c *Config) decode(file string, text []byte) []error {
	d := &decoder{file: file}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil // an empty file says nothing
	case err != nil && strings.Contains(err.Error(), "unknown anchor"):
		// YAML's own message has the value in it, which may be a password.
		return []error{fmt.Errorf("%s: a value that begins with * needs quotes", file)}
	case err != nil:
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return []error{fmt.Errorf("%s: expects one YAML document", file)}
	}
	if root := doc.Content[0]; root.Tag != "!!null" { // nothing but comments
		d.group(root, reflect.ValueOf(c).Elem(), "")
	}
	return d.errs
}

func (d *decoder) fail(n *yaml.Node, key, format string, args ...any) {
	if key != "" {
		key += ": "
	}
	d.errs = append(d.errs, fmt.Errorf("%s:%d: %s%s", d.file, n.Line, key, fmt.Sprintf(format, args...)))
}

// group reads a mapping into a struct.
func (d *decoder) group(n *yaml.Node, v reflect.Value, prefix string) {
	all := fields(v, prefix)
	if n.Kind != yaml.MappingNode {
		have := kind(n)
		if n.Kind == yaml.ScalarNode {
			have = "one value" // which may be meant as that of a secret below it
		}
		d.fail(n, trimDot(prefix), "expects keys below it, not %s", have)
		return
	}
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key, val := n.Content[i], resolve(n.Content[i+1])
		if first, ok := lines[key.Value]; ok {
			d.fail(key, prefix+key.Value, "is on line %d already", first)
			continue
		}
		lines[key.Value] = key.Line
		at := slices.IndexFunc(all, func(f field) bool { return f.name == key.Value })
		if at < 0 {
			d.fail(key, prefix+key.Value, "%s", unknown(prefix, key.Value))
			continue
		}
		d.field(val, all[at])
	}
}

// field reads one key's value.
func (d *decoder) field(n *yaml.Node, f field) {
	switch {
	case n.Tag == "!!null":
		d.fail(n, f.key, "has no value")
	case f.group():
		d.group(n, f.value, f.key+".")
	case f.list():
		d.list(n, f)
	case n.Kind != yaml.ScalarNode:
		d.fail(n, f.key, "expects one value, not %s", kind(n))
	default:
		if err := setScalar(f.value, n.Value); err != nil {
			d.fail(n, f.key, "%v", err)
		}
	}
}

func (d *decoder) list(n *yaml.Node, f field) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, f.key, "expects a list such as [a, b], not %s", kind(n))
		return
	}
	list := reflect.MakeSlice(f.value.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			d.fail(item, f.key, "expects a list of values, not of %s", kind(item))
			continue
		}
		if err := setScalar(list.Index(i), item.Value); err != nil {
			d.fail(item, f.key, "%v", err)
		}
	}
	f.value.Set(list)
}

// resolve follows an alias. It can't lead round in a circle for longer than there are levels of
// keys, because each level is read by its type.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}
