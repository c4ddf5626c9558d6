package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A barePhone is baresip, a desk phone's stack, over UDP or TLS. It has one call at a
// time. Its media is what browsers ask for: ICE and DTLS-SRTP, and a sine tone
// for a microphone. Debian's version gives up where any challenge is for
// another algorithm than MD5, so its server needs settings.md5.
type barePhone struct {
	name    string
	box     *mailbox
	server  *server
	over    string // transport
	process *process
	control net.Conn

	mu    sync.Mutex
	dials int            // the number of the call that is being dialled
	calls []bareCall     // call n is calls[n-1]
	known map[string]int // Call-ID to number
	acks  map[string]chan bareReply
}

// A bareCall is the state of one call as baresip's events tell it.
type bareCall struct{ stands, hungUp bool }

// bareModules is where Debian's and Ubuntu's package puts them.
const bareModules = "/usr/lib/baresip/modules"

// bareConfig has everything that baresip would otherwise look for in the
// machine: sound cards, network interfaces, a DNS server.
const bareConfig = `
poll_method epoll
call_local_timeout 120
rtcp_mux yes
audio_player aubridge,loop
audio_source ausine,440
audio_alert aubridge,alert
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
module_path %[1]s
module opus.so
module g711.so
module ausine.so
module aubridge.so
module stun.so
module ice.so
module srtp.so
module dtls_srtp.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen %[2]s
sip_listen %[3]s
rtp_ports 10000-11998
net_interface 127.0.0.1
`

// newBarePhone starts baresip with an account that is not yet registered.
func newBarePhone(t *testing.T, s *server, user string) *barePhone {
	t.Helper()
	modules := bareModules
	if dirs, _ := filepath.Glob("/usr/lib/*/baresip/modules"); len(dirs) > 0 {
		modules = dirs[0]
	}
	dir, control := t.TempDir(), freePort(t)
	config := fmt.Sprintf(bareConfig, modules, control, freePort(t))
	for name, text := range map[string]string{"config": config, "accounts": "", "contacts": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &barePhone{
		name: user, box: newMailbox(user + " (baresip)"), server: s, over: "udp",
		known: make(map[string]int), acks: make(map[string]chan bareReply),
	}
	p.process = startProcess(t, "baresip", exec.Command("baresip", "-4", "-f", dir))
	p.control = dialWhenReady(t, p.process, control)
	t.Cleanup(func() { p.control.Close() })
	go p.read()
	return p
}

// dialWhenReady connects to a program that has just been started, as soon as
// it listens.
func dialWhenReady(t *testing.T, p *process, addr string) net.Conn {
	t.Helper()
	limit := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn
		}
		select {
		case <-again.C:
		case <-p.done:
			t.Fatalf("%s ended at start: %v", p.name, p.err)
		case <-limit:
			t.Fatalf("%s does not listen: %v", p.name, err)
		}
	}
}

// A bareReply is baresip's answer to a command.
type bareReply struct {
	OK    bool   `json:"ok"`
	Data  string `json:"data"`
	Token string `json:"token"`
}

// A bareEvent is what baresip says of itself.
type bareEvent struct {
	Event     bool   `json:"event"`
	Type      string `json:"type"`
	Direction string `json:"direction"`
	Peer      string `json:"peeruri"`
	ID        string `json:"id"`
	Param     string `json:"param"`
}

// read takes in what comes over the control connection, netstrings of JSON,
// until it is closed.
func (p *barePhone) read() {
	in := bufio.NewReader(p.control)
	for {
		text, err := readNetstring(in)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				fmt.Fprintf(p.process.output, "control connection: %v\n", err)
			}
			return
		}
		var line struct {
			bareEvent
			bareReply
		}
		if err := json.Unmarshal(text, &line); err != nil {
			fmt.Fprintf(p.process.output, "control connection: %v: %s\n", err, text)
			continue
		}
		fmt.Fprintf(p.process.output, "control: %s\n", text)
		if line.Event {
			p.happened(line.bareEvent)
			continue
		}
		p.mu.Lock()
		if answer := p.acks[line.Token]; answer != nil {
			answer <- line.bareReply
			delete(p.acks, line.Token)
		}
		p.mu.Unlock()
	}
}

func readNetstring(in *bufio.Reader) ([]byte, error) {
	length, err := in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return nil, err
	}
	text := make([]byte, n+1)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	return text[:n], nil
}

