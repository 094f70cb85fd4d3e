package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"penstock/request"
)

//go:embed login.html
var loginHTML string

//go:embed login.css
var loginCSS string

var loginPage = template.Must(template.New("login.html").Parse(loginHTML))

// loginPolicy admits the one style sheet, by its hash, and forms to ourselves.
var loginPolicy = func() string {
	sum := sha256.Sum256([]byte(loginCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

const (
	loginPath  = "/login"
	logoutPath = "/logout"
	// maxNextBytes bounds the address to return to after a login.
	maxNextBytes = 2000
)

// entry reports the paths of the way in and out, which need no token.
func entry(path string) bool {
	switch path {
	case loginPath, logoutPath, "/admin/v1/login", "/admin/v1/logout":
		return true
	}
	return false
}

func (a *admin) mountLogin() {
	a.mux.Get(loginPath, func(w http.ResponseWriter, r *http.Request) {
		a.serveLoginPage(w, r, http.StatusOK, loginView{Next: safeNext(r.URL.Query().Get("next"))})
	})
	a.mux.Post(loginPath, a.serveLoginForm)
	a.mux.Post(logoutPath, func(w http.ResponseWriter, r *http.Request) {
		a.logout(w, r)
		seeOther(w, r, "login")
	})
}

// loginView fills the login page.
type loginView struct {
	Next, Name, Fault string
	Style             template.CSS
}

func (a *admin) serveLoginPage(w http.ResponseWriter, r *http.Request, status int, v loginView) {
	v.Style = template.CSS(loginCSS)
	var b bytes.Buffer
	if err := loginPage.Execute(&b, v); err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", loginPolicy)
	exchangeOf(r).status = status
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// serveLoginForm takes the form of the login page.
func (a *admin) serveLoginForm(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		a.fail(w, r, exchangeOf(r), request.Errorf(request.ProblemBadRequest, "send the form as application/x-www-form-urlencoded; POST /admin/v1/login takes JSON"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		a.fail(w, r, exchangeOf(r), request.Errorf(request.ProblemBadRequest, "the form can't be read: %w", err))
		return
	}
	v := loginView{Next: safeNext(r.PostForm.Get("next")), Name: r.PostForm.Get("name")}
	if _, err := a.login(w, r, r.PostForm.Get("token"), v.Name); err != nil {
		f := classify(exchangeOf(r), err)
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", retryAfter(f.RetryAfter))
		}
		v.Fault = f.Detail
		a.serveLoginPage(w, r, f.Problem.Status(), v)
		return
	}
	if v.Next == "" {
		v.Next = "./"
	}
	seeOther(w, r, v.Next)
}

// seeOther redirects to a relative address as it stands: http.Redirect would make it absolute, and
// so lose the prefix under which a proxy may serve us.
func seeOther(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Location", to)
	exchangeOf(r).status = http.StatusSeeOther
	w.WriteHeader(http.StatusSeeOther)
}

// loginBody is what POST /admin/v1/login takes.
type loginBody struct {
	Token string `json:"token"`
	Name  string `json:"name"`
}

func (a *admin) serveLogin(w http.ResponseWriter, r *http.Request) {
	var body loginBody
	if err := readStrict(w, r, &body); err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	id, err := a.login(w, r, body.Token, body.Name)
	if err != nil {
		a.fail(w, r, exchangeOf(r), err)
		return
	}
	a.writeJSON(w, r, http.StatusOK, a.viewSession(id))
}

func (a *admin) serveLogout(w http.ResponseWriter, r *http.Request) {
	a.logout(w, r)
	exchangeOf(r).status = http.StatusNoContent
	w.WriteHeader(http.StatusNoContent)
}

// login opens a session and sets its cookie. Where no token is configured there is nothing to open.
func (a *admin) login(w http.ResponseWriter, r *http.Request, secret, name string) (*identity, error) {
	tokens := a.tokens()
	if len(tokens) == 0 {
		return &identity{author: DefaultAuthor}, nil
	}
	t, err := a.try(r, tokens, secret)
	if err != nil {
		return nil, err
	}
	name = strings.TrimSpace(name)
	if t.Name == "" {
		if err := checkAuthor(namesOf(tokens), name); err != nil {
			return nil, request.Errorf(request.ProblemUnprocessable, "%w", err)
		}
	}
	author := authorName(t, tokens, name)
	lasts := a.o.Session()
	id, s := a.sessions.open(t, author, lasts, time.Now())
	http.SetCookie(w, cookie(r, id, lasts))
	a.log.InfoContext(r.Context(), "logged in", "author", author, "read_only", t.ReadOnly, "client", clientAddress(r))
	return &identity{author: author, readOnly: t.ReadOnly, session: s}, nil
}

func (a *admin) logout(w http.ResponseWriter, r *http.Request) {
	a.sessions.close(r)
	http.SetCookie(w, cookie(r, "", 0))
}

// sessionView is what GET /admin/v1/session answers.
type sessionView struct {
	LoginRequired bool   `json:"login_required"`
	Author        string `json:"author"`
	ReadOnly      bool   `json:"read_only"`
	ReadOnlyWhy   string `json:"read_only_why"`
	Session       *struct {
		Since   time.Time `json:"since"`
		Expires time.Time `json:"expires"`
	} `json:"session"`
}

func (a *admin) viewSession(id *identity) sessionView {
	v := sessionView{LoginRequired: len(a.tokens()) > 0, Author: id.author}
	if err := a.mayChange(id); err != nil {
		v.ReadOnly = true
		if e, ok := errors.AsType[*request.Error](err); ok {
			v.ReadOnlyWhy = e.Detail
		}
	}
	if s := id.session; s != nil {
		v.Session = &struct {
			Since   time.Time `json:"since"`
			Expires time.Time `json:"expires"`
		}{s.since, s.expires}
	}
	return v
}

func (a *admin) serveSession(w http.ResponseWriter, r *http.Request) {
	a.writeJSON(w, r, http.StatusOK, a.viewSession(identityOf(r)))
}

// navigation reports whether a person's browser asks for a page, so that the login page helps more
// than a problem document.
func navigation(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// toLogin sends a browser to the login page, relative to where it is.
func toLogin(w http.ResponseWriter, r *http.Request) {
	up := strings.Repeat("../", strings.Count(strings.TrimPrefix(r.URL.Path, "/"), "/"))
	next := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if r.URL.RawQuery != "" {
		next += "?" + r.URL.RawQuery
	}
	to := up + "login"
	if next = safeNext(next); next != "" {
		to += "?next=" + url.QueryEscape(next)
	}
	seeOther(w, r, to)
}

// safeNext is an address to go to after the login, if it is one below our own root; else "".
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || len(next) > maxNextBytes || u.IsAbs() || u.Host != "" || u.Opaque != "" || u.User != nil ||
		strings.HasPrefix(next, "/") || strings.ContainsAny(next, "\\\r\n\t") || strings.Contains(u.Path, "..") {
		return ""
	}
	if first, _, _ := strings.Cut(u.Path, "/"); strings.Contains(first, ":") || first == "login" {
		return ""
	}
	return next
}
