// Package floor has the two servers that the benchmark shows for orientation:
// the least that the traffic itself costs in Go, and the least that an idle
// WebSocket client costs with a common library. Neither knows any SIP.
package floor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Listeners are what Echo serves. Serve functions close what they are given.
type Listeners struct {
	UDP *net.UDPConn
	TCP net.Listener
	WS  net.Listener
}

// receiveBuffer is what a SIP server asks for its UDP socket; the kernel caps
// it at net.core.rmem_max.
const receiveBuffer = 4 << 20

// Listen opens the three listeners on the loopback addresses given.
func Listen(ctx context.Context, udp, tcp, ws string) (l Listeners, err error) {
	var config net.ListenConfig
	packet, err := config.ListenPacket(ctx, "udp4", udp)
	if err != nil {
		return l, err
	}
	l.UDP = packet.(*net.UDPConn)
	if err = l.UDP.SetReadBuffer(receiveBuffer); err != nil {
		return l, errors.Join(err, l.UDP.Close())
	}
	if l.TCP, err = config.Listen(ctx, "tcp4", tcp); err != nil {
		return l, errors.Join(err, l.UDP.Close())
	}
	if l.WS, err = config.Listen(ctx, "tcp4", ws); err != nil {
		return l, errors.Join(err, l.UDP.Close(), l.TCP.Close())
	}
	return l, nil
}

// Echo sends back whatever arrives until ctx ends: each datagram, each read
// of a TCP stream, each frame of a WebSocket. What begins with INVITE is sent
// back twice, so that the six messages a call brings to a server make the
// seven that it takes away.
func Echo(ctx context.Context, l Listeners) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 3)
	go func() { ended <- echoUDP(l.UDP) }()
	go func() { ended <- accept(l.TCP, echoTCP) }()
	go func() { ended <- accept(l.WS, echoWS) }()
	context.AfterFunc(ctx, func() {
		l.UDP.Close()
		l.TCP.Close()
		l.WS.Close()
	})
	err := <-ended
	stop()
	<-ended
	<-ended
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// bufferSize holds the largest message of the benchmark.
const bufferSize = 16 << 10

func times(message []byte) int {
	if bytes.HasPrefix(message, []byte("INVITE ")) {
		return 2
	}
	return 1
}

func echoUDP(c *net.UDPConn) error {
	buf := make([]byte, bufferSize)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		for range times(buf[:n]) {
			if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return err
			}
		}
	}
}

// accept serves each connection on a goroutine that ends with it.
func accept(l net.Listener, serve func(net.Conn) error) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := serve(c); err != nil && !errors.Is(err, io.EOF) {
				fmt.Println("floor:", err)
			}
		}()
	}
}

func echoTCP(c net.Conn) error {
	buf := make([]byte, bufferSize)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		for range times(buf[:n]) {
			if _, err := c.Write(buf[:n]); err != nil {
				return err
			}
		}
	}
}

// echoWS does the handshake and then only what each frame needs: unmask, and
// write with a header of its own (RFC 6455 §5).
func echoWS(c net.Conn) error {
	in := bufio.NewReaderSize(c, bufferSize)
	request, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if _, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: sip\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:])); err != nil {
		return err
	}
	buf := make([]byte, 4+bufferSize)
	for {
		frame, err := readFrame(in, buf)
		if err != nil {
			return err
		}
		for range times(frame[headerOf(frame):]) {
			if _, err := c.Write(frame); err != nil {
				return err
			}
		}
	}
}

// headerOf is the length of an unmasked frame's header.
func headerOf(frame []byte) int {
	if frame[1] == 126 {
		return 4
	}
	return 2
}

// readFrame reads one masked frame and returns it as an unmasked one, made
// within buf.
func readFrame(in *bufio.Reader, buf []byte) ([]byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, err
	}
	size, n := 2, int(head[1]&0x7f)
	if n == 126 {
		if head, err = in.Peek(4); err != nil {
			return nil, err
		}
		size, n = 4, int(binary.BigEndian.Uint16(head[2:]))
	}
	if n > bufferSize || head[1]&0x80 == 0 {
		return nil, errors.New("frame too large or not masked")
	}
	frame := buf[:size+n]
	copy(frame, head[:size])
	frame[1] &= 0x7f
	if _, err := in.Discard(size); err != nil {
		return nil, err
	}
	var mask [4]byte
	if _, err := io.ReadFull(in, mask[:]); err != nil {
		return nil, err
	}
	payload := frame[size:]
	if _, err := io.ReadFull(in, payload); err != nil {
		return nil, err
	}
	wide := uint64(binary.LittleEndian.Uint32(mask[:])) * (1<<32 + 1)
	i := 0
	for ; i+8 <= len(payload); i += 8 {
		binary.LittleEndian.PutUint64(payload[i:], binary.LittleEndian.Uint64(payload[i:])^wide)
	}
	for ; i < len(payload); i++ {
		payload[i] ^= mask[i&3]
	}
	return frame, nil
}
