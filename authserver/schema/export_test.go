package schema

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// UpCalling is Up, which calls point before and after each call that golang-migrate makes of the
// driver.
func UpCalling(databaseName string, set func(dialect string) (fs.FS, error), table string, point func()) (err error) {
	dialect, db, err := open(databaseName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	point()
	content, err := set(dialect)
	if err != nil {
		return err
	}
	source, err := iofs.New(content, ".")
	if err != nil {
		return err
	}
	d, err := newDriver(context.Background(), dialect, db, table, content)
	if err != nil {
		return err
	}
	point()
	if err := d.resume(); err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("embedded", source, dialect, &calling{d, point})
	if err != nil {
		return err
	}
	if err := explain(m.Up()); err != nil {
		return err
	}
	point()
	return d.adopt(context.Background())
}

type calling struct {
	*driver
	point func()
}

func (c *calling) SetVersion(version int, dirty bool) error {
	c.point()
	defer c.point()
	return c.driver.SetVersion(version, dirty)
}

func (c *calling) Run(migration io.Reader) error {
	c.point()
	defer c.point()
	return c.driver.Run(migration)
}

// MarkDirty leaves the database as a program did that was killed while it applied the version.
func MarkDirty(databaseName string, set func(dialect string) (fs.FS, error), table string, version int) error {
	return with(context.Background(), databaseName, set, table, func(s *session) error {
		return s.driver.Driver.SetVersion(version, true)
	})
}
