package revocation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-mcp/gatehouse/shared/config"
	"github.com/gatehouse-mcp/gatehouse/shared/strictjson"
)

// Path is the path of the list of revoked grants below the issuer's URL.
const Path = "/oauth2/ended"

// Document is a Batch in JSON. Times are whole seconds, rounded so that nothing is valid too long.
type Document struct {
	Ended    []DocumentEntry `json:"ended"`
	Cursor   string          `json:"cursor"`
	More     bool            `json:"more"`
	Whole    bool            `json:"whole"`
	Mark     string          `json:"mark"`
	Complete int64           `json:"complete_for"`
	Now      int64           `json:"now"`
}

// DocumentEntry is one entry. The members of a suspension are for readers that do not parse ids.
type DocumentEntry struct {
	GrantID      string `json:"grant_id"`
	Until        int64  `json:"until"`
	ClientID     string `json:"client_id,omitempty"`
	TenantID     string `json:"tenant_id,omitempty"`
	IssuedBefore int64  `json:"issued_before,omitempty"`
}

// NewDocument returns the Document of a Batch.
func NewDocument(b Batch) Document {
	d := Document{
		Ended: make([]DocumentEntry, 0, len(b.Ended)), Cursor: b.Cursor, More: b.More, Whole: b.Whole, Mark: b.Mark,
		Complete: max(0, int64(b.Life/time.Second)), Now: b.Now.Unix(),
	}
	for _, e := range b.Ended {
		entry := DocumentEntry{GrantID: e.GrantID, Until: e.Until.Add(time.Second - 1).Unix()}
		if s, ok := readSuspension(e.GrantID); ok {
			entry.IssuedBefore = s.Before.Unix()
			switch s.Subject {
			case Client(s.id):
				entry.ClientID = s.id
			case Tenant(s.id):
				entry.TenantID = s.id
			}
		}
		d.Ended = append(d.Ended, entry)
	}
	return d
}

// Batch returns the Batch of a Document.
func (d Document) Batch() Batch {
	b := Batch{Cursor: d.Cursor, More: d.More, Whole: d.Whole, Mark: d.Mark,
		Life: time.Duration(d.Complete) * time.Second, Now: time.Unix(d.Now, 0)}
	for _, e := range d.Ended {
		b.Ended = append(b.Ended, Entry{e.GrantID, time.Unix(e.Until, 0)})
	}
	return b
}

// HTTP is the Feed of an issuer, for an MCP server that shares no Redis with it. The connection
// must be as trustworthy as for the issuer's keys: an impostor can hide a revocation.
type HTTP struct {
	URL          string // the issuer's, with Path
	ClientID     string // the client of the protected server (gatehouse client create --server)
	ClientSecret config.Secret
	Client       *http.Client // nil: http.DefaultClient; a redirect is never followed
}

// maxDocument bounds a response, in bytes.
const maxDocument = 1 << 20

// Next implements Feed.
func (h *HTTP) Next(ctx context.Context, cursor string) (Batch, error) {
	d, err := h.ask(ctx, cursor)
	if err != nil {
		return Batch{}, errors.Join(ErrUnknown, fmt.Errorf("asking the issuer which grants have ended: %w", err))
	}
	return d.Batch(), nil
}

func (h *HTTP) ask(ctx context.Context, cursor string) (d Document, err error) {
	form := url.Values{"after": {cursor}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return d, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(h.ClientID), url.QueryEscape(h.ClientSecret.Reveal())) // RFC 6749 §2.3.1
	client := http.Client{}
	if h.Client != nil {
		client = *h.Client
	}
	// the credentials are for the issuer only
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := client.Do(r)
	if err != nil {
		return d, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	switch {
	case err != nil:
		return d, err
	case answer.StatusCode != http.StatusOK:
		return d, fmt.Errorf("it answered %s", answer.Status)
	case len(body) > maxDocument:
		return d, errors.New("its answer is too large")
	}
	if err := strictjson.Unmarshal(body, &d); err != nil || d.Cursor == "" || d.Now == 0 {
		return d, errors.New("its answer is not a list of ended grants")
	}
	return d, nil
}
