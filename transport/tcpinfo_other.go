//go:build !linux

package transport

import "time"

// acknowledged is true where it can't be known whether the peer has confirmed all that was
// written.
func (s *socket) acknowledged() bool { return true }

// roundTrip is 0 where the kernel isn't asked for it.
func (s *socket) roundTrip() time.Duration { return 0 }
