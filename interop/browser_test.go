package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// A browser is the headless Chromium that all tests share, driven through
// testdata/browser/run.mjs; the protocol is described there.
type browser struct {
	process *process
	stdin   io.WriteCloser

	mu      sync.Mutex
	last    int
	replies map[int]chan reply
	pages   map[string]*page
}

// A reply is the answer to one command.
type reply struct {
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

// browserPatience is how long Chromium may take to start: on a busy machine with
// cold files it is far from instant.
const browserPatience = 2 * time.Minute

// theBrowser starts the browser for the first test that needs it.
var theBrowser = sync.OnceValues(startBrowser)

// browserStarted says whether there is one to close.
var browserStarted bool

func startBrowser() (*browser, error) {
	b := &browser{replies: make(map[int]chan reply), pages: make(map[string]*page)}
	cmd := exec.Command("node", "../testdata/browser/run.mjs")
	id, err := theIdentity()
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "TRUSTED_KEY="+id.key)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	b.stdin = stdin
	reader, writer := io.Pipe()
	cmd.Stdout = writer
	if b.process, err = launch("browser", cmd); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	browserStarted = true
	go func() {
		<-b.process.done
		writer.Close()
	}()
	ready := make(chan error, 1)
	go b.read(reader, ready)
	select {
	case err := <-ready:
		return b, err
	case <-time.After(browserPatience):
		return b, fmt.Errorf("the browser is not ready after %v", browserPatience)
	}
}

// closeBrowser ends the browser by ending its input.
func closeBrowser() error {
	if !browserStarted {
		return nil
	}
	b, _ := theBrowser()
	b.stdin.Close()
	select {
	case <-b.process.done:
		return nil
	case <-time.After(patience):
		return errors.Join(errors.New("the browser did not end by itself"), b.process.terminate())
	}
}

// read takes the driver's lines apart until it ends.
func (b *browser) read(from io.Reader, ready chan<- error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			reply
			ID    int    `json:"id"`
			Page  string `json:"page"`
			Event *event `json:"event"`
			Log   string `json:"log"`
			Ready bool   `json:"ready"`
			Fatal string `json:"fatal"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			fmt.Fprintf(b.process.output, "%v: %s\n", err, lines.Bytes())
			continue
		}
		switch {
		case line.Ready:
			ready <- nil
		case line.Fatal != "":
			ready <- errors.New(line.Fatal)
		case line.ID != 0:
			b.reply(line.ID, line.reply)
		case line.Event != nil:
			if p := b.page(line.Page); p != nil {
				p.box.post(*line.Event)
			}
		case line.Log != "":
			if p := b.page(line.Page); p != nil {
				fmt.Fprintln(&p.console, line.Log)
			}
		}
	}
	select {
	case ready <- fmt.Errorf("the browser's driver ended: %s", b.process.output.tail(20)):
	default:
	}
}

func (b *browser) page(name string) *page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pages[name]
}

func (b *browser) reply(id int, r reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replies[id] <- r
	delete(b.replies, id)
}

// command is one line to the driver.
type command struct {
	ID      int    `json:"id"`
	Do      string `json:"do"`
	Page    string `json:"page"`
	Library string `json:"library,omitempty"`
	Method  string `json:"method,omitempty"`
	Args    []any  `json:"args,omitempty"`
}

// do sends a command and returns its result.
func (b *browser) do(c command) (json.RawMessage, error) {
	answer := make(chan reply, 1)
	b.mu.Lock()
	b.last++
	c.ID = b.last
	b.replies[c.ID] = answer
	line, err := json.Marshal(c)
	if err == nil {
		_, err = b.stdin.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		if r.Error != "" {
			return nil, errors.New(r.Error)
		}
		return r.Result, nil
	case <-b.process.done:
		return nil, fmt.Errorf("the browser ended: %s", b.process.output.tail(20))
	case <-time.After(patience):
		return nil, fmt.Errorf("no answer to %s in %v", line, patience)
	}
}

// A page is a phone in a browser tab.
type page struct {
	browser *browser
	account account
	name    string // of the tab
	box     *mailbox
	console output
}

// An account is what a page registers with. Scheme is that of the URIs it calls, sip where it
// says nothing.
type account struct {
	User     string `json:"user"`
	Domain   string `json:"domain"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"`
	Server   string `json:"server"`
	Scheme   string `json:"scheme,omitempty"`
}

