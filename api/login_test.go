package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// withTokens protects the plane with one nameless token, ada's, and one that may only look.
func withTokens(o *AdminOptions) {
	o.Token = func() string { return "shared-secret" }
	o.Tokens = func() []AdminToken {
		return []AdminToken{{Name: "ada", Secret: "adas-secret"}, {Name: "wall", Secret: "walls-secret", ReadOnly: true}}
	}
}

// browser keeps the session's cookie between requests.
type browser struct {
	h      http.Handler
	cookie *http.Cookie
	tls    bool
}

func (b *browser) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if b.tls {
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return w
}

func (b *browser) login(token, name string) *httptest.ResponseRecorder {
	body, _ := json.Marshal(loginBody{token, name})
	return b.do("POST", "/admin/v1/login", string(body))
}

func (b *browser) session(t *testing.T) (v sessionView) {
	t.Helper()
	w := b.do("GET", "/admin/v1/session", "")
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return v
}

func TestALoginOpensThePlaneUntilItsLogout(t *testing.T) {
	b := &browser{h: newAdminHandler(t, withTokens)}
	wantProblem(t, b.do("GET", "/admin/v1/session", ""), request.ProblemUnauthorized)
	if w := b.login("adas-secret", "not ada"); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	c := b.cookie
	if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Secure || c.MaxAge != int(DefaultSession/time.Second) {
		t.Fatalf("the cookie is %+v", c)
	}
	if strings.Contains(c.Value, "secret") || len(c.Value) < 20 {
		t.Errorf("the cookie's value is %q", c.Value)
	}
	v := b.session(t)
	if !v.LoginRequired || v.Author != "ada" || v.ReadOnly || v.Session == nil || v.Session.Expires.Sub(v.Session.Since) != DefaultSession {
		t.Errorf("the session is %+v", v)
	}
	if w := b.do("POST", "/admin/v1/cache/purge", `{"all":true}`); w.Code != 200 {
		t.Errorf("a change after the login: %d %s", w.Code, w.Body)
	}
	old := *c
	if w := b.do("POST", "/admin/v1/logout", ""); w.Code != 204 || b.cookie.MaxAge >= 0 || b.cookie.Value != "" {
		t.Errorf("logout: %d, cookie %+v", w.Code, b.cookie)
	}
	b.cookie = &old // a copy of the cookie is of no use either
	wantProblem(t, b.do("GET", "/admin/v1/session", ""), request.ProblemUnauthorized)
}

func TestTheCookieIsSecureOverTLS(t *testing.T) {
	b := &browser{h: newAdminHandler(t, withTokens), tls: true}
	b.login("adas-secret", "")
	if b.cookie == nil || !b.cookie.Secure {
		t.Errorf("the cookie is %+v", b.cookie)
	}
}

func TestASessionEndsWithItsTimeAndWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := "adas-secret"
		b := &browser{h: newAdminHandler(t, func(o *AdminOptions) {
			o.Tokens = func() []AdminToken { return []AdminToken{{Name: "ada", Secret: secret}} }
			o.Session = func() time.Duration { return time.Hour }
		})}
		b.login("adas-secret", "")
		time.Sleep(59 * time.Minute)
		b.session(t)
		time.Sleep(2 * time.Minute)
		wantProblem(t, b.do("GET", "/admin/v1/knobs", ""), request.ProblemUnauthorized)

		b.login("adas-secret", "")
		b.session(t)
		secret = "another"
		wantProblem(t, b.do("GET", "/admin/v1/knobs", ""), request.ProblemUnauthorized)
	})
}

func TestWrongTokensAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAdminHandler(t, withTokens)
		in := &browser{h: h}
		in.login("adas-secret", "")
		guess := func() *httptest.ResponseRecorder { return (&browser{h: h}).login("wrong", "") }
		for range freeGuesses {
			wantProblem(t, guess(), request.ProblemUnauthorized)
		}
		w := guess()
		wantProblem(t, w, request.ProblemRateLimited)
		if got := w.Header().Get("Retry-After"); got != "6" {
			t.Errorf("Retry-After is %q", got)
		}
		// Not even the right one, else guessing would go on; bearers count as well.
		wantProblem(t, (&browser{h: h}).login("adas-secret", ""), request.ProblemRateLimited)
		wantProblem(t, (&browser{h: h}).do("GET", "/admin/v1/knobs", "", "Authorization", "Bearer adas-secret"), request.ProblemRateLimited)
		in.session(t) // who is in stays in
		other := httptest.NewRequest("GET", "/admin/v1/knobs", nil)
		other.RemoteAddr = "198.51.100.7:1"
		other.Header.Set("Authorization", "Bearer adas-secret")
		if w := httptest.NewRecorder(); true {
			h.ServeHTTP(w, other)
			if w.Code != 200 {
				t.Errorf("another address: %d", w.Code)
			}
		}
		time.Sleep(guessInterval)
		if w := (&browser{h: h}).login("adas-secret", ""); w.Code != 200 {
			t.Errorf("after the wait: %d %s", w.Code, w.Body)
		}
	})
}

func TestRememberedGuessersAreBounded(t *testing.T) {
	var g guesses
	now := time.Unix(1e9, 0)
	for i := range 3 * maxGuessers {
		g.failed(fmt.Sprint(i), now.Add(time.Duration(i)*time.Microsecond))
	}
	if len(g.fullAt) > maxGuessers {
		t.Errorf("%d addresses are remembered", len(g.fullAt))
	}
	var s sessions
	for i := range 2 * maxSessions {
		s.open(AdminToken{Secret: "x"}, "x", time.Hour, now.Add(time.Duration(i)))
	}
	if len(s.m) > maxSessions {
		t.Errorf("%d sessions are kept", len(s.m))
	}
}

func TestAnAddressOfIPv6CountsByItsSite(t *testing.T) {
	of := func(addr string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = addr
		return clientAddress(r)
	}
	if a, b := of("[2001:db8::1]:5"), of("[2001:db8::ffff]:6"); a != b {
		t.Errorf("%s and %s", a, b)
	}
	if a, b := of("[2001:db8::1]:5"), of("[2001:db8:0:1::1]:6"); a == b {
		t.Errorf("both are %s", a)
	}
	if got := of("[::ffff:192.0.2.1]:7"); got != "192.0.2.1" {
		t.Errorf("got %s", got)
	}
	if got := of("@"); got != "@" { // a Unix socket's
		t.Errorf("got %s", got)
	}
}

