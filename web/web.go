// Package web embeds the pages: templates and styles, with a struct for each page.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
)

//go:embed pages/*.html
var pages embed.FS

//go:embed static/*
var static embed.FS

// templates are parsed once; each page is the layout with its own "main".
var templates = parse()

func parse() map[string]*template.Template {
	all := map[string]*template.Template{}
	names, err := fs.Glob(pages, "pages/*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		if name != "pages/frame.html" {
			all[name] = template.Must(
				template.New("frame.html").Funcs(template.FuncMap{"stylesheet": stylesheet}).ParseFS(pages,
					"pages/frame.html", name))
		}
	}
	return all
}

// Page is a page.
type Page interface {
	// file returns the page's template; policy its Content-Security-Policy.
	file() string
	policy() string
}

// The pages run no scripts, load only our own styles, and cannot be framed.
const (
	strict = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
	// forms is for pages whose form is answered here. The pages of consent and of signing out lack
	// form-action: Chromium applies it to the redirect that follows, which goes to the application.
	forms = strict + "; form-action 'self'"
)

// Write writes a page. When it returns an error, nothing was sent.
func Write(w http.ResponseWriter, status int, p Page) error {
	var b bytes.Buffer
	if err := templates[p.file()].Execute(&b, p); err != nil {
		return fmt.Errorf("drawing %s: %w", p.file(), err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", p.policy())
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin-allow-popups")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// stylesheet returns the URL of the styles, which changes with them.
func stylesheet() string {
	return "/static/gatehouse.css?" + styleTag[:12]
}

var styleTag = func() string {
	text, err := static.ReadFile("static/gatehouse.css")
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}()

// Static serves the files under /static/.
func Static() http.Handler {
	files := http.FileServerFS(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no listing
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=86400")
		w.Header().Set("Content-Security-Policy", strict)
		w.Header().Set("ETag", `"`+styleTag+`"`)
		files.ServeHTTP(w, r)
	})
}
