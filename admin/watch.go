package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// Event is something that happened to a registration. The names are fixed: scripts read them.
type Event struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`
	AOR   string    `json:"aor,omitempty"`

	// Registration is the one that there is now, or was last; absent in EventChanged and
	// EventLost.
	Registration *Registration `json:"registration,omitempty"`

	// Lost is how many events were left out, in EventLost.
	Lost int `json:"lost,omitempty"`
}

// What can happen.
const (
	EventAdded        = "added"
	EventRefreshed    = "refreshed"
	EventUnregistered = "unregistered" // by its user agent
	EventReplaced     = "replaced"     // by another one of the same client
	EventDropped      = "dropped"      // to make room for a new one
	EventExpired      = "expired"
	EventFlowClosed   = "flow_closed" // with its connection
	EventNodeGone     = "node_gone"   // with the node that had its connection
	EventRemoved      = "removed"     // by the operator
	EventChanged      = "changed"     // by another node or program: no more is known
	EventLost         = "lost"        // more happened than the reader took
)

// watching is a reader's end of [Live.Watch].
type watching struct {
	w       http.ResponseWriter
	control *http.ResponseController
	enc     *json.Encoder
}

const (
	// keepalive is how often a stream without events has an empty line, so that both ends
	// notice when the other one has gone.
	keepalive = 15 * time.Second
	// watchWrite bounds how long a reader may take nothing.
	watchWrite = 10 * time.Second
)

// watch streams events as lines of JSON until the reader goes or the server ends.
func (s *Server) watch(live Live) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := parseQuery(r.URL.Query())
		if err == nil && (q.Sort != "" || q.Limit != 0 || q.After != "" || q.Expiring != 0) {
			err = BadRequest(errors.New("sort, limit, after and expiring are for lists"))
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.ending, cancel)()
		events, err := live.Watch(ctx, q)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		out := &watching{w: w, control: http.NewResponseController(w), enc: json.NewEncoder(w)}
		out.enc.SetEscapeHTML(false)
		// An error is the end of the one who asked.
		_ = out.stream(events)
	}
}

func (o *watching) stream(events <-chan Event) error {
	ticker := time.NewTicker(keepalive)
	defer ticker.Stop()
	if err := o.flush(); err != nil { // the header says that nothing is missed from now on
		return err
	}
	for {
		var err error
		select {
		case e, more := <-events:
			if !more {
				return nil
			}
			err = o.send(e, events)
		case <-ticker.C:
			_, err = io.WriteString(o.w, "\n")
		}
		if err == nil {
			err = o.flush()
		}
		if err != nil {
			return err
		}
	}
}

// send writes an event and those that wait behind it.
func (o *watching) send(e Event, events <-chan Event) error {
	for more := true; more; {
		if err := o.enc.Encode(e); err != nil {
			return err
		}
		select {
		case e, more = <-events:
		default:
			return nil
		}
	}
	return nil
}

func (o *watching) flush() error {
	if err := o.control.SetWriteDeadline(time.Now().Add(watchWrite + keepalive)); err != nil {
		return err
	}
	return o.control.Flush()
}

// Watch implements [Live]. The channel is closed when ctx ends or the way to the server breaks.
func (c *Client) Watch(ctx context.Context, q Query) (<-chan Event, error) {
	ctx, cancel := context.WithCancel(ctx)
	resp, err := c.do(ctx, http.MethodGet, "/registrations/watch", q.values(), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	events := make(chan Event)
	go func() {
		defer cancel()
		defer close(events)
		defer resp.Body.Close()
		silent := time.AfterFunc(2*keepalive, cancel)
		defer silent.Stop()
		lines := bufio.NewReader(resp.Body)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			silent.Reset(2 * keepalive)
			var e Event
			if len(line) == 1 || json.Unmarshal(line, &e) != nil {
				continue
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}
