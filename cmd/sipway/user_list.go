package main

import (
	"context"
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
		return a.userPrinter(asJSON).all([]admin.User{admin.NewUser(&u)})
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
			return a.userPrinter(asJSON).list(a, paging[admin.User]{after, limit, page, func(after string, n int) ([]admin.User, string, error) {
				return userPage(cmd.Context(), st, after, n)
			}})
		})
	}
	return cmd
}

// userPage returns up to n users behind one, and the last of them if there are more.
func userPage(ctx context.Context, st store.Users, after string, n int) (page []admin.User, rest string, err error) {
	var from store.UserID
	if at := strings.LastIndexByte(after, '@'); at >= 0 {
		from = store.UserID{Name: after[:at], Domain: after[at+1:]}
	}
	users, err := st.ListUsers(ctx, from, n+1)
	if len(users) > n {
		users = users[:n]
		rest = users[n-1].ID().String()
	}
	for i := range users {
		page = append(page, admin.NewUser(&users[i]))
	}
	return page, rest, err
}

func (a *app) userPrinter(asJSON bool) printer[admin.User] {
	return newPrinter(a, asJSON, a.newTable("no users", "USER", "ALGORITHMS"), func(u *admin.User) []string {
		return []string{u.User, strings.Join(u.Algorithms, ", ")}
	})
}