func TestEveryChangeNamesItsAuthor(t *testing.T) {
	var changes []knob.Change
	h := newAdminHandler(t, withTokens, func(o *AdminOptions) {
		o.Knobs.Subscribe(func(c knob.Change) { changes = append(changes, c) })
	})
	pin := func(value int, do func(method, target, body string) *httptest.ResponseRecorder, want string) {
		t.Helper()
		changes = nil
		body := fmt.Sprintf(`{"value":%d}`, value)
		if w := do("PUT", "/admin/v1/knobs/workers.movies/pin", body); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if len(changes) != 1 || changes[0].Author != want {
			t.Errorf("the change is %+v, want one by %q", changes, want)
		}
	}
	in := func(token, name string) func(method, target, body string) *httptest.ResponseRecorder {
		b := &browser{h: h}
		b.login(token, name)
		return func(method, target, body string) *httptest.ResponseRecorder { return b.do(method, target, body) }
	}
	pin(10, in("adas-secret", ""), "ada")
	pin(11, in("adas-secret", "somebody else"), "ada")
	pin(12, in("shared-secret", "Grace"), "Grace")
	pin(13, in("shared-secret", ""), DefaultAuthor)
	pin(14, func(method, target, body string) *httptest.ResponseRecorder {
		return ask(h, method, target, body, "Authorization", "Bearer adas-secret")
	}, "ada")
	basic := func(user, password string) func(method, target, body string) *httptest.ResponseRecorder {
		return func(method, target, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, target, strings.NewReader(body))
			r.SetBasicAuth(user, password)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
	}
	pin(15, basic("Grace", "shared-secret"), "Grace")
	pin(16, basic("ada", "shared-secret"), DefaultAuthor)                  // who is not ada can't sign as ada
	pin(18, func(method, target, body string) *httptest.ResponseRecorder { // what the body says counts less than the token
		return ask(h, method, target, `{"value":18,"author":"Eve"}`, "Authorization", "Bearer adas-secret")
	}, "ada")
	pin(19, func(method, target, body string) *httptest.ResponseRecorder {
		return ask(h, method, target, `{"value":19,"author":"Grace"}`, "Authorization", "Bearer shared-secret")
	}, "Grace")
	wantProblem(t, ask(h, "PUT", "/admin/v1/knobs/workers.movies/pin", `{"value":20,"author":"ADA"}`, "Authorization", "Bearer shared-secret"), request.ProblemUnprocessable)
	open := newAdminHandler(t, func(o *AdminOptions) {
		o.Knobs.Subscribe(func(c knob.Change) { changes = append(changes, c) })
	})
	h = open
	pin(17, func(method, target, body string) *httptest.ResponseRecorder { return ask(open, method, target, body) }, DefaultAuthor)
	changes = nil
	b := &browser{h: newAdminHandler(t, withTokens)}
	wantProblem(t, b.login("shared-secret", "Ada"), request.ProblemUnprocessable)
	wantProblem(t, b.login("shared-secret", strings.Repeat("x", 65)), request.ProblemUnprocessable)
	wantProblem(t, b.login("shared-secret", "a\nb"), request.ProblemUnprocessable)
}

// changing are the documented operations of the admin plane that change something.
func changing(t *testing.T) (all [][2]string) {
	c := readContract(t)
	paths, _ := c.at("/paths")
	for path := range paths {
		for _, m := range operationMethods {
			if op, _ := c.at("/paths", path, m); op == nil || !strings.HasPrefix(path, "/admin/") || entry(path) || reading(strings.ToUpper(m)) {
				continue
			}
			target := strings.NewReplacer("{name}", "workers.movies", "{id}", "1").Replace(path)
			all = append(all, [2]string{strings.ToUpper(m), target})
		}
	}
	if len(all) < 4 {
		t.Fatalf("only %v are documented", all)
	}
	return all
}

func TestWhoMayOnlyLookIsRefusedEveryDocumentedChange(t *testing.T) {
	planes := map[string]*browser{
		"a token that may only look": {h: newAdminHandler(t, withTokens)},
		"a read-only service":        {h: newAdminHandler(t, withTokens, func(o *AdminOptions) { o.ReadOnly = func() bool { return true } })},
	}
	planes["a token that may only look"].login("walls-secret", "")
	planes["a read-only service"].login("adas-secret", "")
	for name, b := range planes {
		t.Run(name, func(t *testing.T) {
			for _, op := range changing(t) {
				wantProblem(t, b.do(op[0], op[1], `{}`), request.ProblemForbidden)
			}
			v := b.session(t)
			if !v.ReadOnly || v.ReadOnlyWhy == "" {
				t.Errorf("the session is %+v", v)
			}
			if w := b.do("POST", "/admin/v1/logout", ""); w.Code != 204 {
				t.Errorf("logging out: %d", w.Code)
			}
		})
	}
}

