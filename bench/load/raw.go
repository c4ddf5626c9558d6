//go:build linux

package load

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The three system calls of the loop are made without telling Go's scheduler.
// Told of them, it watches the thread every 20 us while it works, wakes a
// second one when it blocks, and spends a third of the generator's processor
// time on that. Untold, it takes the goroutine for one that computes: it
// signals it every 10 ms, and whenever the garbage collector wants it, which
// ends a wait with EINTR.

func rawEpollWait(poll int, events []unix.EpollEvent, milliseconds int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(milliseconds), 0, 0)
	return result(n, errno)
}

func rawRead(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return result(n, errno)
}

func rawWrite(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return result(n, errno)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN:
		return 0, errAgain
	case unix.EINTR:
		return 0, errInterrupted
	}
	return 0, errno
}

// Made once, for an error value of a system call's number is allocated.
var (
	errAgain       error = unix.EAGAIN
	errInterrupted error = unix.EINTR
)
