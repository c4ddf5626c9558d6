//go:build unix && !linux

package transport

import "syscall"

// hasDescriptors says that a socket can be read and written directly without waiting.
const hasDescriptors = true

func readDescriptor(fd uintptr, p []byte) (n int, err error) {
	for {
		if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

func writeDescriptor(fd uintptr, p []byte) (n int, err error) {
	for {
		if n, err = syscall.Write(int(fd), p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

func wouldBlock(err error) bool { return err == syscall.EAGAIN }