// command gives baresip one command of its menu and waits for the answer.
func (p *barePhone) command(t *testing.T, name, params string) {
	t.Helper()
	answer := make(chan bareReply, 1)
	p.mu.Lock()
	token := fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	p.acks[token] = answer
	p.mu.Unlock()
	text, _ := json.Marshal(map[string]string{"command": name, "params": params, "token": token})
	if _, err := fmt.Fprintf(p.control, "%d:%s,", len(text), text); err != nil {
		t.Fatalf("%s: %s: %v", p.box.owner, name, err)
	}
	select {
	case r := <-answer:
		if !r.OK {
			t.Fatalf("%s: %s %s: %s", p.box.owner, name, params, r.Data)
		}
	case <-time.After(patience):
		t.Fatalf("%s: no answer to %s in %v", p.box.owner, name, patience)
	}
}

// number returns a call's number. A call that is not known yet is the one that
// is being dialled, or a new one that comes in.
func (p *barePhone) number(id string) int {
	n, ok := p.known[id]
	if !ok && p.dials != 0 {
		n, p.dials = p.dials, 0
		p.known[id] = n
	} else if !ok {
		p.calls = append(p.calls, bareCall{})
		n = len(p.calls)
		p.known[id] = n
	}
	return n
}

// happened turns baresip's events into the phone's.
func (p *barePhone) happened(e bareEvent) {
	switch e.Type {
	case "REGISTER_OK":
		p.box.post(event{Kind: "registered", Status: 200})
		return
	case "REGISTER_FAIL":
		p.box.post(event{Kind: "registrationFailed", Cause: e.Param})
		return
	}
	// A description that is made before the INVITE belongs to no call yet.
	if !strings.HasPrefix(e.Type, "CALL_") || e.ID == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.number(e.ID)
	call := &p.calls[n-1]
	switch e.Type {
	case "CALL_INCOMING":
		p.box.post(event{Kind: "incoming", Call: n, Peer: userOf(e.Peer)})
	case "CALL_RINGING":
		p.box.post(event{Kind: "progress", Call: n, Status: 180})
	case "CALL_PROGRESS":
		p.box.post(event{Kind: "progress", Call: n, Status: 183})
	case "CALL_ESTABLISHED":
		call.stands = true
		p.box.post(event{Kind: "established", Call: n})
	case "CALL_CLOSED":
		over := event{Kind: "failed", Call: n, Originator: "remote", Cause: e.Param}
		if call.stands {
			over.Kind = "ended"
		}
		if call.hungUp {
			over.Originator = "local"
		}
		if status, _, ok := strings.Cut(e.Param, " "); ok {
			over.Status, _ = strconv.Atoi(status)
		}
		p.box.post(over)
	}
}

// userOf returns the user of a SIP URI.
func userOf(uri string) string {
	if u, err := url.Parse(uri); err == nil {
		user, _, _ := strings.Cut(u.Opaque, "@")
		return user
	}
	return uri
}

func (p *barePhone) user() string    { return p.name }
func (p *barePhone) inbox() *mailbox { return p.box }

func (p *barePhone) register(t *testing.T) {
	t.Helper()
	p.command(t, "uanew", fmt.Sprintf(
		"<sip:%s@%s;transport=%[4]s>;auth_pass=%[3]s;outbound=\"sip:%[5]s;transport=%[4]s\";"+
			"regint=600;answermode=manual;audio_codecs=opus/48000/2,pcmu/8000/1;"+
			"medianat=ice;mediaenc=dtls_srtp",
		p.name, domain, password(p.name), p.over, p.server.addr(p.over)))
	p.box.await(t, "registered", 0)
}

func (p *barePhone) dial(t *testing.T, target string) int {
	t.Helper()
	p.mu.Lock()
	p.calls = append(p.calls, bareCall{})
	n := len(p.calls)
	p.dials = n
	p.mu.Unlock()
	p.command(t, "dial", "sip:"+target+"@"+domain)
	return n
}

func (p *barePhone) answer(t *testing.T, _ int) { t.Helper(); p.command(t, "accept", "") }

// reject refuses the call; 486 is the only status that baresip has for it.
func (p *barePhone) reject(t *testing.T, call, status int) {
	t.Helper()
	if status != 486 {
		t.Fatalf("baresip refuses with 486 only, not with %d", status)
	}
	p.hangup(t, call)
}

func (p *barePhone) hangup(t *testing.T, call int) {
	t.Helper()
	p.mu.Lock()
	p.calls[call-1].hungUp = true
	p.mu.Unlock()
	p.command(t, "hangup", "")
}
