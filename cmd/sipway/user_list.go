package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/store"
)

// userJSON is a user as `user list --json` prints it. The hashes are secrets and stay in the store.
type userJSON struct {
	User       string   `json:"user"`
	Name       string   `json:"name"`
	Domain     string   `json:"domain"`
	Algorithms []string `json:"algorithms"`
}

func toUserJSON(u *store.User) userJSON {
	j := userJSON{User: u.ID().String(), Name: u.Name, Domain: u.Domain, Algorithms: []string{}}
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

func (a *app) userShowCommand() *cobra.Command {
	var asJSON bool
	cmd := a.onUser(&cobra.Command{
		Use:   "show NAME@DOMAIN",
		Short: "Show a user",
	}, false, func(cmd *cobra.Command, st store.Store, id store.UserID) error {
		u, err := st.User(cmd.Context(), id.Name, id.Domain)
		if err != nil {
			return err
		}
		return a.printUsers(asJSON, func(print func(*store.User) error) error { return print(&u) })
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) userListCommand() *cobra.Command {
	var (
		asJSON bool
		limit  int
		after  string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the users by domain and name",
		Args:  arguments(cobra.NoArgs),
	}
	s := a.newSettings(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many (0: all)")
	cmd.Flags().StringVar(&after, "after", "", "begin behind this NAME@DOMAIN")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.withStore(cmd, false, func(cfg *config.Config, st store.Store) error {
			var from store.UserID
			if after != "" {
				var err error
				if from, err = parseUser(after, cfg.Domains); err != nil {
					return err
				}
			}
			return a.printUsers(asJSON, func(print func(*store.User) error) error {
				next := func(from store.UserID, n int) ([]store.User, error) { return st.ListUsers(cmd.Context(), from, n) }
				last, more, err := walk(from, limit, next, (*store.User).ID, print)
				if more {
					a.more(last.String())
				}
				return err
			})
		})
	}
	return cmd
}

// printUsers prints the users that walk hands to its argument.
func (a *app) printUsers(asJSON bool, walk func(print func(*store.User) error) error) error {
	if asJSON {
		enc := json.NewEncoder(a.out)
		return walk(func(u *store.User) error { return enc.Encode(toUserJSON(u)) })
	}
	t := a.newTable("no users", "USER", "ALGORITHMS")
	if err := walk(func(u *store.User) error {
		j := toUserJSON(u)
		return t.row(j.User, strings.Join(j.Algorithms, ", "))
	}); err != nil {
		return err
	}
	return t.end()
}

// page is how many items are taken from the store at a time.
const page = 1000

// walk hands the items behind a place to visit, up to limit (0: all), a page at a time. It returns
// the place of the last one and whether there are more.
func walk[T any, P any](from P, limit int, next func(from P, n int) ([]T, error), place func(*T) P, visit func(*T) error) (last P, more bool, err error) {
	for left := limit; ; {
		n := page
		if limit > 0 {
			n = min(n, left+1) // one more tells whether there are any
		}
		items, err := next(from, n)
		if err != nil {
			return from, false, err
		}
		for i := range items {
			if limit > 0 && left == 0 {
				return from, true, nil
			}
			left--
			from = place(&items[i])
			if err := visit(&items[i]); err != nil {
				return from, false, err
			}
		}
		if len(items) < n {
			return from, false, nil
		}
	}
}

// more tells a person how to go on with a list.
func (a *app) more(place string) {
	fmt.Fprintf(a.err, "there are more: --after '%s'\n", strings.ReplaceAll(printable(place), "'", `'\''`))
}
