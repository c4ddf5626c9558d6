package transport

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the way of a message are made without telling Go's scheduler. They
// are on descriptors that never block, so they take no longer than a computation does; told
// of them, the scheduler would watch the thread every 20 us for one that has got stuck,
// which took an eighth of the server's processor time.

// hasDescriptors says that a socket can be read and written directly without waiting.
const hasDescriptors = true

// Recvfrom and sendto, with neither flags nor address, are read and write without the way
// through the kernel's file layer, a fortieth of their cost.

func readDescriptor(fd uintptr, p []byte) (int, error) {
	return rawCall(unix.SYS_RECVFROM, fd, unsafe.Pointer(unsafe.SliceData(p)), len(p))
}

func writeDescriptor(fd uintptr, p []byte) (int, error) {
	return rawCall(unix.SYS_SENDTO, fd, unsafe.Pointer(unsafe.SliceData(p)), len(p))
}

// rawCall makes a system call of a descriptor, a pointer and a number, whose other arguments
// are 0, and repeats it when a signal has come between.
func rawCall(trap, fd uintptr, p unsafe.Pointer, n int) (int, error) {
	for {
		r, _, errno := unix.RawSyscall(trap, fd, uintptr(p), uintptr(n))
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errAgain // made once: an error of a number is allocated
		default:
			return 0, errno
		}
	}
}

var errAgain error = unix.EAGAIN

func wouldBlock(err error) bool { return err == errAgain }

// message is a msghdr with room for what it points to. It must not be moved: the kernel
// follows its pointers.
type message struct {
	header  unix.Msghdr
	vector  unix.Iovec
	address unix.RawSockaddrInet6 // or an IPv4 one, which is shorter
	control [controlSize]byte
}

// setBuffer has the message read into or written from b.
func (m *message) setBuffer(b []byte) {
	m.vector.Base = unsafe.SliceData(b)
	m.vector.SetLen(len(b))
	m.header.Iov = &m.vector
	m.header.SetIovlen(1)
	m.header.Name = (*byte)(unsafe.Pointer(&m.address))
}

// setControl gives the message n bytes of control data, at m.control.
func (m *message) setControl(n int) {
	m.header.Control = nil
	if n > 0 {
		m.header.Control = &m.control[0]
	}
	m.header.SetControllen(n)
}

func (m *message) setAddress(a netip.AddrPort, six bool) {
	if six {
		m.address = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(a.Port()), Addr: a.Addr().As16()}
		m.header.Namelen = unix.SizeofSockaddrInet6
		return
	}
	four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&m.address))
	*four = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(a.Port()), Addr: a.Addr().As4()}
	m.header.Namelen = unix.SizeofSockaddrInet4
}

// from returns the address that the kernel wrote.
func (m *message) from() netip.AddrPort {
	if m.address.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&m.address))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), swapped(four.Port))
	}
	addr := netip.AddrFrom16(m.address.Addr).Unmap()
	if m.address.Scope_id != 0 && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(strconv.Itoa(int(m.address.Scope_id)))
	}
	return netip.AddrPortFrom(addr, swapped(m.address.Port))
}

// swapped turns a port from the order of this machine to that of the network, or back.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

func (m *message) receive(fd uintptr) (int, error) {
	return rawCall(unix.SYS_RECVMSG, fd, unsafe.Pointer(&m.header), unix.MSG_DONTWAIT)
}

func (m *message) send(fd uintptr) error {
	_, err := rawCall(unix.SYS_SENDMSG, fd, unsafe.Pointer(&m.header), unix.MSG_DONTWAIT)
	return err
}

// rawSendAll sends messages until the kernel refuses one, and returns how many it took; an
// error is the first one's.
func rawSendAll(fd uintptr, headers []mmsghdr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(headers))), uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
