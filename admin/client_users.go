package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sipway/sipway/store"
)

// Users are the users of the server that the client asks. It shows no hashes of them.
type Users struct{ *Client }

var _ store.Users = Users{}

func (u *User) user() store.User { return store.User{Name: u.Name, Domain: u.Domain} }

// User implements [store.Users].
func (c Users) User(ctx context.Context, name, domain string) (store.User, error) {
	var u User
	err := c.call(ctx, http.MethodGet, userPath(name, domain), nil, nil, &u)
	return u.user(), err
}

// PutUsers implements [store.Users]. Of several they are an import.
func (c Users) PutUsers(ctx context.Context, users []store.User, mode store.PutMode) error {
	if len(users) != 1 {
		_, err := c.ImportUsers(ctx, each(users), mode, nil)
		return err
	}
	u := &users[0]
	v := url.Values{"mode": {modeName(mode)}}
	body := newUser{HA1: (*secrets)(&u.HA1)}
	return c.call(ctx, http.MethodPut, userPath(u.Name, u.Domain), v, body, new(User))
}

func each(users []store.User) iter.Seq2[store.User, error] {
	return func(yield func(store.User, error) bool) {
		for _, u := range users {
			if !yield(u, nil) {
				return
			}
		}
	}
}

// DeleteUser implements [store.Users].
func (c Users) DeleteUser(ctx context.Context, name, domain string) error {
	return c.call(ctx, http.MethodDelete, userPath(name, domain), nil, nil, new(struct{}))
}

// ListUsers implements [store.Users].
func (c Users) ListUsers(ctx context.Context, after store.UserID, limit int) ([]store.User, error) {
	v := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != (store.UserID{}) {
		v.Set("after", after.String())
	}
	var page userPage
	if err := c.call(ctx, http.MethodGet, "/users", v, nil, &page); err != nil {
		return nil, err
	}
	users := make([]store.User, len(page.Users))
	for i := range page.Users {
		users[i] = page.Users[i].user()
	}
	return users, nil
}

// ImportUsers implements [store.Users]. The users are sent as they come.
func (c Users) ImportUsers(ctx context.Context, users iter.Seq2[store.User, error], mode store.PutMode, progress func(read int)) (int, error) {
	body, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := encodeUsers(w, users, progress)
		w.CloseWithError(err)
		sent <- err
	}()
	var reply importReply
	resp, err := c.do(ctx, http.MethodPost, "/users", url.Values{"mode": {modeName(mode)}}, body)
	body.Close() // so that the sender ends, whatever the server did
	broken := <-sent
	if err != nil {
		if bad, ok := broken.(sequenceError); ok {
			return 0, bad.error
		}
		return 0, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&reply)
	return reply.Imported, err
}

// sequenceError is an error of the one who gives the users, not of the way to the server.
type sequenceError struct{ error }

func encodeUsers(w io.Writer, users iter.Seq2[store.User, error], progress func(read int)) error {
	enc := json.NewEncoder(w)
	n := 0
	for u, err := range users {
		if err != nil {
			return sequenceError{fmt.Errorf("import: %w", err)}
		}
		if err := enc.Encode(newUser{Name: u.Name, Domain: u.Domain, HA1: (*secrets)(&u.HA1)}); err != nil {
			return err
		}
		if n++; progress != nil && n%store.ImportStep == 0 {
			progress(n)
		}
	}
	return nil
}

func userPath(name, domain string) string {
	return "/users/" + url.PathEscape(name+"@"+domain)
}
