package config_test

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
)

type settings struct {
	name, dir string
	on        bool
	key       config.Secret
}

func load(t *testing.T, file string, env map[string]string, args ...string) (settings, error) {
	t.Helper()
	var s settings
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.name, "name", "default", "")
	fs.StringVar(&s.dir, "data-dir", "", "")
	fs.BoolVar(&s.on, "on", false, "")
	config.SecretVar(fs, &s.key, "key", "")
	fs.String("config", "", "")
	if file != "" {
		path := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-config", path)
	}
	err := config.Load(fs, config.LoadOptions{Args: args, Getenv: func(k string) string { return env[k] }, Prefix: "T_", FileFlag: "config"})
	return s, err
}

func TestLoadOrder(t *testing.T) {
	file := `{"name":"file","data-dir":"file","on":true}`
	s, err := load(t, file, map[string]string{"T_DATA_DIR": "env", "T_NAME": "env"}, "-name", "flag")
	if err != nil || s.name != "flag" || s.dir != "env" || !s.on {
		t.Errorf("got %+v %v, want flag over environment over file", s, err)
	}
}

func TestLoadErrors(t *testing.T) {
	for file, want := range map[string]string{
		`{"name":`: "not one JSON object", `[]`: "not one JSON object", `{} {}`: "follows", `{"nam":"x"}`: "there is no setting", `{"on":[1]}`: "want a string", `{"on":"maybe"}`: "on",
	} {
		if _, err := load(t, file, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", file, err, want)
		}
	}
	if _, err := load(t, "", map[string]string{"T_ON": "maybe"}); err == nil || !strings.Contains(err.Error(), "T_ON") {
		t.Errorf("got %v, want an error that names T_ON", err)
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
	for _, shown := range []string{fmt.Sprint(s.key), fmt.Sprintf("%#v %+v %s %q", s.key, struct{ Key config.Secret }{s.key}, s.key, s.key), out.String()} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("the secret shows: %s", shown)
		}
	}
}
