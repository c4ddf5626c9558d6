package migrations_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/sipway/sipway/migrations"

	_ "modernc.org/sqlite"
)

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "sipway.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestUp(t *testing.T) {
	db := open(t)
	before, err := migrations.Get(t.Context(), migrations.SQLite, db)
	if err != nil || before.Current != 0 || before.Target < 1 {
		t.Fatalf("empty database: %+v, %v", before, err)
	}
	for range 2 { // the second time there is nothing to do
		if err := migrations.Up(t.Context(), migrations.SQLite, db); err != nil {
			t.Fatal(err)
		}
	}
	after, err := migrations.Get(t.Context(), migrations.SQLite, db)
	if err != nil || after.Current != before.Target || after.Target != before.Target {
		t.Errorf("after Up: %+v, %v, want version %d", after, err, before.Target)
	}
	if _, err := db.ExecContext(t.Context(), `INSERT INTO user VALUES ('d', 'n', '', '', '')`); err != nil {
		t.Error(err)
	}
}

func TestNewerIsRefused(t *testing.T) {
	db := open(t)
	if err := migrations.Up(t.Context(), migrations.SQLite, db); err != nil {
		t.Fatal(err)
	}
	_, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), migrations.SQLite, db); !errors.Is(err, migrations.ErrNewer) {
		t.Errorf("Up: %v, want %v", err, migrations.ErrNewer)
	}
}

func TestUnknownDialect(t *testing.T) {
	if err := migrations.Up(t.Context(), "oracle", open(t)); err == nil {
		t.Error("migrated a database of unknown kind")
	}
}

// The files are numbered from 1 without a gap, five digits wide, so that they sort.
func TestNames(t *testing.T) {
	for _, dialect := range []migrations.Dialect{migrations.SQLite, migrations.Postgres} {
		files, err := fs.Glob(os.DirFS("."), string(dialect)+"/*")
		if err != nil || len(files) == 0 {
			t.Fatalf("%v, %v", files, err)
		}
		name := regexp.MustCompile(`^[a-z]+/(\d{5})_[a-z0-9_]+\.sql$`)
		for i, file := range files {
			want := fmt.Sprintf("%05d", i+1)
			if m := name.FindStringSubmatch(file); m == nil || m[1] != want {
				t.Errorf("%s is not number %s", file, want)
			}
		}
	}
}
