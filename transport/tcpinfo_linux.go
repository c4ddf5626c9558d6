package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

// acknowledged reports whether the peer's kernel has confirmed all that was written. It is
// true where that can't be known.
func (s *socket) acknowledged() bool {
	if s.raw == nil {
		return true
	}
	waiting := 0
	var err error
	if s.raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil || err != nil {
		return true
	}
	return waiting == 0 && s.flushed()
}

// roundTrip is the kernel's estimate of the round trip to whoever the connection ends at, 0
// where it has none.
func (s *socket) roundTrip() (rtt time.Duration) {
	if s.raw == nil {
		return 0
	}
	// An error is that of a connection that has just been closed.
	_ = s.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			rtt = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return rtt
}
