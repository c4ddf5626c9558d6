package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// webSocket is a connection's WebSocket framing (RFC 7118, RFC 6455). coder/websocket did
// the handshake and reads the frames. What we send is written here: a server's frame is a
// short header before the bytes, and so it is one Write to a socket that never blocks, pings
// and closes included, with no lock to wait for and no goroutine to wait for a pong.
//
// It is also the net.Conn that coder/websocket reads from.
type webSocket struct {
	stream
	c    *connection
	conn *websocket.Conn
	br   *bufio.Reader // between conn and this

	// Of the reading goroutine.
	inMessage bool // a message was begun: its bytes are held
	limited   bool // and it has a deadline
}

// wsReadBuffer is the least that bufio allows. It takes the frame headers; payloads pass it
// by. Read-ahead is the socket's, which holds it only while there is some.
const wsReadBuffer = 16

// wsWriteBuffer holds the largest control frame, which is all that coder/websocket writes
// here: so each of them is one Write and never mixes with ours.
const wsWriteBuffer = 128

// Read is called by coder/websocket.
func (w *webSocket) Read(p []byte) (int, error) {
	if w.inMessage && !w.limited && len(w.buffered()) == 0 {
		w.limited = true
		if err := w.c.limit(true); err != nil {
			return 0, err
		}
	}
	n, err := w.stream.Read(p)
	if err == io.EOF {
		// A bare EOF would look like the end of a message to the one who reads its frames.
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// read reads messages until the connection ends.
func (w *webSocket) read() error {
	for {
		// Here an idle client waits, and not below coder/websocket, where the stack is
		// deeper: in a goroutine's smallest stack.
		if w.br.Buffered() == 0 {
			if w.c.mayRest() {
				return errRest
			}
			if err := w.c.await(); err != nil {
				return err
			}
			if w.skipPong() {
				continue
			}
			if b := w.takeFrame(); b != nil {
				if err := w.finish(b); err != nil {
					return err
				}
				continue
			}
		}
		b, err := w.readMessage()
		if err != nil {
			if errors.Is(err, websocket.ErrMessageTooBig) {
				w.c.tally.in.Add(1)
				w.c.tally.malformed.Add(1)
			}
			return w.c.readError(err)
		}
		if err := w.finish(b); err != nil {
			return err
		}
	}
}

// readReady reads what there is, without waiting. It reports whether there may be more.
func (w *webSocket) readReady() (more bool, err error) {
	for again := true; again && err == nil; again = len(w.c.sock.in) > 0 { // more TLS records
		var left bool
		left, err = w.fill()
		more = more || left
		for err == nil && len(w.buffered()) > 0 {
			if w.skipPong() {
				continue
			}
			b := w.takeFrame()
			if b == nil {
				return false, errOwned
			}
			err = w.finish(b)
		}
	}
	return more, err
}

// finish handles a message, and reports the end if that was asked for meanwhile.
func (w *webSocket) finish(b []byte) error {
	if err := w.message(b); err != nil {
		return err
	}
	return w.c.ending()
}

// takeFrame takes a message that is one whole frame at the beginning of what was read ahead,
// as clients send nearly every message, in an exact-size buffer. It returns nil where
// coder/websocket is to look: at a part, a fragment, a control frame, an error.
func (w *webSocket) takeFrame() []byte {
	b := w.buffered()
	if len(b) < 2 || b[0] != final|opText && b[0] != final|opBinary || b[1]&masked == 0 {
		return nil
	}
	header, size := 2, int(b[1]&^masked)
	if size == 126 && len(b) >= 4 {
		header, size = 4, int(binary.BigEndian.Uint16(b[2:]))
	}
	if size == 0 || (size >= 126) != (header == 4) || size > w.c.layer.cfg.MaxMessage || len(b) < header+maskSize+size {
		return nil
	}
	message := make([]byte, size)
	unmask(message, b[header+maskSize:], b[header:header+maskSize])
	w.discard(header + maskSize + size)
	return message
}

// skipPong passes over a pong (RFC 6455 §5.5.3) at the beginning of what was read ahead,
// which begins with a frame because none is being read.
func (w *webSocket) skipPong() bool {
	const header = 6 // two bytes and the client's mask
	b := w.buffered()
	if len(b) < header || b[0] != final|opPong || b[1]&masked == 0 {
		return false
	}
	size := header + int(b[1]&^masked)
	if size > header+maxControl || len(b) < size {
		return false
	}
	if size == header+pingSize {
		var at [pingSize]byte
		unmask(at[:], b[header:size], b[header-maskSize:header])
		w.c.ponged(at)
	}
	w.discard(size)
	w.c.tally.keepalives.Add(1)
	return true
}

// readMessage returns a message, however many frames it came in, in an exact-size buffer.
func (w *webSocket) readMessage() ([]byte, error) {
	_, r, err := w.conn.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	w.inMessage = true
	b, err := readAll(r)
	w.inMessage = false
	if err != nil {
		return nil, err
	}
	if w.limited {
		w.limited = false
		if err := w.c.limit(false); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// readAll reads into a pooled buffer that fits the usual message, and copies it once.
func readAll(r io.Reader) ([]byte, error) {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	buf := chunk[:]
	n := 0
	for {
		if n == len(buf) {
			grown := make([]byte, 2*len(buf))
			copy(grown, buf)
			buf = grown
		}
		k, err := r.Read(buf[n:])
		n += k
		if err == io.EOF {
			b := make([]byte, n)
			copy(b, buf)
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// message handles one WebSocket message, which is one SIP message (RFC 7118 §5) or a
// keepalive. What can't be parsed does no harm to what follows.
func (w *webSocket) message(b []byte) error {
	if !isFilling(b) {
		w.c.receive(b)
		return nil
	}
	w.c.tally.keepalives.Add(1)
	if string(b) == "\r\n\r\n" { // RFC 7118 §6, RFC 5626 §4.4.1
		return w.write(opText, crlf)
	}
	return nil
}

// send writes a message in one frame. Bytes that aren't UTF-8 must go in a binary frame
// (RFC 7118 §4.2).
func (w *webSocket) send(b []byte) error {
	if utf8.Valid(b) {
		return w.write(opText, b)
	}
	return w.write(opBinary, b)
}

// write writes a frame.
func (w *webSocket) write(opcode byte, payload []byte) error {
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	_, err := w.stream.Write(appendFrame(chunk[:0], opcode, payload))
	return err
}

// end says why the connection is closed, when that is our wish and the peer may hear it.
func (w *webSocket) end(local bool, reason error) {
	if local {
		code := websocket.StatusGoingAway
		switch {
		case errors.Is(reason, ErrShutdown):
			code = websocket.StatusServiceRestart
		case errors.Is(reason, ErrNoMessage), errors.Is(reason, ErrFlood), errors.Is(reason, ErrExpired),
			errors.Is(reason, ErrSlowMessage):
			code = websocket.StatusPolicyViolation
		}
		w.close(code)
	}
}

func (w *webSocket) close(code websocket.StatusCode) {
	// A connection that can't be written to needs no close frame.
	_ = w.write(opClose, []byte{byte(code >> 8), byte(code)})
}
