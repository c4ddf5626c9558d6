package transport

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout is how long sent bytes may stay unacknowledged before the kernel breaks a
// connection. Its own limit is a quarter of an hour, in which calls to a phone that has lost
// its network would vanish.
const userTimeout = 30 * time.Second

// streamOptions sets the options of a listening or dialling socket; accepted ones inherit.
func streamOptions(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	}); e != nil {
		return e
	}
	return err
}
