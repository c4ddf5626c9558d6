// Package kamailio writes the configuration under which Kamailio is compared
// with sipway: a record-routing stateful proxy and registrar with digest
// authentication and WebSocket, and nothing else.
//
// It is meant to be the fastest fair one: only the modules that the work
// needs, locations in memory, no log, no DNS, the password in the script (no
// look-up at all, where sipway asks its store), calls challenged from one source
// alone, WebSocket contacts kept reachable the way the nathelper module
// recommends and for WebSocket clients alone. Memory manager and pool sizes are
// given on the command line, see Args.
package kamailio

import (
	_ "embed"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"text/template"
)

// Config is what varies between runs.
type Config struct {
	UDP, TCP, WS   netip.AddrPort
	Domain         string
	Password       string     // of every user
	Challenged     netip.Addr // whose calls need credentials
	Database       string     // URL of a PostgreSQL that locations are written through to; empty for none
	UDPChildren    int
	TCPChildren    int
	MaxConnections int
}

//go:embed kamailio.cfg.tmpl
var text string

var config = template.Must(template.New("kamailio.cfg").Parse(text))

// Write writes the configuration file.
func (c Config) Write(w io.Writer) error {
	if c.UDPChildren < 1 || c.TCPChildren < 1 {
		return fmt.Errorf("kamailio: at least one UDP and one TCP child (have %d and %d)", c.UDPChildren, c.TCPChildren)
	}
	return config.Execute(w, c)
}

// Memory of the two kinds that Kamailio allocates beforehand, in MiB.
const (
	sharedMemory  = 1024
	privateMemory = 16
)

// TLSF is the memory manager with which Kamailio needs the least processor time:
// it allocates and frees in constant time. Its default, "qm", spends half of a
// call's time in looking for free fragments, and so does "fm", less, but the more
// the more calls there were.
const TLSF = "tlsf"

// Args is the command line for a configuration file: in the foreground, working
// files in dir. The memory manager is Kamailio's default, with which Debian's
// service starts it, where manager is empty.
func Args(file, dir, manager string) []string {
	args := []string{
		"-DD", "-E", "-f", file, "-w", dir, "-Y", dir, "-P", dir + "/kamailio.pid",
		"-m", strconv.Itoa(sharedMemory), "-M", strconv.Itoa(privateMemory),
	}
	if manager != "" {
		args = append(args, "-x", manager)
	}
	return args
}
