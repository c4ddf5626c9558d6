//go:build !unix

package transport

// hasDescriptors is false: the queue's goroutine does all writing.
const hasDescriptors = false

func readDescriptor(uintptr, []byte) (int, error) { return 0, nil }

func writeDescriptor(uintptr, []byte) (int, error) { return 0, nil }

func wouldBlock(error) bool { return false }
