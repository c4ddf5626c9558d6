package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/admin"
	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store"
)

func (a *app) userShowCommand() *cobra.Command {
	var asJSON bool
	cmd := a.onUser(&cobra.Command{
		Use:   "show NAME@DOMAIN",
		Short: "Show a user",
	}, false, func(cmd *cobra.Command, st store.Users, id store.UserID) error {
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
	s.admin(cmd)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many (0: all)")
	cmd.Flags().StringVar(&after, "after", "", "begin behind this NAME@DOMAIN")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.withUsers(cmd, false, func(cfg *config.Config, st store.Users) error {
			if after != "" {
				id, err := parseUser(after, cfg.Domains)
				if err != nil {
					return err
				}
				after = id.String()
			}
			return a.printUsers(asJSON, func(print func(*store.User) error) error {
				next := func(after string, n int) ([]store.User, string, error) { return userPage(cmd.Context(), st, after, n) }
				rest, err := walk(after, limit, page, next, print)
				if rest != "" {
					a.more(rest)
				}
				return err
			})
		})
	}
	return cmd
}

// userPage returns up to n users behind one, and the last of them if there are more.
func userPage(ctx context.Context, st store.Users, after string, n int) (users []store.User, rest string, err error) {
	var from store.UserID
	if at := strings.LastIndexByte(after, '@'); at >= 0 {
		from = store.UserID{Name: after[:at], Domain: after[at+1:]}
	}
	users, err = st.ListUsers(ctx, from, n+1)
	if len(users) > n {
		users = users[:n]
		rest = users[n-1].ID().String()
	}
	return users, rest, err
}

// printUsers prints the users that walk hands to its argument.
func (a *app) printUsers(asJSON bool, walk func(print func(*store.User) error) error) error {
	if asJSON {
		enc := a.jsonLines()
		return walk(func(u *store.User) error { return enc.Encode(admin.NewUser(u)) })
	}
	t := a.newTable("no users", "USER", "ALGORITHMS")
	if err := walk(func(u *store.User) error {
		j := admin.NewUser(u)
		return t.row(j.User, strings.Join(j.Algorithms, ", "))
	}); err != nil {
		return err
	}
	return t.end()
}

// page is how many items are taken from the store at a time.
const page = 1000

// walk hands the items behind a place to visit, up to limit (0: all), a page of that size at a time.
// next returns up to n items, and the place of the last if there are more. So does walk.
func walk[T any](after string, limit, size int, next func(after string, n int) ([]T, string, error), visit func(*T) error) (rest string, err error) {
	for left := limit; ; {
		n := size
		if limit > 0 {
			n = min(n, left)
		}
		items, rest, err := next(after, n)
		if err != nil {
			return "", err
		}
		for i := range items {
			if err := visit(&items[i]); err != nil {
				return "", err
			}
		}
		left -= len(items)
		if rest == "" || limit > 0 && left <= 0 {
			return rest, nil
		}
		after = rest
	}
}

// more tells a person how to go on with a list.
func (a *app) more(place string) {
	fmt.Fprintf(a.err, "there are more: --after '%s'\n", strings.ReplaceAll(printable(place), "'", `'\''`))
}
