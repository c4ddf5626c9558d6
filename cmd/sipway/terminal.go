package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
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

// columns returns how wide the terminal behind w is, 0 where it is none or does not know.
func columns(w io.Writer) int {
	f, isTerminal := terminal(w)
	if !isTerminal {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// table writes aligned columns as rows come, in blocks, so that its memory does not depend on
// their number. Columns only grow from block to block. On a terminal, cells are cut so that a row is
// a line; elsewhere nothing is.
type table struct {
	w      io.Writer
	err    io.Writer
	empty  string // said on err if there is no row
	header []string
	bold   bool  // header, on a terminal
	widths []int // of the columns, as wide as their cells
	total  int   // width of a line, 0 for any
	rows   [][]string
	paint  string // escape sequence in front of the rows to come, if any; they are written one by one
	wrote  bool
}

// tableBlock is how many rows are aligned at a time.
const tableBlock = 1000

// newTable returns a table that is written to standard output.
func (a *app) newTable(empty string, header ...string) *table {
	return &table{w: a.out, err: a.err, empty: empty, header: header, bold: a.colored(a.out), total: columns(a.out), widths: make([]int, len(header))}
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
	widths := fit(t.widths, t.total)
	var b strings.Builder
	if !t.wrote {
		if t.bold {
			b.WriteString("\x1b[1m")
		}
		line(&b, t.header, widths)
		if t.bold {
			b.WriteString("\x1b[0m")
		}
		t.wrote = true
	}
	for _, r := range t.rows {
		b.WriteString(t.paint)
		line(&b, r, widths)
	}
	if t.paint != "" {
		b.WriteString("\x1b[0m")
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

// between is the space between two columns.
const between = 2

// least is the width that no column is cut below.
const least = 8

// fit takes from the widest columns what a line of that width has no room for.
func fit(widths []int, total int) []int {
	widths = slices.Clone(widths)
	need := between * (len(widths) - 1)
	for _, w := range widths {
		need += w
	}
	for ; total > 0 && need > total; need-- {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= least {
			break
		}
		widths[widest]--
	}
	return widths
}

func line(b *strings.Builder, cells []string, widths []int) {
	var row strings.Builder
	for i, c := range cells {
		n := utf8.RuneCountInString(c)
		if n > widths[i] {
			c, n = string([]rune(c)[:widths[i]-1])+"…", widths[i]
		}
		fmt.Fprintf(&row, "%s%*s", c, widths[i]-n+between, "")
	}
	b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
}

// printable replaces what could steer a terminal: names and contacts come from strangers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return '\ufffd'
		}
		return r
	}, s)
}
