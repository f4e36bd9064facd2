package demo

import (
	"context"
	"fmt"
	"strings"
	"unicode"
)

// Article is an article of the tenant's knowledge base.
type Article struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Body  string `json:"body"`
}

// MaxArticles bounds the results of a search.
const MaxArticles = 20

// maxWords bounds the words of one search.
const maxWords = 16

const (
	sqliteSearch = `SELECT a.id, a.title, a.body FROM articles_text x JOIN articles a ON a.number = x.rowid
		WHERE a.tenant_id = $1 AND articles_text MATCH $2 ORDER BY bm25(articles_text, 4.0, 1.0), a.id LIMIT $3`
	postgresSearch = `SELECT id, title, body FROM articles
		WHERE tenant_id = $1 AND words @@ to_tsquery('english', $2) ORDER BY ts_rank(words, to_tsquery('english',
		$2)) DESC, id LIMIT $3`
)

// In SQLite bm25 weighs a word by how rare it is among all tenants' articles: other tenants can
// affect the order of results, never which are found.

// Search finds articles that contain any of the words, best first. Query syntax in the text has no
// effect.
func (t Tenant) Search(ctx context.Context, text string, limit int) ([]Article, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return []Article{}, nil
	}
	found := []Article{}
	_, err := t.each(ctx, t.d.search, []any{t.id, t.d.query(words[:min(len(words), maxWords)]),
		min(max(limit, 1), MaxArticles)}, func(into scan) error {
		var a Article
		if err := into(&a.ID, &a.Title, &a.Body); err != nil {
			return err
		}
		found = append(found, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("searching articles: %w", err)
	}
	return found, nil
}

// sqliteQuery returns an FTS5 query in which each word is a string, so that AND, NEAR and * have no
// effect.
func sqliteQuery(words []string) string { return `"` + strings.Join(words, `" OR "`) + `"` }

// postgresQuery returns a tsquery of quoted words.
func postgresQuery(words []string) string { return `'` + strings.Join(words, `' | '`) + `'` }
