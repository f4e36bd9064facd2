package cli_test

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// keyFiles are the files of a data folder that hold key-encryption keys.
func keyFiles(t *testing.T, dir string) (now, next string) {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			info, err := os.Stat(filepath.Join(dir, name))
			must(t, err)
			if info.Mode().Perm() != 0o600 { // KY-04
				t.Errorf("%s is open to others: %s", name, info.Mode())
			}
		}
		return string(text)
	}
	return read("key-encryption-key"), read("key-encryption-key.next")
}

func keySet(t *testing.T, s *served) string {
	t.Helper()
	r, err := http.Get(s.Issuer + "/oauth2/jwks")
	must(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	return string(body)
}

func aKey() string {
	key := make([]byte, 32)
	rand.Read(key)
	return base64.StdEncoding.EncodeToString(key) + "\n"
}

// The key in the data folder is changed under a running server, and under none; the signing keys
// stay the same.
func TestResealWhereTheKeyIsAFile(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	before := keySet(t, s)
	first, _ := keyFiles(t, dir)
	do(t, dir, "", "everything is encrypted with", "key", "reseal")
	second, next := keyFiles(t, dir)
	if second == first || second == "" || next != "" || keySet(t, s) != before {
		t.Errorf("after a change under the server: the file has changed: %v; a next one is left: %v; the key set is "+
			"the same: %v", second != first, next != "", keySet(t, s) == before)
	}
	do(t, dir, "", "", "key", "rotate") // sealed under the new one
	with := keySet(t, s)
	s.stop()
	file := filepath.Join(t.TempDir(), "new")
	must(t, os.WriteFile(file, []byte(aKey()), 0o600))
	do(t, dir, "", "everything is encrypted with", "key", "reseal", "--new-key-file", file)
	given, err := os.ReadFile(file)
	must(t, err)
	if third, next := keyFiles(t, dir); third != string(given) || next != "" {
		t.Error("the given key is not the one in the folder")
	}
	if got := keySet(t, serve(t, dir)); got != with {
		t.Errorf("after a restart the key set is\n%s, want\n%s", got, with)
	}
}

// Several changes at once come one after the other: what is stored lies under the key that lies in
// the file, anyone who was last.
func TestResealsAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	before := keySet(t, s)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if code, _, stderr := run(t, "key", "reseal", "--data-dir", dir); code != 0 {
				t.Errorf("one of many: %d %s", code, stderr)
			}
		})
	}
	all.Wait()
	s.stop()
	if _, next := keyFiles(t, dir); next != "" {
		t.Error("a next key is left")
	}
	if got := keySet(t, serve(t, dir)); got != before {
		t.Errorf("after a restart the key set is\n%s, want\n%s", got, before)
	}
}

// KY-04: wherever a change of the key is cut short, what is stored lies under a key that lies in a
// file, and the next start finishes it.
func TestAResealThatIsCutShort(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	before := keySet(t, s)
	s.stop()
	path := filepath.Join(dir, "key-encryption-key")
	finished := func(point, want string) {
		t.Helper()
		s := serve(t, dir)
		now, next := keyFiles(t, dir)
		if now != want || next != "" || keySet(t, s) != before {
			t.Errorf("cut short %s: the next key is in its place: %v, alone: %v; the key set is the same: %v", point,
				now == want, next == "", keySet(t, s) == before)
		}
		s.stop()
	}
	next := aKey()
	must(t, os.WriteFile(path+".next", []byte(next), 0o600))
	finished("before anything was sealed", next)

	old := next
	do(t, dir, "", "everything is encrypted with", "key", "reseal")
	now, _ := keyFiles(t, dir)
	must(t, os.WriteFile(path, []byte(old), 0o600))
	must(t, os.WriteFile(path+".next", []byte(now), 0o600))
	do(t, dir, "", "active", "key", "list") // commands know both, too
	do(t, dir, "", "", "key", "rotate")
	s = serve(t, dir)
	before = keySet(t, s)
	s.stop()
	finished("before the file took its place", now)

	must(t, os.WriteFile(path+".next", []byte(aKey()), 0o600))
	_, pending := keyFiles(t, dir)
	file := filepath.Join(t.TempDir(), "new")
	must(t, os.WriteFile(file, []byte(aKey()), 0o600))
	code, _, stderr := run(t, "key", "reseal", "--new-key-file", file, "--data-dir", dir)
	complaint(t, code, stderr, 1, "an earlier change of the key was interrupted")
	do(t, dir, "", "everything is encrypted with", "key", "reseal")
	finished("and finished by the command", pending)
}

// Where the key is a setting, a new one cannot be left in a file.
func TestResealWhereTheKeyIsASetting(t *testing.T) {
	dir := t.TempDir()
	old, now := strings.TrimSpace(aKey()), strings.TrimSpace(aKey())
	s := serve(t, dir, "--key-encryption-key", old)
	before := keySet(t, s)
	file := filepath.Join(t.TempDir(), "new")
	must(t, os.WriteFile(file, []byte(now), 0o600))
	code, _, stderr := run(t, "key", "reseal", "--new-key-file", file, "--data-dir", dir)
	complaint(t, code, stderr, 1, "nothing would start again")
	code, _, stderr = run(t, "key", "reseal", "--data-dir", dir)
	complaint(t, code, stderr, 1, "already")
	if strings.Contains(stderr, old) {
		t.Error("the key is shown")
	}
	s.stop()
	both := []string{"--key-encryption-key", now, "--previous-key-encryption-key", old}
	s = serve(t, dir, both...)
	said := do(t, dir, "", "everything is encrypted with", "key", "reseal")
	name := regexp.MustCompile(`[0-9a-f]{16}`).FindString(said)
	if list := do(t, dir, "", "SEALED UNDER", "key", "list", "--all"); strings.Count(list, name) != 2 {
		t.Errorf("not everything is encrypted with %s:\n%s", name, list)
	}
	s.stop()
	s = serve(t, dir, "--key-encryption-key", now)
	if keySet(t, s) != before {
		t.Error("the key set has changed")
	}
	s.stop()
	code, _, stderr = run(t, append([]string{"serve", "--data-dir", dir, "--key-encryption-key", old}, free...)...)
	complaint(t, code, stderr, 2, "does not open the stored signing keys")
	_, err := os.Stat(filepath.Join(dir, "key-encryption-key"))
	if err == nil {
		t.Error("a key was left in the data folder")
	}
}
