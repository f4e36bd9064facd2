package authserver_test

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-mcp/gatehouse/authserver"
	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/revocation"
)

// anotherKey is a new key-encryption key.
func anotherKey() config.Secret {
	key := make([]byte, 32)
	rand.Read(key)
	return config.Secret(base64.StdEncoding.EncodeToString(key))
}

// KY-05, RT-02: the key-encryption key is changed between a renewal and its repetition, whose
// answer was lost. The same successor comes: under both keys, after everything was sealed anew, and
// when the old key is gone.
func TestALostAnswerAcrossAReseal(t *testing.T) {
	h := startServer(t)
	a := h.register(map[string]any{})
	_, parent := a.tokens(h.person("ann@acme.example"), "customers:read")
	_, answer := a.token(refreshment(parent))
	child := answer["refresh_token"].(string)
	again := func(when string) {
		t.Helper()
		if status, answer := a.token(refreshment(parent)); status != 200 || answer["refresh_token"] != child {
			t.Errorf("%s: got %d %v, want the same successor", when, status, answer["error"])
		}
	}
	old := h.config.KeyEncryptionKey
	h.config.KeyEncryptionKey, h.config.PreviousKeyEncryptionKey = anotherKey(), old
	h.start()
	again("with both keys")
	done, err := h.Server.Operator().Reseal(t.Context(), authserver.Resealing{})
	must(t, err)
	if done.Rows != 3 { // ES256, RS256, and the secret
		t.Errorf("%d rows were sealed anew, want 3", done.Rows)
	}
	again("sealed anew")
	h.config.PreviousKeyEncryptionKey = ""
	h.start()
	again("without the old key")
	if !a.alive(child) {
		t.Error("the successor is dead")
	}
	h.config.KeyEncryptionKey = old
	if _, err := authserver.New(t.Context(), h.config, authserver.Deps{Now: h.Clock.Now}); err == nil { // KY-04
		t.Error("it starts with a key that opens nothing")
	}
	if _, err := h.Server.Operator().Reseal(t.Context(), authserver.Resealing{}); err == nil ||
		!strings.Contains(err.Error(), "already") {
		t.Errorf("nothing to seal anew: got %v", err)
	}
}

// An installation of before, whose successors were derived from the key-encryption key: its lost
// answers are found after the update, and after the key was changed with it.
func TestALostAnswerAcrossTheUpdate(t *testing.T) {
	h := startServer(t)
	old := h.config.KeyEncryptionKey
	raw, err := sql.Open("sqlite", strings.TrimPrefix(h.config.Database, "sqlite:"))
	must(t, err)
	defer raw.Close()
	for _, statement := range []string{"UPDATE signing_keys SET sealed_under = ''", "DELETE FROM sealed_secrets"} {
		_, err := raw.Exec(statement)
		must(t, err)
	}
	h.config.KeyEncryptionKey, h.config.PreviousKeyEncryptionKey = anotherKey(), old
	h.start()
	a := h.register(map[string]any{})
	_, parent := a.tokens(h.person("ann@acme.example"), "customers:read")
	_, answer := a.token(refreshment(parent))

	kek, err := base64.StdEncoding.DecodeString(old.Reveal())
	must(t, err)
	secret, err := hkdf.Key(sha256.New, kek, nil, "gatehouse refresh token successors", 32)
	must(t, err)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("refresh token successor\x00" + parent))
	if want := "ghr_" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); answer["refresh_token"] != want {
		t.Errorf("got another successor than the older program gives")
	}
}

// service stands for a key-management service: a sealing key that is not here.
type service struct{ asked int }

func (s *service) ID() string { return "kms:alias/gatehouse" }

func (s *service) Seal(_ context.Context, secret []byte, of string) ([]byte, error) {
	s.asked++
	return append([]byte(of+"\x00"), secret...), nil
}

func (s *service) Open(_ context.Context, sealed []byte, of string) ([]byte, error) {
	s.asked++
	return sealed[len(of)+1:], nil
}

