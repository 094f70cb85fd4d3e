package api

import (
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/time/rate"

	"penstock/request"
)

// openAPI is the description of both planes.
//
//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the OpenAPI 3.1 document of both planes, in YAML.
func OpenAPI() []byte { return append([]byte(nil), openAPI...) }

// plane is what the two planes have in common.
type plane struct {
	log   *slog.Logger
	ready func() (bool, string)
	// degraded says what does not work though new requests are welcome; "": nothing.
	degraded func() string
	version  string
	// warnings keeps an outage of an upstream from filling the log; unlogged counts what it held back.
	warnings *rate.Limiter
	unlogged *atomic.Uint64
}

// At most so many failed requests are logged per second, and at once.
const (
	warningsPerSecond = 10
	warningsAtOnce    = 100
)

func newPlane(log *slog.Logger, ready func() (bool, string), degraded func() string, version string) plane {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if ready == nil {
		ready = func() (bool, string) { return true, "" }
	}
	if degraded == nil {
		degraded = func() string { return "" }
	}
	return plane{log: log, ready: ready, degraded: degraded, version: version,
		warnings: rate.NewLimiter(warningsPerSecond, warningsAtOnce), unlogged: new(atomic.Uint64)}
}

func (p *plane) mountCommon(m *chi.Mux) {
	m.Get("/healthz", p.serveHealth)
	m.Get("/readyz", p.serveReady)
	m.Get("/v1/openapi.yaml", serveOpenAPI)
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(openAPI)
}

type health struct {
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
	// Detail says what does not work.
	Detail string `json:"detail,omitempty"`
}

func (p *plane) serveHealth(w http.ResponseWriter, r *http.Request) {
	p.writeJSON(w, r, http.StatusOK, health{Status: "ok", Version: p.version})
}

func (p *plane) serveReady(w http.ResponseWriter, r *http.Request) {
	ok, why := p.ready()
	if ok {
		h := health{Status: "ready", Version: p.version, Detail: p.degraded()}
		if h.Detail != "" {
			h.Status = "degraded" // 200 all the same: a node that answers must keep its traffic
		}
		p.writeJSON(w, r, http.StatusOK, h)
		return
	}
	if why == "" {
		why = "not ready for new requests; try again later"
	}
	p.fail(w, r, exchangeOf(r), &request.Error{Problem: request.ProblemShuttingDown, Detail: why})
}

// writeJSON answers v. A v that can't be encoded is a fault of ours: 500, and the log says why.
func (p *plane) writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	x := exchangeOf(r)
	b, err := json.Marshal(v)
	if err != nil {
		p.fail(w, r, x, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	x.status = status
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

func (p *plane) notFound(w http.ResponseWriter, r *http.Request) {
	p.fail(w, r, exchangeOf(r), request.Errorf(request.ProblemNotFound,
		"nothing is served at this path; GET /v1/openapi.yaml lists what is"))
}

// methodNotAllowed says which methods the path has: a custom handler gets no Allow from chi.
func (p *plane) methodNotAllowed(m *chi.Mux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if m.Match(chi.NewRouteContext(), method, r.URL.Path) {
				allow = append(allow, method)
				if method == http.MethodGet {
					allow = append(allow, http.MethodHead)
				}
			}
		}
		if allow == nil {
			p.notFound(w, r)
			return
		}
		p.refuseMethod(w, r, exchangeOf(r), strings.Join(allow, ", "))
	}
}

func (p *plane) refuseMethod(w http.ResponseWriter, r *http.Request, x *exchange, allow string) {
	w.Header().Set("Allow", allow)
	p.fail(w, r, x, request.Errorf(request.ProblemMethodNotAllowed, "use one of %s here", allow))
}

// recover ends a handler's panic: http.ErrAbortHandler goes on to net/http, which breaks the
// connection; any other is logged and answered 500. If the answer had begun, the connection is
// broken as well, so that the client does not take the torso for the whole.
func (p *plane) recover(w http.ResponseWriter, r *http.Request, x *exchange) {
	fault := recover()
	if fault == nil {
		return
	}
	if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	p.log.ErrorContext(x, "a handler panicked", "panic", fault, "stack", string(debug.Stack()))
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	clear(w.Header())
	w.Header()[headerRequestID] = []string{x.id}
	p.fail(w, r, x, errors.New("panic"))
}

func (p *plane) logServed(r *http.Request, x *exchange) {
	if !p.log.Enabled(x, slog.LevelDebug) {
		return
	}
	p.log.DebugContext(x, "served", "method", r.Method, "path", r.URL.Path, "status", x.status,
		"duration", time.Since(x.arrived))
}
