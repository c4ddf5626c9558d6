package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client asks a running server. It is safe for concurrent use.
type Client struct {
	addr  string
	base  string
	token string
	http  *http.Client
}

var _ Live = (*Client)(nil)

// dialTimeout bounds how long a server is waited for that takes no connection.
const dialTimeout = 5 * time.Second

// Access is how a client gets past the guard of an admin address.
type Access struct {
	Token string         // "" for none
	Roots *x509.CertPool // who vouches for a server that is not on this machine; nil: the system's
}

// NewClient returns a client of the server whose admin address is addr: host:port, unix:PATH, or https://host:port
// for one on this machine that listens beyond it.
func NewClient(addr string, access Access) *Client {
	c := &Client{addr: addr, base: "http://" + addr, token: access.Token}
	if host, ok := strings.CutPrefix(addr, "https://"); ok || !onThisMachine(addr) {
		addr = host
		c.base = "https://" + addr
	}
	network, at := "tcp", addr
	if path, ok := socketPath(addr); ok {
		c.base, network, at = "http://localhost", "unix", path
	}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: dialTimeout}
			return d.DialContext(ctx, network, at)
		},
		TLSClientConfig:     &tls.Config{RootCAs: access.Roots},
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}}
	return c
}

// Addr returns the address of the server.
func (c *Client) Addr() string { return c.addr }

// Close closes the connections that are not in use.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Alive returns nil if a server answers at the address.
func (c *Client) Alive(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodGet, "/healthz", nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// List implements [Registrations].
func (c *Client) List(ctx context.Context, q Query) (page Page, err error) {
	err = c.call(ctx, http.MethodGet, "/registrations", q.values(), nil, &page)
	return page, err
}

// Count implements [Registrations].
func (c *Client) Count(ctx context.Context, q Query) (int, error) {
	var reply countReply
	err := c.call(ctx, http.MethodGet, "/registrations/count", q.values(), nil, &reply)
	return reply.Count, err
}

// Show implements [Registrations].
func (c *Client) Show(ctx context.Context, aor string) ([]Registration, error) {
	var page Page
	err := c.call(ctx, http.MethodGet, "/registrations/"+url.PathEscape(aor), nil, nil, &page)
	return page.Registrations, err
}

// Remove implements [Registrations].
func (c *Client) Remove(ctx context.Context, aor, contact string, kick bool) ([]Removal, error) {
	v := url.Values{}
	if contact != "" {
		v.Set("contact", contact)
	}
	if kick {
		v.Set("kick", "true")
	}
	var reply removalReply
	err := c.call(ctx, http.MethodDelete, "/registrations/"+url.PathEscape(aor), v, nil, &reply)
	return reply.Removed, err
}

// Ping implements [Live], within the time that is left to ctx, or else that of the server.
func (c *Client) Ping(ctx context.Context, aor string) ([]Pong, error) {
	v := url.Values{}
	if until, ok := ctx.Deadline(); ok {
		v.Set("timeout", time.Until(until).String())
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), until.Add(answerTime))
		defer cancel()
	}
	var reply pingReply
	err := c.call(ctx, http.MethodPost, "/registrations/"+url.PathEscape(aor)+"/ping", v, nil, &reply)
	return reply.Pings, err
}

// answerTime is how much longer than its pings a server's answer may take.
const answerTime = 5 * time.Second

// call sends a request with a JSON body, unless that is nil, and reads the answer into reply.
func (c *Client) call(ctx context.Context, method, path string, v url.Values, body, reply any) error {
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(text)
	}
	resp, err := c.do(ctx, method, path, v, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(reply); err != nil {
		return fmt.Errorf("%s: bad answer: %w", c.addr, err)
	}
	return nil
}

// maxError bounds what is read of an error's body.
const maxError = 64 << 10

// do sends a request. The response is one of success, and its body to be closed.
func (c *Client) do(ctx context.Context, method, path string, v url.Values, body io.Reader) (*http.Response, error) {
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
			return nil, described{fmt.Sprintf("no server answers at %s: %v", c.addr, e.Err), ErrNoServer}
		}
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		return nil, err
	}
	return nil, decodeError(resp.StatusCode, text)
}
