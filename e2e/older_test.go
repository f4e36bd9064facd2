package e2e_test

import (
	"archive/tar"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/testenv"
)

// older is what testdata/older says of the data of an older version: who can still do what with
// them.
type older struct {
	MadeAt              time.Time `json:"made_at"`
	Resource            string    `json:"resource"`
	ClientID            string    `json:"client_id"`
	RefreshToken        string    `json:"refresh_token"`
	RevokedClientID     string    `json:"revoked_client_id"`
	RevokedRefreshToken string    `json:"revoked_refresh_token"`
	Person              string    `json:"person"`
	Password            string    `json:"password"`
	KeyEncryptionKey    string    `json:"key_encryption_key"`
}

// TestDataOfAnOlderVersion starts this version on a data folder and on a PostgreSQL database that
// an older one made: a living grant is renewed, a revoked one stays revoked, a person signs in, and
// both audit chains verify.
func TestDataOfAnOlderVersion(t *testing.T) {
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			var made older
			raw, err := os.ReadFile("testdata/older/" + name + ".json")
			must(t, err)
			must(t, json.Unmarshal(raw, &made))
			dir := t.TempDir()
			unpack(t, "testdata/older/"+name+".tar.gz", dir)
			flags := []string{"--data-dir", dir, "--resource", made.Resource}
			if name == "postgres" {
				database := testenv.Postgres(t)
				restore(t, "testdata/older/postgres.sql.gz", database)
				flags = append(flags, "--database", database, "--key-encryption-key", made.KeyEncryptionKey)
			}
			h := &product{t: t, flags: flags, log: &testenv.Book{}, ahead: time.Until(made.MadeAt.Add(time.Hour))}
			h.start("--issuer-listen", "127.0.0.1:0", "--resource-listen", "127.0.0.1:0")
			t.Cleanup(func() {
				if code := h.stop(); code != 0 {
					t.Errorf("serve ended with exit code %d:\n%s", code, h.log)
				}
			})

			status, answer := renewal(t, h, made.ClientID, made.RefreshToken)
			if status != http.StatusOK || answer["refresh_token"] == nil ||
				!strings.Contains(answer["scope"].(string), "customers:read") {
				t.Fatalf("renewing a living grant: got %d %v", status, answer)
			}
			if status, answer = renewal(t, h, made.ClientID,
				answer["refresh_token"].(string)); status != http.StatusOK {
				t.Errorf("renewing it once more: got %d %v", status, answer)
			}
			if status, answer = renewal(t, h, made.RevokedClientID,
				made.RevokedRefreshToken); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
				t.Errorf("renewing a revoked grant: got %d %v, want 400 invalid_grant", status, answer)
			}
			for _, command := range []struct {
				args []string
				says string
			}{
				{[]string{"audit", "verify"}, "as they were sealed"},
				{[]string{"audit", "list", "--user", made.Person, "--limit", "50"}, made.ClientID},
				{[]string{"grant", "list", "--user", made.Person}, made.ClientID},
			} {
				if code, out := h.operate(command.args...); code != 0 || !strings.Contains(out, command.says) {
					t.Errorf("%v: exit code %d, %s", command.args, code, out)
				}
			}
		})
	}
}

func renewal(t *testing.T, h *product, clientID, refreshToken string) (int, map[string]any) {
	t.Helper()
	r, err := http.PostForm(h.Issuer+"/oauth2/token",
		url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {refreshToken}})
	must(t, err)
	defer r.Body.Close()
	var answer map[string]any
	must(t, json.NewDecoder(r.Body).Decode(&answer))
	return r.StatusCode, answer
}

// unpack writes the files of an archive into a folder.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	for files := tar.NewReader(z); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		text, err := io.ReadAll(files)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(header.Name)), text, 0o600))
	}
}

// restore runs what pg_dump wrote.
func restore(t *testing.T, dump, database string) {
	t.Helper()
	f, err := os.Open(dump)
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	text, err := io.ReadAll(z)
	must(t, err)
	var statements strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, `\`) { // psql's own commands
			statements.WriteString(line)
		}
	}
	db, err := sql.Open("pgx", database)
	must(t, err)
	defer db.Close()
	_, err = db.Exec(statements.String())
	must(t, err)
}
