package api

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"penstock/request"
)

// Routes is the table of what can be asked for. Its answers may change from call to call (a
// reload swaps them); the Routes that it returns are compiled and immutable.
type Routes interface {
	// Route finds a declared route by name.
	Route(name string) (*request.Route, bool)
	// Routes lists the declared routes, in any order.
	Routes() []*request.Route
	// Proxy finds the implicit route of an upstream's proxy path.
	Proxy(upstream string) (*request.Route, bool)
}

// Limits bounds what one HTTP request may take of the process. Zero values mean the defaults.
type Limits struct {
	// MaxBodyBytes bounds a request's body, and one line or one answer of a batch. Default 10 MiB.
	MaxBodyBytes int64
	// InFlight is how many items of one batch are being answered at once. Default 128. More fills
	// upstream batches better, less leaves room in the queue to others.
	InFlight int
	// Buffer is how many more may be answered and wait for a slow reader. Default 256.
	Buffer int
	// BufferBytes is the read buffer of an NDJSON batch. Default 64 KiB, at least 4 KiB: with
	// less, most lines would take several reads.
	BufferBytes int
}

func (l Limits) withDefaults() Limits {
	if l.MaxBodyBytes <= 0 {
		l.MaxBodyBytes = 10 << 20
	}
	if l.InFlight <= 0 {
		l.InFlight = 128
	}
	if l.Buffer <= 0 {
		l.Buffer = 256
	}
	if l.BufferBytes <= 0 {
		l.BufferBytes = 64 << 10
	}
	l.BufferBytes = max(l.BufferBytes, 4<<10)
	return l
}

// DataOptions says what the data plane stands on. The funcs are called for each request and may
// be called at once.
type DataOptions struct {
	// Doer answers the requests. Required.
	Doer request.Doer
	// Routes finds routes and upstreams. Required.
	Routes Routes
	// Limits bounds what a request may take; nil: the defaults.
	Limits func() Limits
	// Tenants says who asks; nil: everybody may, and all are one tenant.
	Tenants Tenants
	// DefaultDeadline is the deadline of a request that names none; nil or 0: none.
	DefaultDeadline func() time.Duration
	// ServerTiming says whether answers carry Server-Timing; nil: yes.
	ServerTiming func() bool
	// ForwardClient says whether X-Forwarded-For, -Host and -Proto are sent upstream on the
	// proxy path; nil: no, the client stays unknown to the upstream, and what it sent of these
	// headers itself passes as it is.
	ForwardClient func() bool
	// Bulk serves NDJSON streams; nil: there are none.
	Bulk Bulk
	// Streams is where they are listed; nil: only here.
	Streams *Streams
	// Jobs keeps requests that are answered later; nil: there are none.
	Jobs Jobs
	// WebhookAllowed refuses, by a [request.Error], the URLs that a job's webhook may not have; nil: all
	// are refused.
	WebhookAllowed func(url string) error
	// Stats is what GET /v1/stats answers, as JSON; nil: an empty object.
	Stats func() any
	// Ready says whether new requests are welcome, and if not, why; nil: yes.
	Ready func() (ok bool, why string)
	// Degraded says what does not work though new requests are welcome; nil or "": nothing.
	Degraded func() string
	// Logger gets faults at warn and error level and each request at debug level; nil: nobody.
	Logger *slog.Logger
	// Version is shown by /healthz.
	Version string
}

// data is the data plane's handler.
type data struct {
	plane
	o   DataOptions
	mux *chi.Mux
	// streams is how many event streams are open.
	streams atomic.Int64
	bulk    *Streams
}

// NewData returns the data plane's handler. It fails if something required is missing.
func NewData(o DataOptions) (http.Handler, error) {
	if o.Doer == nil || o.Routes == nil {
		return nil, errors.New("api: DataOptions needs a Doer and Routes")
	}
	o.defaults()
	d := &data{plane: newPlane(o.Logger, o.Ready, o.Degraded, o.Version), o: o, mux: chi.NewRouter(), bulk: o.Streams}
	d.mux.NotFound(d.notFound)
	d.mux.MethodNotAllowed(d.methodNotAllowed(d.mux))
	d.mux.Use(middleware.GetHead)
	d.mux.Post("/v1/requests", d.serveRequest)
	d.mux.Post("/v1/batch", d.serveBatch)
	d.mux.Post("/v1/stream/{route}", d.serveStream)
	d.mux.Get("/v1/streams", d.serveStreams)
	d.mux.Delete("/v1/streams/{id}", d.serveStreamCancel)
	d.mux.Get("/v1/streams/{id}/events", d.serveStreamEvents)
	d.mountJobs()
	d.mux.Get("/v1/routes", d.serveRoutes)
	d.mux.Get("/v1/stats", d.serveStats)
	d.mountCommon(d.mux)
	return d, nil
}

func (o *DataOptions) defaults() {
	if o.Limits == nil {
		o.Limits = func() Limits { return Limits{} }
	}
	if o.DefaultDeadline == nil {
		o.DefaultDeadline = func() time.Duration { return 0 }
	}
	if o.ServerTiming == nil {
		o.ServerTiming = func() bool { return true }
	}
	if o.ForwardClient == nil {
		o.ForwardClient = func() bool { return false }
	}
	if o.WebhookAllowed == nil {
		o.WebhookAllowed = func(string) error {
			return request.Errorf(request.ProblemForbidden, "webhooks are off; allow their hosts in jobs.webhook_hosts")
		}
	}
	if o.Streams == nil {
		o.Streams = new(Streams)
	}
	if o.Stats == nil {
		o.Stats = func() any { return struct{}{} }
	}
}

const proxyPrefix = "/proxy/"

// ServeHTTP sends the proxy path ahead of chi, which refuses methods that it does not know and
// costs allocations that a cached hit need not pay.
func (d *data) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	defer d.recover(w, r, x)
	if strings.HasPrefix(r.URL.Path, proxyPrefix) {
		d.serveProxy(w, r, x)
	} else {
		d.mux.ServeHTTP(w, r.WithContext(x))
	}
	d.logServed(r, x)
}
