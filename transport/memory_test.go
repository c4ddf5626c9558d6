package transport

import (
	"bufio"
	"context"
	"crypto/tls"
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
// clients' does not count: "sipway", or "plain" for the usual server on coder/websocket, and
// with "-tls" behind either over TLS, with the certificate in the file of idleCertEnv.
const (
	idleServerEnv = "SIPWAY_TRANSPORT_IDLE_SERVER"
	idleCertEnv   = "SIPWAY_TRANSPORT_IDLE_CERT"
)

// What an idle WebSocket client may cost, in bytes of process memory, and over TLS.
const (
	maxIdleBytes    = 12 << 10
	maxIdleTLSBytes = 24 << 10
)

// memory is what a process uses, in bytes. Raw is the resident memory as it was found, with
// what the collector has not yet given back; the others were read after it had.
type memory struct{ Raw, Resident, Heap, Stack int }

// TestIdleWSMemory connects idle clients, each of which has sent a request and got its
// answer, and measures what one costs the server.
func TestIdleWSMemory(t *testing.T) {
	const clients = 500
	for server, most := range map[string]int{"sipway": maxIdleBytes, "sipway-tls": maxIdleTLSBytes} {
		m := idleMemory(t, server, clients)
		// The race detector's shadow memory is resident too; heap and stacks are without it.
		if m.Heap+m.Stack > most || m.Resident > most && !raceEnabled {
			t.Errorf("%s: %d bytes of memory for an idle client (heap %d, stacks %d)", server, m.Resident, m.Heap, m.Stack)
		}
	}
}

// BenchmarkIdleWS reports the bytes of process memory for an idle client, beside those of a
// plain server on coder/websocket.
func BenchmarkIdleWS(b *testing.B) {
	for _, server := range []string{"sipway", "plain", "sipway-tls", "plain-tls"} {
		b.Run(server, func(b *testing.B) {
			var m memory
			for b.Loop() {
				m = idleMemory(b, server, 5000)
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
func idleMemory(t testing.TB, server string, clients int) (m memory) {
	t.Helper()
	withIdleServer(t, server, func(s *idleProcess) {
		// The first clients bring the process to its working size.
		const warm = 100
		conns := connectIdle(t, s.at, warm, s.secure)
		before := measure(t, s.ask, s.lines)
		conns = append(conns, connectIdle(t, s.at, clients, s.secure)...)
		after := measure(t, s.ask, s.lines)
		for _, c := range conns {
			c.Close()
		}
		m = memory{
			(after.Raw - before.Raw) / clients,
			(after.Resident - before.Resident) / clients,
			(after.Heap - before.Heap) / clients,
			(after.Stack - before.Stack) / clients,
		}
	})
	return m
}

// idleProcess is a server in a process of its own.
type idleProcess struct {
	at     netip.AddrPort
	secure bool
	pid    int
	ask    io.Writer
	lines  *bufio.Scanner
}

// withIdleServer runs f beside such a server.
func withIdleServer(t testing.TB, server string, f func(*idleProcess)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cert := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(cert, newAuthority(t).pem(t, "127.0.0.1"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), idleServerEnv+"="+server, idleCertEnv+"="+cert)
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
	f(&idleProcess{mustAddrPort(t, lines.Text()), strings.HasSuffix(server, "-tls"), cmd.Process.Pid, ask, lines})
}

func connectIdle(t testing.TB, at netip.AddrPort, n int, secure bool) []net.Conn {
	t.Helper()
	message := clientFrame(final|opText, benchMessage(sip.WS))
	conns := make([]net.Conn, n)
	for i := range conns {
		c := net.Conn(dialStream(t, at))
		if secure {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		conns[i] = rawWSOn(t, c, message)
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
	server, secure := strings.CutSuffix(os.Getenv(idleServerEnv), "-tls")
	cfg, tr := (*tls.Config)(nil), sip.WS
	if secure {
		cert, err := tls.LoadX509KeyPair(os.Getenv(idleCertEnv), os.Getenv(idleCertEnv))
		if err != nil {
			panic(err)
		}
		cfg, tr = &tls.Config{Certificates: []tls.Certificate{cert}}, sip.WSS
	}
	if server == "plain" {
		at = startPlain(cfg)
	} else {
		h := &deepEcho{}
		h.layer = New(Config{TLS: cfg, Logger: slog.New(slog.DiscardHandler)}, h)
		addr, err := h.layer.Listen(tr, "127.0.0.1:0", Binding{})
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
func startPlain(cfg *tls.Config) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
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
