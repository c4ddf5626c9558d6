package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML returns the effective values as a configuration file, each with its documentation.
func (c *Config) YAML() ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(groupNode(reflect.ValueOf(c).Elem(), "")); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

func groupNode(v reflect.Value, prefix string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields(v, prefix) {
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: f.name, HeadComment: f.doc}
		var val *yaml.Node
		switch {
		case f.group():
			val = groupNode(f.value, f.key+".")
		case f.list():
			val = &yaml.Node{Kind: yaml.SequenceNode}
			if f.value.Len() == 0 {
				val.Style = yaml.FlowStyle
			}
			for _, text := range f.texts() {
				val.Content = append(val.Content, scalarNode(text, f.value.Type().Elem()))
			}
		default:
			val = scalarNode(scalar(f.value), f.value.Type())
		}
		n.Content = append(n.Content, key, val)
	}
	return n
}

func scalarNode(text string, t reflect.Type) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if t.Kind() != reflect.Int || t.Name() != "int" {
		n.Tag = "!!str"
	}
	return n
}

// MarshalJSON returns the effective values with the keys of the file, as texts where the file has
// texts.
func (c *Config) MarshalJSON() ([]byte, error) {
	return json.Marshal(groupMap(reflect.ValueOf(c).Elem(), ""))
}

func groupMap(v reflect.Value, prefix string) map[string]any {
	m := map[string]any{}
	for _, f := range fields(v, prefix) {
		switch {
		case f.group():
			m[f.name] = groupMap(f.value, f.key+".")
		case f.list():
			m[f.name] = f.texts()
		case f.value.Type() == reflect.TypeFor[int]():
			m[f.name] = f.value.Int()
		default:
			m[f.name] = scalar(f.value)
		}
	}
	return m
}

// Reference returns a Markdown table of all keys with their defaults and environment variables.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | default | meaning | environment |\n|---|---|---|---|\n")
	for _, f := range Default().leaves() {
		texts := f.texts()
		value := strings.Join(texts, ", ")
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", f.key, value, strings.ReplaceAll(f.doc, "|", "\\|"), f.env())
	}
	return b.String()
}