// A program of one's own brings a key-management service in place of a key, and asks it once for
// each row, not at every look.
func TestASealerOfOnesOwn(t *testing.T) {
	h := startServer(t)
	c := h.config
	c.KeyEncryptionKey = ""
	if _, err := authserver.New(t.Context(), c, authserver.Deps{}); err == nil {
		t.Error("it starts without any sealing key")
	}
	kms := &service{}
	must(t, h.Server.Close())
	for _, table := range []string{"signing_keys", "sealed_secrets"} {
		raw, err := sql.Open("sqlite", strings.TrimPrefix(h.config.Database, "sqlite:"))
		must(t, err)
		_, err = raw.Exec("DELETE FROM " + table)
		must(t, err)
		must(t, raw.Close())
	}
	s, err := authserver.New(t.Context(), c, authserver.Deps{Now: h.Clock.Now, Sealers: []authserver.Sealer{kms}})
	must(t, err)
	h.Server = s
	handler := s.Handler()
	h.handler.Store(&handler)
	asked := kms.asked
	for range 5 {
		keys, err := s.Operator().SigningKeys(t.Context())
		must(t, err)
		if keys[0].SealedUnder != kms.ID() {
			t.Errorf("the key lies under %s", keys[0].SealedUnder)
		}
	}
	if kms.asked != asked {
		t.Errorf("the service was asked %d times more", kms.asked-asked)
	}
	if status, answer := h.machine("acme",
		"customers:read").token(url.Values{"grant_type": {"client_credentials"}}); status != 200 {
		t.Errorf("got %d %v", status, answer)
	}
}

// KY-03: in an emergency the issuer itself believes nothing of the key from then on, also not at a
// replica that looks a second later; and says on the list which it was.
func TestAnEmergencyCountsAtTheIssuer(t *testing.T) {
	h := startServer(t)
	replica := h.process()
	defer replica.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { replica.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	m := h.machine("acme", "customers:read")
	_, answer := m.token(url.Values{"grant_type": {"client_credentials"}})
	raw := answer["access_token"].(string)
	header, _ := claims(t, raw)
	kid := header["kid"].(string)
	active := func() bool {
		form := url.Values{"token": {raw}}.Encode()
		_, answer := h.post("/oauth2/introspect", urlencoded, form, basicAuth(m.ID, m.Secret))
		return answer["active"] == true
	}
	if !active() {
		t.Fatal("the token is not active before")
	}
	if _, err := h.Server.Operator().WithdrawKey(t.Context(), authserver.KeyEnd{KID: kid}); err == nil || !active() {
		t.Errorf("the key that signs is withdrawn without an emergency: %v", err)
	}
	_, err := h.Server.Operator().WithdrawKey(t.Context(), authserver.KeyEnd{KID: kid, Emergency: true})
	must(t, err)
	if active() {
		t.Error("the issuer still believes the token")
	}
	if on, err := h.List.Ended(t.Context(), "key:"+kid); !on || err != nil {
		t.Errorf("the list says %v %v of the key", on, err)
	}
	withdrawn := time.Now()
	handler := replica.Handler()
	h.handler.Store(&handler)
	for active() {
		if time.Since(withdrawn) > 10*time.Second {
			t.Fatal("the replica believes the token after ten seconds")
		}
	}
	t.Logf("the replica knew it after %s", time.Since(withdrawn).Round(time.Millisecond))
}

// A list of ended grants that is lost comes back with the keys that were withdrawn, for as long as
// a token of theirs may live.
func TestALostListComesBackWithTheWithdrawnKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, h *testServer) {
		keys, err := h.Server.Operator().SigningKeys(t.Context())
		must(t, err)
		kid := keys[0].KID
		_, err = h.Server.Operator().WithdrawKey(t.Context(), authserver.KeyEnd{KID: kid, Emergency: true})
		must(t, err)
		for _, row := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {50 * time.Minute, true}, {12 * time.Minute, false}} {
			h.Clock.step(row.after)
			h.List = revocation.NewMemory(h.Clock.Now)
			h.start()
			if on, err := h.List.Ended(t.Context(), revocation.KeyID(kid)); on != row.want || err != nil {
				t.Errorf("after %s more: the key is on the list: %v %v, want %v", row.after, on, err, row.want)
			}
			if on, err := h.List.Ended(t.Context(), revocation.KeyID(keys[1].KID)); on || err != nil {
				t.Errorf("a key that nobody has withdrawn: %v %v", on, err)
			}
		}
	})
}
