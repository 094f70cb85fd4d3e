package preload

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

const (
	// bodyQueue is how many answers may wait to be searched for ids, maxTees how many are copied at once.
	bodyQueue = 16
	maxTees   = 32
)

// Watch returns next, with the answers to clients shown to the preloader: how long the upstream took,
// whether the answer was kept, and the ids in it. Requests never wait for it.
func (p *Preloader) Watch(next request.Doer) request.Doer {
	w := &watched{next: next, p: p}
	w.recaller, _ = next.(request.Recaller)
	return w
}

type watched struct {
	next     request.Doer
	recaller request.Recaller // next, if it is one
	p        *Preloader
}

// Do implements [request.Doer].
func (w *watched) Do(ctx context.Context, r *request.Request) (*request.Response, error) {
	answer, err := w.next.Do(ctx, r)
	if err != nil || r.Background || answer.Cache.Hit || answer.Cache.Collapsed || answer.Cache.Fwd == "" || !w.p.o.Enabled.Get() {
		return answer, err
	}
	if prefetchable(r) && allows(r.Route) {
		w.p.told(r, answer)
	}
	return answer, nil
}

// Recall implements [request.Recaller]: what is known by heart makes no call, so there is nothing to
// learn of it that the cache does not tell.
func (w *watched) Recall(r *request.Request, now time.Time) *request.Response {
	if w.recaller == nil {
		return nil
	}
	return w.recaller.Recall(r, now)
}

// told takes in the answer to a request that made a call.
func (p *Preloader) told(r *request.Request, answer *request.Response) {
	tenant := p.tenantOf(r)
	key := p.hash.key(tenant, r.Key)
	e := event{
		kind: answered, key: key, at: time.Now(), request: p.known.get(key), route: p.hash.route(r.Route),
		session: p.hash.key(r.Tenant, p.sessionOf(r)), own: p.hash.kindOf(r), latency: answer.Timing.Upstream,
	}
	e.life, e.kept = keeps(answer)
	p.send(e)
	if !e.kept || e.request == nil || !mayList(answer) {
		return
	}
	if p.tees.Add(1) > maxTees {
		p.tees.Add(-1)
		return
	}
	e.latency = 0 // told already
	answer.Body = &tee{ReadCloser: answer.Body, p: p, e: e}
}

// keeps reports for how long the cache will answer with what came, if at all. An answer that is kept but
// must be validated each time it is used is not worth fetching ahead: its client would wait all the same.
func keeps(answer *request.Response) (life time.Duration, kept bool) {
	c := &answer.Cache
	return c.Lifetime, c.Stored && c.Lifetime > 0 && answer.Status < http.StatusBadRequest
}

// mayList reports whether an answer may hold ids.
func mayList(answer *request.Response) bool {
	if answer.Status != http.StatusOK || answer.ContentLength > maxListingBytes || len(answer.Header["Content-Encoding"]) > 0 {
		return false
	}
	v := answer.Header["Content-Type"]
	return len(v) > 0 && strings.Contains(v[0], "json")
}

// tee keeps what a client reads of an answer, and hands it over when all was read.
type tee struct {
	io.ReadCloser
	p    *Preloader
	e    event
	kept bytes.Buffer
	over bool
}

// Read reads on.
func (t *tee) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if !t.over {
		t.kept.Write(b[:n])
		switch {
		case t.kept.Len() > maxListingBytes:
			t.end(false)
		case err == io.EOF:
			t.end(true)
		}
	}
	return n, err
}

// Close closes the answer.
func (t *tee) Close() error {
	if !t.over {
		t.end(false)
	}
	return t.ReadCloser.Close()
}

func (t *tee) end(whole bool) {
	t.over = true
	t.p.tees.Add(-1)
	if !whole || t.kept.Len() == 0 {
		t.kept = bytes.Buffer{}
		return
	}
	t.e.at, t.e.body = time.Now(), t.kept.Bytes()
	select {
	case t.p.bodies <- t.e:
	default:
		t.p.dropped.Add(1)
	}
}
