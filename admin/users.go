package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/store"
)

// User is somebody who may register. The hashes are secrets and stay in the store.
type User struct {
	User       string   `json:"user"` // NAME@DOMAIN
	Name       string   `json:"name"`
	Domain     string   `json:"domain"`
	Algorithms []string `json:"algorithms"`
}

// NewUser describes a user.
func NewUser(u *store.User) User {
	j := User{User: u.ID().String(), Name: u.Name, Domain: u.Domain, Algorithms: []string{}}
	if u.HA1.SHA512256 != "" {
		j.Algorithms = append(j.Algorithms, digest.SHA512256.String())
	}
	if u.HA1.SHA256 != "" {
		j.Algorithms = append(j.Algorithms, digest.SHA256.String())
	}
	if u.HA1.MD5 != "" {
		j.Algorithms = append(j.Algorithms, digest.MD5.String())
	}
	return j
}

// userPage is the body of /users.
type userPage struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitempty"`
}

// secrets are what a user proves to know: H(A1) of each algorithm, in hex.
type secrets struct {
	MD5       string `json:"MD5,omitempty"`
	SHA256    string `json:"SHA-256,omitempty"`
	SHA512256 string `json:"SHA-512-256,omitempty"`
}

// newUser is a user as a client sends one.
type newUser struct {
	Name     string   `json:"name,omitempty"` // of an import; else in the path
	Domain   string   `json:"domain,omitempty"`
	Password string   `json:"password,omitempty"`
	HA1      *secrets `json:"ha1,omitempty"`
}

// user returns what the store keeps.
func (n *newUser) user(id store.UserID) (store.User, error) {
	u := store.User{Name: id.Name, Domain: id.Domain}
	switch {
	case id.Name == "" || id.Domain == "":
		return u, BadRequest(fmt.Errorf("%q: expects NAME@DOMAIN", id))
	case n.Password != "" && n.HA1 == nil:
		u.HA1.MD5 = digest.HA1(digest.MD5, id.Name, id.Domain, n.Password)
		u.HA1.SHA256 = digest.HA1(digest.SHA256, id.Name, id.Domain, n.Password)
		u.HA1.SHA512256 = digest.HA1(digest.SHA512256, id.Name, id.Domain, n.Password)
	case n.Password == "" && n.HA1 != nil && n.HA1.valid():
		u.HA1 = store.HA1(*n.HA1)
	default:
		return u, BadRequest(fmt.Errorf("user %s: expects a password, or ha1 with hashes in lower-case hex", id))
	}
	return u, nil
}

func (s *secrets) valid() bool {
	return validHash(s.MD5, 32) && validHash(s.SHA256, 64) && validHash(s.SHA512256, 64) && *s != secrets{}
}

func validHash(s string, size int) bool {
	return s == "" || len(s) == size && strings.Trim(s, "0123456789abcdef") == ""
}

// routeUsers serves the users.
func (s *Server) routeUsers(mux *http.ServeMux) {
	if s.cfg.Users == nil {
		return
	}
	mux.HandleFunc("GET /users", s.listUsers)
	mux.HandleFunc("POST /users", s.importUsers)
	mux.HandleFunc("GET /users/{user}", func(w http.ResponseWriter, r *http.Request) {
		id, err := userID(r.PathValue("user"))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		u, err := s.cfg.Users.User(r.Context(), id.Name, id.Domain)
		s.reply(w, r, NewUser(&u), noUser(id, err))
	})
	mux.HandleFunc("PUT /users/{user}", s.putUser)
	mux.HandleFunc("DELETE /users/{user}", func(w http.ResponseWriter, r *http.Request) {
		id, err := userID(r.PathValue("user"))
		if err == nil {
			err = noUser(id, s.cfg.Users.DeleteUser(r.Context(), id.Name, id.Domain))
		}
		s.reply(w, r, struct{}{}, err)
	})
}

func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q, err := parseQuery(v)
	var after store.UserID
	if err == nil && q.After != "" {
		after, err = userID(q.After)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	limit := pageSize(q.Limit)
	users, err := s.cfg.Users.ListUsers(r.Context(), after, limit+1)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	page := userPage{Users: []User{}}
	if len(users) > limit {
		users = users[:limit]
		page.Next = users[limit-1].ID().String()
	}
	for i := range users {
		page.Users = append(page.Users, NewUser(&users[i]))
	}
	s.reply(w, r, page, nil)
}

// maxUserBody bounds the body that describes one user.
const maxUserBody = 64 << 10

func (s *Server) putUser(w http.ResponseWriter, r *http.Request) {
	id, err := userID(r.PathValue("user"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	mode, err := putMode(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var n newUser
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxUserBody)).Decode(&n); err != nil {
		s.fail(w, r, BadRequest(fmt.Errorf("body: %w", err)))
		return
	}
	u, err := n.user(id)
	if err == nil {
		err = s.cfg.Users.PutUsers(r.Context(), []store.User{u}, mode)
	}
	s.reply(w, r, NewUser(&u), err)
}

type importReply struct {
	Imported int `json:"imported"`
}

// importUsers reads the users while the store takes them.
func (s *Server) importUsers(w http.ResponseWriter, r *http.Request) {
	mode, err := putMode(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	// A million users take their time. The client ends it when it wants.
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
		s.fail(w, r, err)
		return
	}
	n, err := s.cfg.Users.ImportUsers(r.Context(), decodeUsers(r.Body), mode, nil)
	s.reply(w, r, importReply{n}, err)
}

// decodeUsers reads a user from each line.
func decodeUsers(body io.Reader) iter.Seq2[store.User, error] {
	return func(yield func(store.User, error) bool) {
		d := json.NewDecoder(body)
		for line := 1; ; line++ {
			var n newUser
			err := d.Decode(&n)
			if errors.Is(err, io.EOF) {
				return
			}
			var u store.User
			if err != nil {
				err = BadRequest(err)
			} else {
				u, err = n.user(store.UserID{Name: n.Name, Domain: n.Domain})
			}
			if err != nil {
				err = fmt.Errorf("user %d of the import: %w", line, err)
			}
			if !yield(u, err) || err != nil {
				return
			}
		}
	}
}

func userID(s string) (store.UserID, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 {
		return store.UserID{}, BadRequest(fmt.Errorf("user %q: expects NAME@DOMAIN", s))
	}
	return store.UserID{Name: s[:at], Domain: s[at+1:]}, nil
}

func noUser(id store.UserID, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return described{"there is no user " + id.String(), err}
	}
	return err
}

func putMode(r *http.Request) (store.PutMode, error) {
	switch mode := r.URL.Query().Get("mode"); mode {
	case "add", "":
		return store.Add, nil
	case "replace":
		return store.Upsert, nil
	default:
		return 0, BadRequest(errors.New("mode: expects add or replace, not " + strconv.Quote(mode)))
	}
}

func modeName(mode store.PutMode) string {
	if mode == store.Upsert {
		return "replace"
	}
	return "add"
}
