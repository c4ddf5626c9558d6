package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/sip/digest"
	"github.com/sipway/sipway/store"
)

func (a *app) userCommand() *cobra.Command {
	cmd := group("user", "Manage who may register",
		a.userAddCommand(), a.userListCommand(), a.userShowCommand(), a.userPasswdCommand(), a.userRemoveCommand(), a.userImportCommand())
	cmd.Long = `The commands below work on the store that --store or the configuration names, beside a running
server if there is one; with --admin, or where the store is memory:, they ask the server.`
	return cmd
}

// newUser returns the user with the hashes of the password for its domain, which is the digest
// realm. The password itself is never stored.
func newUser(id store.UserID, password string) store.User {
	return store.User{Name: id.Name, Domain: id.Domain, HA1: store.HA1{
		MD5:       digest.HA1(digest.MD5, id.Name, id.Domain, password),
		SHA256:    digest.HA1(digest.SHA256, id.Name, id.Domain, password),
		SHA512256: digest.HA1(digest.SHA512256, id.Name, id.Domain, password),
	}}
}

// parseUser reads NAME@DOMAIN. Where the configuration has one domain only, NAME is enough.
func parseUser(s string, domains []config.Domain) (store.UserID, error) {
	name, domain := s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		name, domain = s[:at], s[at+1:]
	} else if len(domains) == 1 {
		domain = string(domains[0])
	}
	id, err := checkUser(name, domain)
	if err != nil {
		return id, usageError{fmt.Errorf("%q: %w", s, err)}
	}
	return id, nil
}

// checkUser returns the id of a user whose name and domain can be used.
func checkUser(name, domain string) (store.UserID, error) {
	switch {
	case name == "":
		return store.UserID{}, errors.New("user without a name")
	case domain == "":
		return store.UserID{}, errors.New("user without a domain, expects NAME@DOMAIN")
	case strings.ContainsRune(name, ':'):
		// RFC 7616 §3.4.2: the colon ends the name in what is hashed.
		return store.UserID{}, errors.New("a user name can't have a colon")
	case strings.ContainsFunc(name, unicode.IsControl):
		return store.UserID{}, errors.New("a user name can't have control characters")
	}
	var d config.Domain
	if err := d.UnmarshalText([]byte(domain)); err != nil {
		return store.UserID{}, err
	}
	return store.UserID{Name: name, Domain: string(d)}, nil
}

// onUser adds the flags of a command on one user, which runs f with the store and the user.
func (a *app) onUser(cmd *cobra.Command, create bool, f func(cmd *cobra.Command, st store.Users, id store.UserID) error) *cobra.Command {
	s := a.newSettings(cmd)
	s.admin(cmd)
	cmd.Args = arguments(cobra.ExactArgs(1))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.withUsers(cmd, create, func(cfg *config.Config, st store.Users) error {
			id, err := parseUser(args[0], cfg.Domains)
			if err != nil {
				return err
			}
			err = f(cmd, st, id)
			switch {
			case errors.Is(err, store.ErrNotFound):
				return describedError{"there is no user " + id.String(), err}
			case errors.Is(err, store.ErrExists):
				return describedError{"user " + id.String() + " exists already, see sipway user passwd", err}
			}
			return err
		})
	}
	return cmd
}

func (a *app) userAddCommand() *cobra.Command {
	var fromStdin bool
	cmd := a.onUser(&cobra.Command{
		Use:   "add NAME@DOMAIN",
		Short: "Add a user, asking for the password",
	}, true, func(cmd *cobra.Command, st store.Users, id store.UserID) error {
		// Better than after the password was typed twice.
		if _, err := st.User(cmd.Context(), id.Name, id.Domain); err == nil {
			return store.ErrExists
		}
		password, err := a.readPassword(id, fromStdin)
		if err != nil {
			return err
		}
		if err := st.PutUsers(cmd.Context(), []store.User{newUser(id, password)}, store.Add); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s added\n", id)
		return err
	})
	passwordFlag(cmd, &fromStdin)
	return cmd
}

func (a *app) userPasswdCommand() *cobra.Command {
	var fromStdin bool
	cmd := a.onUser(&cobra.Command{
		Use:   "passwd NAME@DOMAIN",
		Short: "Change a user's password, asking for it",
	}, false, func(cmd *cobra.Command, st store.Users, id store.UserID) error {
		if _, err := st.User(cmd.Context(), id.Name, id.Domain); err != nil {
			return err
		}
		password, err := a.readPassword(id, fromStdin)
		if err != nil {
			return err
		}
		if err := st.PutUsers(cmd.Context(), []store.User{newUser(id, password)}, store.Upsert); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "password of %s changed\n", id)
		return err
	})
	passwordFlag(cmd, &fromStdin)
	return cmd
}

func (a *app) userRemoveCommand() *cobra.Command {
	return a.onUser(&cobra.Command{
		Use:     "rm NAME@DOMAIN",
		Aliases: []string{"remove"},
		Short:   "Remove a user; registrations last until they expire",
	}, false, func(cmd *cobra.Command, st store.Users, id store.UserID) error {
		if err := st.DeleteUser(cmd.Context(), id.Name, id.Domain); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, "%s removed\n", id)
		return err
	})
}
