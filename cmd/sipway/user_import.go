package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipway/sipway/cmd/sipway/config"
	"github.com/sipway/sipway/store"
)

func (a *app) userImportCommand() *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add the users of a CSV file, all or none",
		Long: `Import adds the users of a CSV file with the fields user, domain and password; a first
line that says "user,domain,password" is a header. A FILE of - is standard input.

All users are added, or none if any line is wrong or any user exists already.`,
		Args: arguments(cobra.ExactArgs(1)),
	}
	s := a.newSettings(cmd)
	s.admin(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "give users that exist already the password of the file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, name, size, err := a.openInput(args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		mode := store.Add
		if replace {
			mode = store.Upsert
		}
		return s.withUsers(cmd, true, func(_ *config.Config, st store.Users) error {
			n, err := importUsers(cmd.Context(), st, in, name, mode, newProgress(a.err, size))
			if err != nil {
				return fmt.Errorf("nothing imported: %w", err)
			}
			_, err = fmt.Fprintf(a.out, "%d users imported\n", n)
			return err
		})
	}
	return cmd
}

// openInput opens a file, or standard input for "-". The size is 0 where it is not known.
func (a *app) openInput(path string) (in io.ReadCloser, name string, size int64, err error) {
	if path == "-" {
		return io.NopCloser(a.in), "standard input", 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", 0, usageError{err}
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, path, size, nil
}

// loadUsersFile gives the store the users of a file that the configuration names.
func loadUsersFile(ctx context.Context, st store.Users, path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("users_file: %w", err)
	}
	defer f.Close()
	n, err := importUsers(ctx, st, f, path, store.Upsert, nil)
	if err != nil {
		return 0, fmt.Errorf("users_file: %w", err)
	}
	return n, nil
}

// importUsers stores all users of a CSV text, or none. The progress may be nil.
func importUsers(ctx context.Context, st store.Users, in io.Reader, name string, mode store.PutMode, p *progress) (int, error) {
	if p == nil {
		return st.ImportUsers(ctx, readUsers(in, name), mode, nil)
	}
	defer p.end()
	return st.ImportUsers(ctx, readUsers(p.reader(in), name), mode, p.show)
}

// readUsers reads lines of user,domain,password. Errors name the line; the first one is the last
// item.
func readUsers(in io.Reader, name string) iter.Seq2[store.User, error] {
	return func(yield func(store.User, error) bool) {
		r := csv.NewReader(withoutMark(in))
		r.FieldsPerRecord = -1 // counted below, for an error that says what is expected
		r.ReuseRecord = true
		r.Comment = '#'
		for first := true; ; first = false {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(store.User{}, csvError(name, err))
				return
			}
			if first && isHeader(record) {
				continue
			}
			u, err := userOf(record)
			if err != nil {
				line, _ := r.FieldPos(0)
				err = fmt.Errorf("%s:%d: %w", name, line, err)
			}
			if !yield(u, err) || err != nil {
				return
			}
		}
	}
}

func userOf(record []string) (store.User, error) {
	if len(record) != 3 {
		return store.User{}, fmt.Errorf("expects user,domain,password, not %d fields", len(record))
	}
	id, err := checkUser(strings.Clone(strings.TrimSpace(record[0])), strings.TrimSpace(record[1]))
	if err != nil {
		return store.User{}, err
	}
	if record[2] == "" {
		return store.User{}, errors.New("empty password")
	}
	return newUser(id, record[2]), nil
}

// isHeader reports whether a record names the fields.
func isHeader(record []string) bool {
	return len(record) == 3 &&
		(strings.EqualFold(record[0], "user") || strings.EqualFold(record[0], "username")) &&
		strings.EqualFold(record[1], "domain") && strings.EqualFold(record[2], "password")
}

// csvError puts the place of a syntax error first and leaves out the line's text, which has a
// password in it.
func csvError(name string, err error) error {
	if pe, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("%s:%d: column %d: %w", name, pe.Line, pe.Column, pe.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// withoutMark skips the byte order mark that spreadsheet programs put in front.
func withoutMark(in io.Reader) io.Reader {
	mark := []byte("\ufeff")
	head := make([]byte, len(mark))
	n, err := io.ReadFull(in, head)
	if head = head[:n]; bytes.Equal(head, mark) {
		head = nil
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.MultiReader(bytes.NewReader(head), failing{err})
	}
	return io.MultiReader(bytes.NewReader(head), in)
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
