package transport

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller reads resting connections in turn, on one goroutine, so that many messages that
// come at a time cost one switch of goroutines, no thread to be woken, and no read that
// finds nothing.
//
// Its epoll set is itself waited for in Go's: while nothing comes, it costs no thread. Go's
// set tells edges: an event that comes is told even where others are there that were told
// before, so that nothing need be asked for twice but what one reading left over. The
// poller's own set tells levels, for it is looked at anew then.
type poller struct {
	layer  *Layer
	file   *os.File // the epoll set
	raw    syscall.RawConn
	events [64]unix.EpollEvent
}

// canRest says that there are pollers.
const canRest = true

// fullRounds is how often in a row a poller finds as many events as it can take, or as many
// datagrams at a socket, before another one is set to work: it is that much behind.
const fullRounds = 4

// pollEvents is what a resting connection is watched for: bytes, and the end of them.
const pollEvents = unix.EPOLLIN | unix.EPOLLRDHUP

// newPollers returns a poller for each core.
func newPollers(l *Layer) ([]*poller, error) {
	var all []*poller
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller(l)
		if err != nil {
			closePollers(all)
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func newPoller(l *Layer) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// What does not block is waited for in Go's own epoll set.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &poller{layer: l, file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

func (p *poller) close() { p.file.Close() }

// run reads until the poller is closed.
func (p *poller) run() {
	// Ready is called anew each time that something has come, and never waited on for good.
	p.raw.Read(p.ready)
}

// ready reads what has come and reports false: there may be more later.
func (p *poller) ready(fd uintptr) bool {
	full := 0
	for again := true; again; {
		n := p.wait(fd)
		behind := n == len(p.events)
		again = behind
		for _, e := range p.events[:n] {
			id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if p.read(id, e.Events&^unix.EPOLLIN != 0) {
				again = true // what is left brings no event
				behind = behind || id < maxSocketID
			}
		}
		if full++; !behind {
			full = 0
		} else if full == fullRounds {
			p.layer.spread()
		}
	}
	return false
}

// read reads the connection, or the UDP socket, with this incarnation.
func (p *poller) read(id uint64, last bool) (more bool) {
	if id < maxSocketID {
		return p.layer.udpSocket(id).turn()
	}
	c := p.layer.flows.get(id)
	return c != nil && c.turn(last) // nil: it has gone
}

// wait returns how many events there are now.
func (p *poller) wait(fd uintptr) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd,
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno != 0 { // EINTR: an event that is there comes again
		return 0
	}
	return int(n)
}

// add has the poller read what has this descriptor and incarnation.
func (p *poller) add(raw syscall.RawConn, id uint64) error {
	return p.control(raw, unix.EPOLL_CTL_ADD, &unix.EpollEvent{Events: pollEvents, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))})
}

// remove has it read that no more.
func (p *poller) remove(raw syscall.RawConn) {
	// What is closed is in no set any more.
	_ = p.control(raw, unix.EPOLL_CTL_DEL, nil)
}

func (p *poller) control(raw syscall.RawConn, op int, e *unix.EpollEvent) error {
	var err error
	outer := p.raw.Control(func(set uintptr) {
		inner := raw.Control(func(fd uintptr) { err = unix.EpollCtl(int(set), op, int(fd), e) })
		if inner != nil {
			err = inner
		}
	})
	if outer != nil {
		return outer
	}
	return err
}
