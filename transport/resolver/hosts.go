package resolver

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// checkInterval is how often a file is looked at for changes, at most.
const checkInterval = 5 * time.Second

// file knows whether a file has changed. It is not safe for concurrent use.
type file struct {
	path    string
	checked time.Time
	mtime   time.Time
	size    int64
}

// changed reports whether the file is to be read: the first time, and when it is another
// one than before.
func (f *file) changed() bool {
	now := time.Now()
	first := f.checked.IsZero()
	if !first && now.Sub(f.checked) < checkInterval {
		return false
	}
	f.checked = now
	var mtime time.Time
	var size int64
	if info, err := os.Stat(f.path); err == nil {
		mtime, size = info.ModTime(), info.Size()
	}
	same := mtime.Equal(f.mtime) && size == f.size
	f.mtime, f.size = mtime, size
	return first || !same
}

// hosts is the hosts file.
type hosts struct {
	mu    sync.Mutex
	file  file
	addrs map[string][]netip.Addr // by canonical name
}

func newHosts(path string) *hosts { return &hosts{file: file{path: path}} }

// lookup returns the addresses of a canonical name, which must not be modified, and whether
// the file has it: one may be there with 0.0.0.0 alone, so as to have none.
func (h *hosts) lookup(name string) (addrs []netip.Addr, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file.changed() {
		h.read()
	}
	addrs, ok = h.addrs[name]
	return addrs, ok
}

// read reads the file. Lines that are none are passed over, and a file that can't be read
// says nothing, as everywhere.
func (h *hosts) read() {
	h.addrs = make(map[string][]netip.Addr)
	f, err := os.Open(h.file.path)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = canonical(name)
			if addrs := h.addrs[name]; addr.IsUnspecified() {
				h.addrs[name] = addrs
			} else {
				h.addrs[name] = append(addrs, addr.Unmap())
			}
		}
	}
}
