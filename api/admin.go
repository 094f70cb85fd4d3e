package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"penstock/knob"
)

// ConfigEntry is one effective value. Secrets come masked.
type ConfigEntry struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Source string `json:"source"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
}

// ReloadStatus is how the last reload ended.
type ReloadStatus struct {
	At time.Time `json:"at"`
	OK bool      `json:"ok"`
	// Error says why it changed nothing; empty if OK.
	Error  string  `json:"error,omitempty"`
	Errors []Fault `json:"errors,omitempty"`
}

// ConfigView is the configuration in force.
type ConfigView struct {
	Entries []ConfigEntry `json:"entries"`
	// LastReload is nil if there was none since the start.
	LastReload *ReloadStatus `json:"last_reload"`
}

// ConfigChange is one difference. Secrets come masked.
type ConfigChange struct {
	Key           string `json:"key"`
	From          any    `json:"from"`
	To            any    `json:"to"`
	RestartNeeded bool   `json:"restart_needed"`
}

// Config is the running configuration. Faults of the file are told by a [*RejectedError].
type Config interface {
	// Effective gives the values in force.
	Effective() ConfigView
	// Diff compares the values in force with what a reload would bring.
	Diff(ctx context.Context) ([]ConfigChange, error)
	// Reload applies the file, or changes nothing; it returns when it is done.
	Reload(ctx context.Context) ([]ConfigChange, error)
}

// PurgeRequest says what to remove from the cache; exactly one field besides Soft is set.
type PurgeRequest struct {
	Key      string `json:"key,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Route    string `json:"route,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	// Tag is a surrogate key.
	Tag string `json:"tag,omitempty"`
	All bool   `json:"all,omitempty"`
	// Soft keeps what matches as stale.
	Soft bool `json:"soft,omitempty"`
}

// Cache is what the admin plane asks of the cache.
type Cache interface {
	// Stats is answered as JSON.
	Stats() any
	// Purge removes and says how many entries went.
	Purge(ctx context.Context, p PurgeRequest) (int, error)
}

// AdminOptions says what the admin plane stands on. A nil provider makes its paths answer 404,
// except that lists are then empty. The funcs may be called at once.
type AdminOptions struct {
	Config Config
	// Knobs is the registry. Required.
	Knobs *knob.Registry
	// PinsChanged is called after the API pinned or unpinned a knob, so that pins can be saved;
	// may be nil.
	PinsChanged func()
	Cache       Cache
	Decisions   Decisions
	Tuning      Tuning
	// Jobs are those of all tenants; nil: there are none.
	Jobs Jobs
	// Streams are those of all tenants, shared with the data plane; nil: they are not told.
	Streams *Streams
	// Live serves the newest snapshot, and History the past.
	Live    *Live
	History History
	// Limits, Preload, Alerts and Cluster are answered as JSON.
	Limits, Preload, Alerts, Cluster func() any
	// Metrics writes the Prometheus text format.
	Metrics func(w io.Writer)
	// Page serves the web page and what belongs to it, under "/".
	Page http.Handler
	// Profiling says whether /debug/pprof/ is served; nil: no.
	Profiling func() bool
	// Token is the secret to be sent as "Authorization: Bearer TOKEN" (or as the password of
	// basic authentication, which is what browsers can do); nil or "": none is needed.
	Token func() string
	// Tokens are further secrets, each with a name; nil: none.
	Tokens func() []AdminToken
	// Session is how long a login lasts; nil: DefaultSession.
	Session func() time.Duration
	// ReadOnly refuses all that changes something; nil: no.
	ReadOnly func() bool
	// Ready says whether the data plane welcomes new requests, and if not, why; nil: yes.
	Ready func() (ok bool, why string)
	// Degraded says what does not work though new requests are welcome; nil or "": nothing.
	Degraded func() string
	Logger   *slog.Logger
	Version  string
}

func (o *AdminOptions) defaults() {
	no := func() bool { return false }
	empty := func() any { return struct{}{} }
	if o.Profiling == nil {
		o.Profiling = no
	}
	if o.ReadOnly == nil {
		o.ReadOnly = no
	}
	if o.Token == nil {
		o.Token = func() string { return "" }
	}
	if o.Tokens == nil {
		o.Tokens = func() []AdminToken { return nil }
	}
	if o.Session == nil {
		o.Session = func() time.Duration { return DefaultSession }
	}
	if o.PinsChanged == nil {
		o.PinsChanged = func() {}
	}
	for _, f := range []*func() any{&o.Limits, &o.Preload, &o.Alerts, &o.Cluster} {
		if *f == nil {
			*f = empty
		}
	}
}

