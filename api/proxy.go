package api

import (
	"net"
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

// proxyMethods is the Allow of the two methods that are not passed on.
const proxyMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// serveProxy answers ANY /proxy/{upstream}/*.
func (d *data) serveProxy(w http.ResponseWriter, r *http.Request, x *exchange) {
	// A tunnel is no request; TRACE would show the upstream's credentials to the client.
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		d.refuseMethod(w, r, x, proxyMethods)
		return
	}
	tenant, err := d.admit(w, r, x)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	req, err := d.proxyRequest(r, x)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	deadline, err := d.takeHeaders(r.Header, req, tenant)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	body, err := takeBody(w, r, req, d.o.Limits().withDefaults().MaxBodyBytes)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	d.stripHeaders(r, req)
	if deadline > 0 {
		req.Deadline = x.arrived.Add(deadline)
		x.bind(req)
		defer x.release()
	}
	if r.ProtoAtLeast(1, 1) {
		x.w, req.Interim = w, x
	}
	resp, err := d.o.Doer.Do(x, req)
	if err != nil {
		if body != nil && body.over.Load() {
			err = bodyTooLarge(body.limit)
		}
		d.failAnswer(w, r, x, req.Method, err)
		return
	}
	d.answer(w, r, x, resp)
}

// proxyRequest makes the Request of the path, without its body.
func (d *data) proxyRequest(r *http.Request, x *exchange) (*request.Request, error) {
	upstream, path, err := splitProxyPath(r.URL)
	if err != nil {
		return nil, err
	}
	route, ok := d.o.Routes.Proxy(upstream)
	if !ok {
		return nil, request.Errorf(request.ProblemUnknownUpstream,
			"no upstream is named %.100q; declare it under upstreams in the configuration", upstream)
	}
	if wantsUpgrade(r.Header) {
		return nil, request.Errorf(request.ProblemBadRequest,
			"an upgrade of the connection (such as a WebSocket) can't be queued or cached and is not passed on; connect to the upstream itself")
	}
	req := &x.proxied
	req.ID, req.Arrived, req.Route, req.Client = x.id, x.arrived, route, clientOf(r)
	req.Method, req.Path, req.RawQuery = r.Method, path, r.URL.RawQuery
	// net/http lets go of the header map with the call of the handler, so it may be handed on.
	req.Header = r.Header
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		// HEAD shares GET's key: the cache tells them apart where it must.
		if req.RawQuery == "" {
			req.Key = upstream + " " + path
		} else {
			req.Key = upstream + " " + path + "?" + req.RawQuery
		}
	}
	return req, nil
}

// takeHeaders reads what the headers say to Penstock: urgency and deadline.
func (d *data) takeHeaders(h http.Header, req *request.Request, t Tenant) (deadline time.Duration, err error) {
	u, ok := priority(h)
	if !ok {
		u = req.Route.Urgency
	}
	req.Tenant = t.Name
	req.SetUrgency(t.urgency(u))
	if deadline, err = headerDeadlineOf(h); err != nil {
		return 0, err
	}
	return d.wait(deadline, req.Route), nil
}

// stripHeaders leaves only what is meant for the upstream.
func (d *data) stripHeaders(r *http.Request, req *request.Request) {
	h := req.Header
	trailers := false
	for _, v := range h["Te"] {
		trailers = trailers || strings.Contains(strings.ToLower(v), "trailers")
	}
	for _, v := range h["Connection"] {
		dropNamed(h, v)
	}
	for name := range h {
		if request.HopByHop(name) {
			delete(h, name)
		}
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	delete(h, "Content-Length") // the body says it
	delete(h, "Expect")         // net/http has answered it
	delete(h, headerDeadline)
	req.NewTrace = continueTrace(h)
	if old := h["Via"]; len(old) > 0 {
		h["Via"] = append(old[:len(old):len(old)], via[0])
	} else {
		h["Via"] = via[:1:1]
	}
	if d.o.ForwardClient() {
		forwardClient(h, r)
	}
}

// forwardClient adds what reverse proxies usually tell of the client.
func forwardClient(h http.Header, r *http.Request) {
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		h["X-Forwarded-For"] = []string{strings.Join(append(h["X-Forwarded-For"], ip), ", ")}
	}
	h["X-Forwarded-Host"] = []string{r.Host}
	h["X-Forwarded-Proto"] = []string{"http"}
	if r.TLS != nil {
		h["X-Forwarded-Proto"] = []string{"https"}
	}
}

// wantsUpgrade reports whether the client asks for another protocol. An offer of HTTP/2 may be
// ignored, and clients make it by themselves.
func wantsUpgrade(h http.Header) bool {
	for _, v := range h["Upgrade"] {
		if !strings.EqualFold(strings.TrimSpace(v), "h2c") {
			return true
		}
	}
	return false
}

// failAnswer is fail with what the way up to the failure has to say.
func (d *data) failAnswer(w http.ResponseWriter, r *http.Request, x *exchange, method string, err error) {
	f := classify(x, err)
	if s := failureCacheStatus(f.Error, method); s != "" {
		w.Header()["Cache-Status"] = []string{s}
	}
	if d.o.ServerTiming() {
		if s := serverTiming(&request.CacheStatus{}, f.Timing); s != "" {
			w.Header()["Server-Timing"] = []string{s}
		}
	}
	d.fail(w, r, x, err)
}
