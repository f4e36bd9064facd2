package configfile_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/config/configfile"
	"github.com/gatehouse-mcp/gatehouse/shared/flags"
)

type settings struct {
	name, dir string
	on        bool
	key       config.Secret
}

func load(t *testing.T, file string, env map[string]string, args ...string) (settings, error) {
	t.Helper()
	var s settings
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.name, "name", "default", "")
	fs.StringVar(&s.dir, "data-dir", "", "")
	fs.BoolVar(&s.on, "on", false, "")
	flags.SecretVar(fs, &s.key, "key", "")
	fs.String("config", "", "")
	if file != "" {
		path := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	_, err := configfile.Load(fs, configfile.Options{Getenv: func(k string) string { return env[k] },
		Prefix: "T_", FileFlag: "config"})
	return s, err
}

func TestLoadOrder(t *testing.T) {
	file := `{"name":"file","data-dir":"file","on":true}`
	s, err := load(t, file, map[string]string{"T_DATA_DIR": "env", "T_NAME": "env"}, "--name", "flag")
	if err != nil || s.name != "flag" || s.dir != "env" || !s.on {
		t.Errorf("got %+v %v, want flag over environment over file", s, err)
	}
}

func TestLoadErrors(t *testing.T) {
	for file, want := range map[string]string{
		`{"name":`: "line 1", `[]`: "not a list of names", "a: 1\n---\nb: 2": "several documents",
		"{\"nam\":\"x\"}":      "line 1: nam: there is no such setting; is it name?",
		"name: x\ndata_dir: y": "line 2: data_dir: there is no such setting; is it data-dir?",
		"on: [[1]]":            "a list in a list", "on: {a: 1}": "want a string",
		"name: a\nname: b": "line 2", "key: a\nkey-file: b": "set in line 1 already", `{"on":"maybe"}`: "on",
		"name: [\"a,b\"]": "comma", "config: other.yaml": "no such setting",
		"name: *x": "line 1", "x: &x a\nname: *x": "line 1: x: there is no such setting",
	} {
		if s, err := load(t, file, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v %v, want an error with %q", file, s, err, want)
		}
	}
	if _, err := load(t, "", map[string]string{"T_ON": "maybe"}); err == nil || !strings.Contains(err.Error(), "T_ON") {
		t.Errorf("got %v, want an error that names T_ON", err)
	}
	if _, err := load(t, "key: !!binary hunter2", nil); err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an error shows a secret: %v", err)
	}
}

// JSON with tabs, comments, lists and empty files are all files of settings.
func TestLoadForms(t *testing.T) {
	for _, row := range []struct {
		file string
		want settings
	}{
		{"{\n\t\"name\": \"x\",\n\t\"on\": true\n}\n", settings{name: "x", on: true}},
		{"# only this\n", settings{name: "default"}}, {"", settings{name: "default"}},
		{"name: [10.0.0.0/8, 192.0.2.7] # networks\non: true\n", settings{name: "10.0.0.0/8,192.0.2.7", on: true}},
		{"name: 0123\n", settings{name: "0123"}},
		{"name: 336h\ndata-dir: 'a: b'\n", settings{name: "336h", dir: "a: b"}},
		{"name: |\n  long\n", settings{name: "long\n"}},
	} {
		if s, err := load(t, row.file, nil); err != nil || s != row.want {
			t.Errorf("%q: got %+v %v, want %+v", row.file, s, err, row.want)
		}
	}
}

// Each value says where it comes from.
func TestOrigin(t *testing.T) {
	dir := t.TempDir()
	file, key := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "key")
	for path, text := range map[string]string{file: "name: file\ndata-dir: file\n\nkey-file: key\n", key: "hunter2\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	var secret config.Secret
	for _, name := range []string{"name", "data-dir", "mine", "config", "other"} {
		fs.String(name, "", "")
	}
	flags.SecretVar(fs, &secret, "key", "")
	env := map[string]string{"T_NAME": "env", "T_MINE": "env"}
	if err := fs.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	from, err := configfile.Load(fs, configfile.Options{
		Getenv: func(k string) string { return env[k] }, Prefix: "T_",
		FileFlag: "config", Setting: func(name string) bool { return name != "mine" },
	})
	want := map[string]string{"name": "environment T_NAME", "data-dir": file + " line 2", "key": file + " line 4",
		"config": "command line"}
	if err != nil || !maps.Equal(from, want) || secret.Reveal() != "hunter2" {
		t.Errorf("got %v %v, want %v", from, err, want)
	}
	if fs.Lookup("mine").Value.String() != "" {
		t.Error("what is no setting was read from the environment")
	}
}

func TestSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := load(t, "", map[string]string{"T_KEY_FILE": path})
	if err != nil || s.key.Reveal() != "hunter2" {
		t.Fatalf("got %q %v, want the file's content", s.key.Reveal(), err)
	}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", s.key)
	for _, shown := range []string{fmt.Sprint(s.key),
		fmt.Sprintf("%#v %+v %s %q", s.key, struct{ Key config.Secret }{s.key}, s.key, s.key), out.String()} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("the secret shows: %s", shown)
		}
	}
}
