package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// standard is what govulncheck calls the module of the standard library.
const standard = "stdlib"

// message is one of the stream that govulncheck writes; one field of it is set.
type message struct {
	Config *struct {
		ScanLevel string `json:"scan_level"`
	}
	OSV *struct {
		ID, Summary string
	}
	Finding *finding
}

// finding is a vulnerability of a module that is linked in.
type finding struct {
	OSV   string
	Fixed string `json:"fixed_version"`
	// Trace leads from what is vulnerable, a function where ours gets that far, to our code.
	Trace []frame
}

type frame struct {
	Module, Version, Package, Function, Receiver string
	Position                                     *struct {
		Filename string
		Line     int
	}
}

// called reports whether a function that is vulnerable can be reached.
func (f *finding) called() bool { return f.Trace[0].Function != "" }

// report is what was found, each vulnerability of a module once.
type report struct {
	summaries map[string]string
	findings  map[string]*finding
}

// read reads govulncheck's stream. One of a scan that looked at no calls is an error.
func read(in io.Reader) (*report, error) {
	r := &report{summaries: make(map[string]string), findings: make(map[string]*finding)}
	complete := false
	for d := json.NewDecoder(in); ; {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if m.Config != nil {
			complete = m.Config.ScanLevel == "symbol"
		}
		if m.OSV != nil {
			r.summaries[m.OSV.ID] = m.OSV.Summary
		}
		if f := m.Finding; f != nil {
			if len(f.Trace) == 0 {
				return nil, fmt.Errorf("%s has no trace", f.OSV)
			}
			r.add(f)
		}
	}
	if !complete {
		return nil, errors.New("it did not look at what is called")
	}
	return r, nil
}

// add keeps of several findings one that is called, by the shortest way.
func (r *report) add(f *finding) {
	key := f.OSV + " " + f.Trace[0].Module
	have := r.findings[key]
	switch {
	case have == nil, f.called() && !have.called(), f.called() && len(f.Trace) < len(have.Trace):
		r.findings[key] = f
	}
}

// write tells of what was found. What our code calls of a module is an error.
func (r *report) write(out io.Writer) error {
	failed, silent := 0, 0
	for _, key := range slices.Sorted(maps.Keys(r.findings)) {
		f := r.findings[key]
		if !f.called() {
			silent++
			continue
		}
		level := "warning"
		if f.Trace[0].Module != standard {
			level = "error"
			failed++
		}
		fmt.Fprintf(out, "%s: %s in %s\n  %s\n  %s\n", level, f.OSV, f.where(), r.summaries[f.OSV], f.way())
	}
	if silent > 0 {
		fmt.Fprintf(out, "%d more in what is linked in, which nothing calls\n", silent)
	}
	if failed > 0 {
		return fmt.Errorf("our code calls %d functions with known vulnerabilities: update the modules", failed)
	}
	return nil
}

// where names the module with the version in use and the one without the fault.
func (f *finding) where() string {
	m := f.Trace[0]
	fixed := "not fixed yet"
	if f.Fixed != "" {
		fixed = "fixed in " + f.Fixed
	}
	if m.Module == standard {
		return fmt.Sprintf("Go's standard library %s, %s", m.Version, fixed)
	}
	return fmt.Sprintf("%s %s, %s", m.Module, m.Version, fixed)
}

// way says where our code starts on the way to the function.
func (f *finding) way() string {
	ours, first := f.Trace[len(f.Trace)-1], f.Trace[0]
	at := ""
	if p := ours.Position; p != nil {
		at = fmt.Sprintf("%s:%d: ", p.Filename, p.Line)
	}
	return at + ours.name() + " leads to " + first.name()
}

func (f *frame) name() string {
	receiver := strings.TrimPrefix(f.Receiver, "*")
	if receiver != "" {
		receiver += "."
	}
	return cmp.Or(f.Package, f.Module) + "." + receiver + f.Function
}
