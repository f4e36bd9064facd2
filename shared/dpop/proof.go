package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-mcp/gatehouse/shared/jws"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// The bounds of a proof.
const (
	maxSize = 8 << 10 // bytes
	maxID   = 256     // of a jti, bytes
	minRSA  = 2048    // bits
)

// said are the claims of a proof whose signature is valid.
type said struct {
	jkt, id, method, url, token, nonce string
	made                               int64 // Unix seconds
}

// verify checks a proof's form, key and signature (RFC 9449 §4.3 no. 2 to 7); its claims are
// checked by the caller.
func verify(raw string) (said, error) {
	header, payload, err := jws.Split(raw, maxSize)
	if err != nil {
		return said{}, refuse("its form")
	}
	if err := checkHeader(header); err != nil {
		return said{}, err
	}
	signed, err := jose.ParseSignedCompact(raw, algorithms())
	if err != nil || len(signed.Signatures) != 1 || signed.Signatures[0].Header.JSONWebKey == nil {
		return said{},
			refuse("its algorithm is not one of " + strings.Join(Algorithms(), ", ") + ", or its jwk is no public key")
	}
	key := signed.Signatures[0].Header.JSONWebKey
	if !fits(key, signed.Signatures[0].Header.Algorithm) {
		return said{}, refuse("its jwk is not for its algorithm, or too short")
	}
	if _, err := signed.Verify(key.Key); err != nil {
		return said{}, refuse("its signature")
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return said{}, refuse("its jwk is no public key")
	}
	s, err := read(payload)
	s.jkt = base64.RawURLEncoding.EncodeToString(thumbprint)
	return s, err
}

func algorithms() []jose.SignatureAlgorithm {
	names := Algorithms()
	out := make([]jose.SignatureAlgorithm, len(names))
	for i, name := range names {
		out[i] = jose.SignatureAlgorithm(name)
	}
	return out
}

// checkHeader requires the type and a public key: a private key in a proof is as good as published
// (RFC 9449 §4.3 no. 7).
func checkHeader(header map[string]json.RawMessage) error {
	if string(header["typ"]) != `"`+Type+`"` {
		return refuse("its typ is not " + Type)
	}
	if header["crit"] != nil || header["b64"] != nil {
		return refuse("its form")
	}
	key, err := strictjson.Map(header["jwk"])
	if err != nil {
		return refuse("its jwk is missing or malformed")
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if key[name] != nil {
			return refuse("its jwk holds a private key, which is now to be thrown away")
		}
	}
	return nil
}

// fits reports whether a key may be used with an algorithm: the key decides, not the proof (RFC
// 8725 §3.1).
func fits(key *jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm || key.Use != "" && key.Use != "sig" {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return (algorithm == "RS256" || algorithm == "PS256") && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		return algorithm == "ES256" && k.Params().BitSize == 256
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// read reads the claims by their exact names, each once (RFC 9449 §4.2).
func read(payload []byte) (said, error) {
	var s said
	members, err := strictjson.Map(payload)
	if err != nil {
		return s, refuse("its claims are not one JSON object with each member once")
	}
	for _, m := range []struct {
		name     string
		into     any
		required bool
	}{{"jti", &s.id, true}, {"htm", &s.method, true}, {"htu", &s.url, true}, {"iat", (*jws.NumericDate)(&s.made), true},
		{"ath", &s.token, false}, {"nonce", &s.nonce, false}} {
		value, there := members[m.name]
		if m.required && !there || there && strictjson.Unmarshal(value, m.into) != nil {
			return s, refuse(m.name + " is missing or of a wrong type")
		}
	}
	if s.id == "" || len(s.id) > maxID {
		return s, refuse("jti is missing or too long")
	}
	return s, nil
}

// sameURL compares htu with the request's URL, without query and fragment (RFC 9449 §4.3 no. 9):
// scheme and host case-insensitively, the default port optional (RFC 3986 §6.2.2.1, §6.2.3), the
// path byte for byte.
func sameURL(htu, want string) bool {
	if htu == want {
		return true
	}
	a, errA := url.Parse(htu)
	b, errB := url.Parse(want)
	return errA == nil && errB == nil && a.User == nil && a.Opaque == "" && place(a) == place(b)
}

// place returns a URL without what is not compared.
func place(u *url.URL) string {
	scheme, host, path := strings.ToLower(u.Scheme), strings.ToLower(u.Host), u.EscapedPath()
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	if path == "" {
		path = "/" // RFC 3986 §6.2.3
	}
	return scheme + "://" + host + path
}
