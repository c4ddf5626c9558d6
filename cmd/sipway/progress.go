package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress shows how far an import is: a bar that is drawn over itself on a terminal, and a plain
// line now and then elsewhere. An import that takes less than the first interval shows nothing.
type progress struct {
	w     io.Writer
	bar   bool
	size  int64 // bytes to read, 0 if not known
	read  int64
	every time.Duration
	last  time.Time // when it was shown last, or begun
	drawn bool
}

func newProgress(w io.Writer, size int64) *progress {
	_, isTerminal := terminal(w)
	p := &progress{w: w, bar: isTerminal, size: size, every: 5 * time.Second, last: time.Now()}
	if p.bar {
		p.every = 200 * time.Millisecond
	}
	return p
}

// reader counts what is read from in.
func (p *progress) reader(in io.Reader) io.Reader { return &countingReader{in, p} }

type countingReader struct {
	in io.Reader
	p  *progress
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.in.Read(b)
	r.p.read += int64(n)
	return n, err
}

// show says that so many users were read, if it is time to.
func (p *progress) show(users int) {
	if time.Since(p.last) < p.every {
		return
	}
	p.last = time.Now()
	share := ""
	if p.size > 0 {
		share = fmt.Sprintf("%3d%%  ", 100*p.read/p.size)
	}
	if !p.bar {
		fmt.Fprintf(p.w, "importing  %s%d users read\n", share, users)
		return
	}
	p.drawn = true
	if p.size > 0 {
		const width = 30
		full := int(width * p.read / p.size)
		share = "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] " + share
	}
	fmt.Fprintf(p.w, "\r\x1b[Kimporting  %s%d users read", share, users)
}

// end takes the bar away.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