// The libraries that there are pages of.
const (
	jsSIP = "jssip"
	sipJS = "sipjs"
)

// openPage opens a tab with a phone of that library, not yet registered. The
// end of the test closes it.
func openPage(t *testing.T, s *server, library, user string) *page {
	t.Helper()
	return openTab(t, s, library, user, "")
}

// openTab is openPage for one of several tabs of a user.
func openTab(t *testing.T, s *server, library, user, tab string) *page {
	t.Helper()
	b, err := theBrowser()
	if err != nil {
		t.Fatalf("browser: %v", err)
	}
	at := "ws://" + s.ws + "/"
	if s.wss != "" {
		at = "wss://" + s.wss + "/"
	}
	p := &page{
		browser: b,
		account: account{User: user, Domain: domain, Password: password(user), Server: at},
		name:    t.Name() + "/" + user + tab,
		box:     newMailbox(user + tab + " (" + library + ")"),
	}
	b.mu.Lock()
	b.pages[p.name] = p
	b.mu.Unlock()
	if _, err := b.do(command{Do: "open", Page: p.name, Library: library}); err != nil {
		t.Fatalf("open %s: %v", library, err)
	}
	t.Cleanup(func() {
		if _, err := b.do(command{Do: "close", Page: p.name}); err != nil {
			t.Errorf("close page: %v", err)
		}
		if t.Failed() {
			t.Logf("console of %s:\n%s", p.box.owner, p.console.tail(300))
		}
	})
	return p
}

// invoke calls a method of the page's phone. Its result is stored in result
// unless that is nil.
func (p *page) invoke(t *testing.T, result any, method string, args ...any) {
	t.Helper()
	raw, err := p.browser.do(command{Do: "call", Page: p.name, Method: method, Args: args})
	if err == nil && result != nil {
		err = json.Unmarshal(raw, result)
	}
	if err != nil {
		t.Fatalf("%s: %s: %v\nall events:\n%s", p.box.owner, method, err, p.box.history())
	}
}

func (p *page) user() string    { return p.account.User }
func (p *page) inbox() *mailbox { return p.box }

func (p *page) register(t *testing.T) {
	t.Helper()
	p.invoke(t, nil, "register", p.account)
	p.box.await(t, "registered", 0)
}

func (p *page) unregister(t *testing.T) {
	t.Helper()
	p.invoke(t, nil, "unregister")
	p.box.await(t, "unregistered", 0)
}

func (p *page) dial(t *testing.T, target string) (call int) {
	t.Helper()
	p.invoke(t, &call, "dial", target)
	return call
}

func (p *page) answer(t *testing.T, call int) { t.Helper(); p.invoke(t, nil, "answer", call) }
func (p *page) hangup(t *testing.T, call int) { t.Helper(); p.invoke(t, nil, "hangup", call) }

func (p *page) reject(t *testing.T, call, status int) {
	t.Helper()
	p.invoke(t, nil, "reject", call, status)
}

// reload loads the page anew, as its user would with F5: the phone in it is
// gone without a word, and the new one knows nothing of it.
func (p *page) reload(t *testing.T) {
	t.Helper()
	if _, err := p.browser.do(command{Do: "reload", Page: p.name}); err != nil {
		t.Fatalf("reload: %v", err)
	}
}

// hears waits until the call's peer connection is connected and audio, not
// silence, has come in over it since now.
func (p *page) hears(t *testing.T, call int) {
	t.Helper()
	const packets = 25 // half a second of Opus
	p.invoke(t, nil, "hears", call, packets)
}

// directionBecomes waits until the negotiated direction of the call's audio is
// that one, as the page sees it.
func (p *page) directionBecomes(t *testing.T, call int, direction string) {
	t.Helper()
	p.invoke(t, nil, "directionBecomes", call, direction)
}
