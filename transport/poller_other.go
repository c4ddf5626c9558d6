//go:build !linux

package transport

import (
	"errors"
	"syscall"
)

// canRest is false: each connection has a goroutine.
const canRest = false

// poller is for Linux.
type poller struct{}

func newPollers(*Layer) ([]*poller, error) { return nil, errors.ErrUnsupported }

func (p *poller) run()                              {}
func (p *poller) close()                            {}
func (p *poller) add(syscall.RawConn, uint64) error { return errors.ErrUnsupported }
func (p *poller) remove(syscall.RawConn)            {}
