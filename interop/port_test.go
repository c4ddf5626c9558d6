package interop

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Ports are given out below the range that the kernel takes for outgoing
// connections (32768 and up on Linux), where one that was free a moment ago may
// be the local end of anything.
const (
	firstPort = 12000
	lastPort  = 31999
)

// portsGiven counts the ports tried by this process; where it begins differs
// between processes, so that two test runs on one machine rarely meet.
var portsGiven atomic.Uint32

// freePort returns an address of loopback that nothing uses now, over UDP or
// TCP: some phones want both.
func freePort(t *testing.T) string {
	t.Helper()
	const ports = lastPort - firstPort + 1
	for range ports {
		n := portsGiven.Add(1) + uint32(os.Getpid())*61
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+n%ports)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", addr)
		l.Close()
		if err != nil {
			continue
		}
		c.Close()
		return addr
	}
	t.Fatal("no free port")
	return ""
}
