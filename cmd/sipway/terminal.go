package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal returns the file behind r or w if it is a terminal.
func terminal(rw any) (*os.File, bool) {
	f, ok := rw.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// colored reports whether text for w may have colour: on a terminal of somebody who did not ask for
// none (no-color.org).
func (a *app) colored(w io.Writer) bool {
	_, isTerminal := terminal(w)
	noColor, _ := a.env("NO_COLOR")
	return isTerminal && noColor == ""
}

// table writes aligned columns as rows come, in blocks, so that its memory does not depend on
// their number. Columns only grow from block to block.
type table struct {
	w      io.Writer
	err    io.Writer
	empty  string // said on err if there is no row
	header []string
	bold   bool // header, on a terminal
	widths []int
	rows   [][]string
	wrote  bool
}

// tableBlock is how many rows are aligned at a time.
const tableBlock = 1000

// newTable returns a table that is written to standard output.
func (a *app) newTable(empty string, header ...string) *table {
	return &table{w: a.out, err: a.err, empty: empty, header: header, bold: a.colored(a.out), widths: make([]int, len(header))}
}

// row adds a row.
func (t *table) row(cells ...string) error {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.rows = append(t.rows, cells)
	if len(t.rows) < tableBlock {
		return nil
	}
	return t.flush()
}

// end writes what is left.
func (t *table) end() error {
	if len(t.rows) == 0 && !t.wrote {
		_, err := fmt.Fprintln(t.err, t.empty)
		return err
	}
	return t.flush()
}

// flush writes the rows that wait, and the header before the first.
func (t *table) flush() error {
	if len(t.rows) == 0 {
		return nil
	}
	if !t.wrote {
		t.measure(t.header)
	}
	for _, r := range t.rows {
		t.measure(r)
	}
	var b strings.Builder
	if !t.wrote {
		if t.bold {
			b.WriteString("\x1b[1m")
		}
		t.line(&b, t.header)
		if t.bold {
			b.WriteString("\x1b[0m")
		}
		t.wrote = true
	}
	for _, r := range t.rows {
		t.line(&b, r)
	}
	t.rows = t.rows[:0]
	_, err := io.WriteString(t.w, b.String())
	return err
}

func (t *table) measure(cells []string) {
	for i, c := range cells {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c))
	}
}

func (t *table) line(b *strings.Builder, cells []string) {
	for i, c := range cells {
		b.WriteString(c)
		if i < len(cells)-1 {
			fmt.Fprintf(b, "%*s", t.widths[i]-utf8.RuneCountInString(c)+2, "")
		}
	}
	b.WriteByte('\n')
}

// printable replaces what could steer a terminal: names and contacts come from strangers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '\ufffd'
		}
		return r
	}, s)
}
