package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"penstock/request"
)

// intent is what the headers say for every call of an HTTP request.
type intent struct {
	urgency    request.Urgency
	hasUrgency bool
	tenant     Tenant
	// deadline is counted from a call's arrival; 0: none.
	deadline time.Duration
	trace    []string
	newTrace bool
	client   string
	header   http.Header
}

func (d *data) readIntent(r *http.Request, t Tenant) (in intent, err error) {
	h := r.Header
	in.tenant, in.client, in.header = t, clientOf(r), h
	in.urgency, in.hasUrgency = priority(h)
	if in.deadline, err = headerDeadlineOf(h); err != nil {
		return in, err
	}
	in.newTrace = continueTrace(h)
	in.trace = h["Traceparent"]
	return in, nil
}

// serveRequest answers POST /v1/requests.
func (d *data) serveRequest(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	tenant, err := d.admit(w, r, x)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	if d.o.Jobs != nil && prefersAsync(r.Header) {
		if err := d.submit(w, r, x, tenant); err != nil {
			d.fail(w, r, x, err)
		}
		return
	}
	in, err := d.readIntent(r, tenant)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	raw, err := readBody(w, r, d.o.Limits().withDefaults().MaxBodyBytes)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	c, err := parseCall(raw)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	req, err := d.build(c, in, x.id, x.arrived)
	if err != nil {
		d.failAnswer(w, r, x, r.Method, err)
		return
	}
	x.bind(req)
	defer x.release()
	resp, err := d.o.Doer.Do(x, req)
	if err != nil {
		d.failAnswer(w, r, x, req.Method, err)
		return
	}
	if resp, err = settle(resp); err != nil {
		d.failAnswer(w, r, x, req.Method, err)
		return
	}
	d.answer(w, r, x, resp)
}

// settleBytes is how much of an answer of unknown length is read before it is passed on, so that one
// that turns out too large or breaks off early is still a problem document and not a torso.
const settleBytes = 256 << 10

// settle reads the beginning of an answer of unknown length. It takes over resp's body.
func settle(resp *request.Response) (*request.Response, error) {
	if resp.ContentLength >= 0 || len(resp.Trailer) > 0 {
		return resp, nil
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, settleBytes))
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	settled := *resp
	if len(head) < settleBytes {
		resp.Body.Close()
		settled.Body, settled.ContentLength = request.NewBody(head), int64(len(head))
		return &settled, nil
	}
	settled.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	return &settled, nil
}

// build makes the Request of a call. Its Deadline is set, but nothing is bound to it yet.
func (d *data) build(c *call, in intent, id string, arrived time.Time) (*request.Request, error) {
	route, ok := d.o.Routes.Route(c.route)
	if !ok {
		return nil, d.unknownRoute(c.route)
	}
	req, err := route.Build(c.params)
	if err != nil {
		return nil, err
	}
	req.ID, req.Arrived, req.Tenant = id, arrived, in.tenant.Name
	urgency := route.Urgency
	switch {
	case c.urgency != nil:
		urgency = *c.urgency
	case in.hasUrgency:
		urgency = in.urgency
	}
	req.SetUrgency(in.tenant.urgency(urgency))
	if wait := d.wait(smaller(c.deadline, in.deadline), route); wait > 0 {
		req.Deadline = arrived.Add(wait)
	}
	req.Client = in.client
	req.Pass(in.header)
	if c.cache != "" {
		req.Header["Cache-Control"] = []string{c.cache}
	}
	if len(in.trace) > 0 {
		req.Header["Traceparent"], req.NewTrace = in.trace[:1:1], in.newTrace
	}
	req.Header["Via"] = via[:1:1]
	return req, nil
}

func (d *data) unknownRoute(name string) error {
	routes := d.o.Routes.Routes()
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.Name
	}
	text := fmt.Sprintf("no route is named %.100q", name)
	if s := closest(name, names); s != "" {
		text += fmt.Sprintf(" (did you mean %q?)", s)
	}
	return &request.Error{Problem: request.ProblemUnknownRoute, Detail: text + "; GET /v1/routes lists the routes"}
}
