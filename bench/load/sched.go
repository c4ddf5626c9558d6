//go:build linux

package load

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// yielding runs f on a thread that does not interrupt others by waking up
// (SCHED_BATCH, see sched(7)). On loopback the receiver of a message is woken
// on its sender's core and takes it over at once: two switches of context for
// nearly every message, most of them in the server's time, for an agent that
// on a network would be another machine. So an agent waits until a core is
// free, the same for all servers.
func yielding(f func() Result) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := policy(unix.SCHED_BATCH); err != nil {
		return Result{}, err
	}
	r := f()
	return r, policy(unix.SCHED_NORMAL)
}

// policy sets how the kernel schedules the calling thread, but none that it starts.
func policy(p uint32) error {
	a := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: p, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if err := unix.SchedSetAttr(0, &a, 0); err != nil {
		return fmt.Errorf("scheduling policy: %w", err)
	}
	return nil
}