// admin is the admin plane's handler.
type admin struct {
	plane
	o      AdminOptions
	mux    *chi.Mux
	origin *http.CrossOriginProtection
	// sessions are the logins, guesses who sent wrong tokens.
	sessions sessions
	guesses  guesses
	// streams is how many event streams are open.
	streams atomic.Int64
}

// NewAdmin returns the admin plane's handler. It fails if something required is missing.
func NewAdmin(o AdminOptions) (http.Handler, error) {
	if o.Knobs == nil {
		return nil, errors.New("api: AdminOptions needs Knobs")
	}
	o.defaults()
	a := &admin{plane: newPlane(o.Logger, o.Ready, o.Degraded, o.Version), o: o, mux: chi.NewRouter(), origin: http.NewCrossOriginProtection()}
	a.mux.NotFound(a.notFound)
	a.mux.MethodNotAllowed(a.methodNotAllowed(a.mux))
	a.mux.Use(middleware.GetHead)
	a.mountCommon(a.mux)
	a.mux.Route("/admin/v1", a.mountAPI)
	a.mountLogin()
	if o.Metrics != nil {
		a.mux.Get("/metrics", a.serveMetrics)
	}
	a.mountProfiling()
	return a, nil
}

func (a *admin) mountAPI(m chi.Router) {
	if a.o.Config != nil {
		m.Get("/config", a.serveConfig)
		m.Get("/config/diff", a.serveConfigDiff)
		m.Post("/config/reload", a.serveReload)
	}
	m.Get("/knobs", a.serveKnobs)
	m.Get("/knobs/{name}", a.serveKnob)
	m.Put("/knobs/{name}/pin", a.servePin)
	m.Delete("/knobs/{name}/pin", a.serveUnpin)
	if a.o.Cache != nil {
		m.Get("/cache", a.serveCache)
		m.Post("/cache/purge", a.servePurge)
	}
	m.Get("/decisions", a.serveDecisions)
	m.Get("/decisions/stream", a.serveDecisionStream)
	m.Get("/decisions/{id}", a.serveDecision)
	a.mountTuning(m)
	a.mountJobs(m)
	a.mountStreams(m)
	if a.o.Live != nil {
		m.Get("/now", a.serveNow)
		m.Get("/live", a.serveLive)
	}
	if a.o.History != nil {
		m.Get("/history", a.serveHistory)
		m.Get("/history/report", a.serveReport)
	}
	m.Get("/limits", a.serveAny(a.o.Limits))
	m.Get("/cluster", a.serveAny(a.o.Cluster))
	m.Get("/preload", a.serveAny(a.o.Preload))
	m.Get("/alerts", a.serveAny(a.o.Alerts))
	m.Get("/session", a.serveSession)
	m.Post("/login", a.serveLogin)
	m.Post("/logout", a.serveLogout)
}

func (a *admin) mountProfiling() {
	on := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !a.o.Profiling() {
				a.notFound(w, r)
				return
			}
			exchangeOf(r).status = http.StatusOK
			h(w, r)
		}
	}
	a.mux.Get("/debug/pprof/", on(pprof.Index))
	a.mux.Get("/debug/pprof/{profile}", on(pprof.Index))
	a.mux.Get("/debug/pprof/cmdline", on(pprof.Cmdline))
	a.mux.Get("/debug/pprof/profile", on(pprof.Profile))
	a.mux.Get("/debug/pprof/symbol", on(pprof.Symbol))
	a.mux.Get("/debug/pprof/trace", on(pprof.Trace))
}

// ServeHTTP guards, then serves.
func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	r = r.WithContext(x)
	defer a.recover(w, r, x)
	strictHeaders(w.Header())
	id, err := a.guard(w, r)
	if err != nil {
		if a.o.Page != nil && !a.ownPath(r.URL.Path) && navigation(r) && w.Header().Get("Www-Authenticate") != "" {
			w.Header().Del("Www-Authenticate")
			toLogin(w, r)
			return
		}
		a.fail(w, r, x, err)
		return
	}
	x.Context = context.WithValue(x.Context, identityKey{}, id)
	if a.o.Page != nil && !a.ownPath(r.URL.Path) {
		x.status = http.StatusOK
		a.o.Page.ServeHTTP(w, r)
	} else {
		a.mux.ServeHTTP(w, r)
	}
	a.logServed(r, x)
}

// ownPath reports whether a path is the API's, so that the page doesn't get it.
func (a *admin) ownPath(path string) bool {
	switch path {
	case "/healthz", "/readyz", "/metrics", loginPath, logoutPath:
		return true
	}
	return strings.HasPrefix(path, "/admin/") || strings.HasPrefix(path, "/debug/") || strings.HasPrefix(path, "/v1/")
}
