package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/sipway/sipway/sip"
)

// idleServerEnv makes the test binary a server whose memory is measured, so that the
// clients' does not count: "sipway", or "plain" for the usual server on coder/websocket.
const idleServerEnv = "SIPWAY_TRANSPORT_IDLE_SERVER"

// maxIdleBytes is what an idle WebSocket client may cost, in bytes of process memory.
const maxIdleBytes = 12 << 10

// memory is what a process uses, in bytes. Raw is the resident memory as it was found, with
// what the collector has not yet given back; the others were read after it had.
type memory struct{ Raw, Resident, Heap, Stack int }

// TestIdleWSMemory connects idle clients, each of which has sent a request and got its
// answer, and measures what one costs the server.
func TestIdleWSMemory(t *testing.T) {
	const clients = 500
	m := idleMemory(t, "sipway", clients)
	// The race detector's shadow memory is resident too; heap and stacks are without it.
	if m.Heap+m.Stack > maxIdleBytes || m.Resident > maxIdleBytes && !raceEnabled {
		t.Errorf("%d bytes of memory for an idle client (heap %d, stacks %d)", m.Resident, m.Heap, m.Stack)
	}
}

// BenchmarkIdleWS reports the bytes of process memory for an idle client, beside those of a
// plain server on coder/websocket.
func BenchmarkIdleWS(b *testing.B) {
	for _, server := range []string{"sipway", "plain"} {
		b.Run(server, func(b *testing.B) {
			var m memory
			for b.Loop() {
				m = idleMemory(b, server, 2000)
			}
			b.ReportMetric(float64(m.Resident), "bytes/client")
			b.ReportMetric(float64(m.Raw), "raw-bytes/client")
			b.ReportMetric(float64(m.Heap), "heap-bytes/client")
			b.ReportMetric(float64(m.Stack), "stack-bytes/client")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// idleMemory returns the memory for one of a number of idle clients.
func idleMemory(t testing.TB, server string, clients int) memory {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), idleServerEnv+"="+server)
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer ask.Close()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the server says no address")
	}
	at := mustAddrPort(t, lines.Text())

	// The first clients bring the process to its working size.
	const warm = 100
	conns := connectIdle(t, at, warm)
	before := measure(t, ask, lines)
	conns = append(conns, connectIdle(t, at, clients)...)
	after := measure(t, ask, lines)
	for _, c := range conns {
		c.Close()
	}
	return memory{
		(after.Raw - before.Raw) / clients,
		(after.Resident - before.Resident) / clients,
		(after.Heap - before.Heap) / clients,
		(after.Stack - before.Stack) / clients,
	}
}

func connectIdle(t testing.TB, at netip.AddrPort, n int) []net.Conn {
	t.Helper()
	message := clientFrame(final|opText, benchMessage(sip.WS))
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = rawWS(t, at, message)
		if _, err := io.ReadFull(conns[i], make([]byte, 2+len(idleAnswer))); err != nil {
			t.Fatal(err)
		}
	}
	return conns
}

func measure(t testing.TB, ask io.Writer, lines *bufio.Scanner) memory {
	t.Helper()
	write(t, ask, "\n")
	if !lines.Scan() {
		t.Fatal("the server has ended")
	}
	var m memory
	if _, err := fmt.Sscan(lines.Text(), &m.Raw, &m.Resident, &m.Heap, &m.Stack); err != nil {
		t.Fatal(err)
	}
	return m
}

func mustAddrPort(t testing.TB, s string) netip.AddrPort {
	t.Helper()
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

const idleAnswer = "SIP/2.0 200 OK\r\n\r\n"

// idleServer is the measured process. It says its address, then, for each line that it
// reads, its memory.
func idleServer() {
	var at string
	if os.Getenv(idleServerEnv) == "plain" {
		at = startPlain()
	} else {
		h := &deepEcho{}
		h.layer = New(Config{Logger: slog.New(slog.DiscardHandler)}, h)
		addr, err := h.layer.Listen(sip.WS, "127.0.0.1:0", Binding{})
		if err != nil {
			panic(err)
		}
		at = addr.String()
	}
	fmt.Println(at)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		raw := resident()
		// Two minutes without work bring a collection; here are those that empty the pools
		// and shrink the stacks.
		for range 4 {
			debug.FreeOSMemory()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(raw, resident(), m.HeapInuse, m.StackInuse)
	}
}

// deepEcho answers, after having used as much stack as a handler with a database does.
type deepEcho struct{ layer *Layer }

func (e *deepEcho) Receive(f sip.Flow, _ *sip.Message) {
	useStack(16)
	e.layer.Send(f, []byte(idleAnswer))
}
func (e *deepEcho) Malformed(_ sip.Flow, _ *sip.Message, _ error) {}
func (e *deepEcho) Closed(sip.Flow, error)                        {}

//go:noinline
func useStack(kilobytes int) byte {
	var frame [1 << 10]byte
	frame[kilobytes] = 1
	if kilobytes > 0 {
		frame[0] = useStack(kilobytes - 1)
	}
	return frame[0] + frame[kilobytes]
}

// startPlain starts the server that one writes first.
func startPlain() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"sip"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			typ, _, err := c.Read(context.Background())
			if err != nil {
				return
			}
			useStack(16)
			if err := c.Write(context.Background(), typ, []byte(idleAnswer)); err != nil {
				return
			}
		}
	}))
	return ln.Addr().String()
}

// resident returns the resident memory of the process where the system tells it, else what
// the runtime has from the system.
func resident() int {
	status, err := os.ReadFile(filepath.Join("/proc", "self", "status"))
	if err != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.Sys - m.HeapReleased)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kilobytes int
	fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}
