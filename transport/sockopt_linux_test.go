package transport

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sipway/sipway/sip"
)

// TestUserTimeout: accepted connections have the option of their listener.
func TestUserTimeout(t *testing.T) {
	l, r := newLayer(t, Config{})
	c := dialStream(t, listen(t, l, sip.TCP))
	write(t, c, request(sip.TCP, 1))
	f := expectSeq(t, r, 1).flow
	raw, err := l.flows.get(f.ID).sock.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		ms, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil || int64(ms) != userTimeout.Milliseconds() {
			t.Errorf("%d ms, %v", ms, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
