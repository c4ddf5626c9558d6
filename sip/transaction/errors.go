package transaction

import (
	"errors"
	"fmt"
)

var (
	// ErrTimeout says that the other side did not answer in time: Timer B or F, 64*T1 after
	// a CANCEL, or Timer H of a server transaction. A client's user takes it for a 408
	// (RFC 3261 §8.1.3.1).
	ErrTimeout = errors.New("transaction: timeout")

	// ErrTransport says that a message could not be sent or that its flow has closed. A
	// client's user takes it for a 503 (RFC 3261 §8.1.3.1). Errors that match it wrap the
	// transport's own.
	ErrTransport = errors.New("transaction: transport failed")

	// ErrAnswered says that a response came too late: a final one was sent before, or the
	// transaction has ended. Nothing was sent.
	ErrAnswered = errors.New("transaction: final response already sent")

	// ErrBranch says that a request can't be matched to its responses: its topmost Via has
	// no branch of RFC 3261 §8.1.1.7, or one that a live transaction has.
	ErrBranch = errors.New("transaction: request without a branch of its own")
)

func transportError(cause error) error {
	if cause == nil || errors.Is(cause, ErrTransport) {
		return ErrTransport
	}
	return fmt.Errorf("%w: %w", ErrTransport, cause)
}
