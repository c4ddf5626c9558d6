package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// printer writes items to standard output.
type printer[T any] struct {
	print func(*T) error
	end   func() error // after the last
}

// newPrinter returns a printer of JSON, a line for each item, or of a table.
func newPrinter[T any](a *app, asJSON bool, t *table, row func(*T) []string) printer[T] {
	if asJSON {
		enc := a.jsonLines()
		return printer[T]{func(item *T) error { return enc.Encode(item) }, func() error { return nil }}
	}
	return printer[T]{func(item *T) error { return t.row(row(item)...) }, t.end}
}

// all prints these items.
func (p printer[T]) all(items []T) error {
	for i := range items {
		if err := p.print(&items[i]); err != nil {
			return err
		}
	}
	return p.end()
}

// page is how many items are taken from the store at a time.
const page = 1000

// paging is a list that is taken a page at a time.
type paging[T any] struct {
	after string // begins behind this place
	limit int    // ends with so many; 0: none
	size  int    // of a page
	// next returns up to n items behind a place, and the place of the last if there are more.
	next func(after string, n int) (items []T, rest string, err error)
}

// list prints a list, and tells a person how to go on where there are more.
func (p printer[T]) list(a *app, l paging[T]) error {
	rest, err := l.walk(p.print)
	if err != nil {
		return err
	}
	if err := p.end(); err != nil || rest == "" {
		return err
	}
	_, err = fmt.Fprintf(a.err, "there are more: --after '%s'\n", strings.ReplaceAll(printable(rest), "'", `'\''`))
	return err
}

// walk hands the items to visit. It returns the place of the last if there are more.
func (l paging[T]) walk(visit func(*T) error) (rest string, err error) {
	for after, left := l.after, l.limit; ; after = rest {
		n := l.size
		if l.limit > 0 {
			n = min(n, left)
		}
		var items []T
		if items, rest, err = l.next(after, n); err != nil {
			return "", err
		}
		for i := range items {
			if err := visit(&items[i]); err != nil {
				return "", err
			}
		}
		left -= len(items)
		if rest == "" || l.limit > 0 && left <= 0 {
			return rest, nil
		}
	}
}

func (a *app) printCount(n int, asJSON bool) error {
	if asJSON {
		return a.jsonLines().Encode(map[string]int{"count": n})
	}
	_, err := fmt.Fprintln(a.out, n)
	return err
}

// jsonLines writes values to standard output, a line each.
func (a *app) jsonLines() *json.Encoder {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false) // contacts are full of & and <
	return enc
}
