package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed assets templates
var files embed.FS

// policy allows what the pages bring themselves, and nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// tab is one page.
type tab struct {
	// Path is relative to the prefix; the first page's is ".".
	Path, Title string
	// view gathers what the page shows.
	view func(h *Handler, v *view) any
}

var tabs = []tab{
	{".", "Now", (*Handler).now},
	{"tuning", "Tuning", (*Handler).tuning},
	{"queue", "Queue", (*Handler).queue},
	{"cache", "Cache", (*Handler).cache},
	{"preload", "Preload", (*Handler).preload},
	{"upstreams", "Upstreams", (*Handler).upstreams},
	{"jobs", "Jobs", (*Handler).jobs},
	{"config", "Config", (*Handler).config},
	{"alerts", "Alerts", (*Handler).alerts},
}

// Handler serves the pages and their assets.
type Handler struct {
	source    Source
	templates map[string]*template.Template
	mux       *http.ServeMux
	cached    rendered
}

// NewHandler returns the pages of a source.
func NewHandler(s Source) *Handler {
	h := &Handler{source: s, mux: http.NewServeMux(), templates: make(map[string]*template.Template)}
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	for _, t := range tabs {
		name := strings.ToLower(t.Title) + ".html"
		h.templates[t.Path] = template.Must(template.Must(layout.Clone()).ParseFS(files, "templates/"+name))
		route := "GET /" + t.Path
		if t.Path == "." {
			route = "GET /{$}"
		}
		h.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, t) })
	}
	for name, x := range assets() {
		h.mux.Handle("GET /assets/"+name, x)
	}
	return h
}

// ServeHTTP serves a page or an asset.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	h.mux.ServeHTTP(w, r)
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

// view is what a template gets.
type view struct {
	Tab   tab
	Tabs  []tab
	Now   *Now
	Query url.Values
	Range Range
	// Live: a script asks, which has charts of its own.
	Live bool
	// Data is the page's own.
	Data any
}

// serve answers a page. For one sample a page with one query is rendered once.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, t tab) {
	v := &view{Tab: t, Tabs: tabs, Now: h.source.Now(), Query: r.URL.Query(), Live: r.Header.Get("X-Live") != ""}
	key := t.Path + "?" + r.URL.RawQuery
	if v.Live {
		key = "live " + key
	}
	page, ok := h.cached.get(key, v.Now.At)
	if !ok {
		v.Range = readRange(v.Query, v.Now.At)
		v.Data = t.view(h, v)
		var out bytes.Buffer
		if err := h.templates[t.Path].ExecuteTemplate(&out, "layout.html", v); err != nil {
			http.Error(w, "the page can't be rendered: "+err.Error(), http.StatusInternalServerError)
			return
		}
		page = newContent(out.Bytes(), gzip.BestSpeed)
		h.cached.put(key, v.Now.At, page)
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Cache-Control", "no-store")
	page.write(w, r)
}

// content is a body with its compressed form.
type content struct{ plain, gzipped []byte }

func newContent(b []byte, level int) *content {
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, level)
	_, _ = w.Write(b)
	_ = w.Close()
	return &content{b, z.Bytes()}
}

// write answers with the form that the client takes.
func (c *content) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(c.gzipped)
		return
	}
	_, _ = w.Write(c.plain)
}

// maxRendered bounds the pages that are kept for one sample.
const maxRendered = 32

// rendered keeps the pages of the newest sample.
type rendered struct {
	mu    sync.Mutex // guards what follows
	at    time.Time
	pages map[string]*content
}

func (c *rendered) get(key string, at time.Time) (*content, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.Equal(at) {
		return nil, false
	}
	page, ok := c.pages[key]
	return page, ok
}

func (c *rendered) put(key string, at time.Time, page *content) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.Equal(at) {
		c.at, c.pages = at, make(map[string]*content)
	}
	if len(c.pages) < maxRendered {
		c.pages[key] = page
	}
}

// forget drops what is kept, since something has changed between two samples.
func (c *rendered) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.pages = time.Time{}, nil
}

// Changed says that something has changed since the last sample, so that pages must be rendered anew.
func (h *Handler) Changed() { h.cached.forget() }

// assets are the files beside the pages, read and compressed once.
var assets = sync.OnceValue(func() map[string]*asset {
	all := make(map[string]*asset)
	entries, _ := fs.ReadDir(files, "assets")
	for _, e := range entries {
		b, _ := fs.ReadFile(files, "assets/"+e.Name())
		all[e.Name()] = newAsset(e.Name(), b)
	}
	return all
})

// asset is one file, with its ETag and its compressed form.
type asset struct {
	*content
	contentType, etag string
}

func newAsset(name string, b []byte) *asset {
	sum := sha256.Sum256(b)
	a := &asset{content: newContent(b, gzip.BestCompression), contentType: mime.TypeByExtension(path.Ext(name)), etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	switch path.Ext(name) { // not what the machine's tables say
	case ".js":
		a.contentType = "text/javascript; charset=utf-8"
	case ".css":
		a.contentType = "text/css; charset=utf-8"
	case ".svg":
		a.contentType = "image/svg+xml"
	case ".LICENSE":
		a.contentType = "text/plain; charset=utf-8"
	}
	return a
}

func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache") // ask each time, by the ETag
	h.Set("ETag", a.etag)
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		h.Set("Vary", "Accept-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	a.write(w, r)
}