func TestABrowserIsSentToTheLoginPageAndBack(t *testing.T) {
	b := &browser{h: newAdminHandler(t, withTokens)}
	html := []string{"Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "none"}
	for target, want := range map[string]string{
		"/":                  "login",
		"/tuning?range=1h":   "login?next=tuning%3Frange%3D1h",
		"/x/y/z":             "../../login?next=x%2Fy%2Fz",
		"//evil.example/":    "../../login",
		"/https://evil.test": "../../login",
	} {
		w := b.do("GET", target, "", html...)
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), strings.SplitN(want, "login", 2)[0]+"login") ||
			strings.Contains(want, "next") && w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %q, want %q", target, w.Code, w.Header().Get("Location"), want)
		}
	}
	// Scripts and programs get a problem, and scripts no dialogue of the browser's.
	w := b.do("GET", "/admin/v1/knobs", "", "Sec-Fetch-Mode", "cors", "Accept", "*/*")
	wantProblem(t, w, request.ProblemUnauthorized)
	if got := w.Header()["Www-Authenticate"]; len(got) != 1 || strings.Contains(got[0], "Basic") {
		t.Errorf("WWW-Authenticate is %q", got)
	}

	page := b.do("GET", "/login?next=tuning%3Frange%3D1h", "")
	if page.Code != 200 || !strings.Contains(page.Body.String(), `value="tuning?range=1h"`) || !strings.Contains(page.Header().Get("Content-Security-Policy"), "form-action 'self'") {
		t.Errorf("the login page: %d, %s\n%s", page.Code, page.Header(), page.Body)
	}
	form := func(token, next string) *httptest.ResponseRecorder {
		return b.do("POST", "/login", url.Values{"token": {token}, "name": {"<Eve>"}, "next": {next}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	if w := form("wrong", "tuning"); w.Code != 401 || !strings.Contains(w.Body.String(), "&lt;Eve&gt;") || strings.Contains(w.Body.String(), "wrong\"") {
		t.Errorf("a wrong token: %d\n%s", w.Code, w.Body)
	}
	if w := form("shared-secret", "tuning?range=1h"); w.Code != 303 || w.Header().Get("Location") != "tuning?range=1h" {
		t.Errorf("the login: %d %v", w.Code, w.Header())
	}
	if w := b.do("GET", "/", "", html...); w.Code != 200 {
		t.Errorf("the page after the login: %d", w.Code)
	}
	if w := b.do("POST", "/logout", ""); w.Code != 303 || w.Header().Get("Location") != "login" {
		t.Errorf("logout: %d %v", w.Code, w.Header())
	}
	wantProblem(t, b.do("POST", "/login", "token=shared-secret", "Content-Type", "text/plain"), request.ProblemBadRequest)
	wantProblem(t, b.do("POST", "/login", "token=shared-secret", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"), request.ProblemForbidden)
}

func FuzzTheWayBackStaysOnThisSite(f *testing.F) {
	for _, s := range []string{"tuning", "//evil", "/\\evil", "https:evil", "a/../../b", "javascript:alert(1)", "?x=1", "tuning#x", "%2f%2fevil", "\tjavascript:x", "login"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := safeNext(next)
		base, _ := url.Parse("https://good.example/x/y/login")
		u, err := url.Parse(got)
		if err != nil {
			t.Fatalf("%q gives %q: %v", next, got, err)
		}
		to := base.ResolveReference(u)
		if to.Host != "good.example" || to.Scheme != "https" || got != "" && !strings.HasPrefix(to.Path, "/x/y/") {
			t.Errorf("%q leads to %s", next, to)
		}
	})
}

func TestWrongTokensAreLoggedWithoutTheToken(t *testing.T) {
	var log bytes.Buffer
	h := newAdminHandler(t, withTokens, func(o *AdminOptions) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	(&browser{h: h}).login("guess-4711", "")
	if text := log.String(); !strings.Contains(text, "wrong admin token") || strings.Contains(text, "4711") {
		t.Errorf("the log is %s", text)
	}
}

func TestOutsideTheAdminPlaneTheAuthorIsTheOperator(t *testing.T) {
	if got := AuthorOf(context.Background()); got != DefaultAuthor {
		t.Errorf("got %q", got)
	}
}
