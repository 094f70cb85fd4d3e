package jobs

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// receiver takes webhooks instead of a server: sockets don't work in virtual time.
type receiver struct {
	mu     sync.Mutex
	status int
	got    []*http.Request
	bodies [][]byte
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.bodies = append(r.got, req), append(r.bodies, body)
	if r.status == 0 {
		return nil, errors.New("nobody listens")
	}
	return &http.Response{StatusCode: r.status, Status: http.StatusText(r.status), Body: http.NoBody, Header: http.Header{}}, nil
}

func (r *receiver) answers(status int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
	return len(r.got)
}

func TestAWebhookIsSignedAndTriedUntilItIsTaken(t *testing.T) {
	r := new(receiver)
	inBubble(t, Options{Client: &http.Client{Transport: r}, Settings: Settings{WebhookSecret: "s3cret"}}, func(t *testing.T, w *world) {
		s := spec("a")
		s.Webhook = "http://receiver.example/hook"
		j := w.submit(s)
		j = w.after(10*time.Second, j.ID, Done)
		if j.Webhook.State != WebhookWaiting || j.Webhook.Fault == "" || r.answers(204) < 2 {
			t.Errorf("webhook %+v", j.Webhook)
		}
		w.stop(time.Second) // it outlives a restart
		w.start()
		j = w.after(time.Minute, j.ID, Done)
		n := r.answers(204)
		if j.Webhook.State != WebhookDelivered || j.Webhook.Attempts != n {
			t.Errorf("webhook %+v after %d tries", j.Webhook, n)
		}
		h := r.got[n-1].Header
		id, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
		if h.Get("Webhook-Signature") != Sign("s3cret", id, stamp, r.bodies[n-1]) || !bytes.Contains(r.bodies[n-1], []byte(`"state":"done"`)) {
			t.Errorf("signature %q of %s", h.Get("Webhook-Signature"), r.bodies[n-1])
		}
		if first := r.got[0].Header.Get("Webhook-Id"); first != id {
			t.Errorf("one notice has the ids %s and %s", first, id)
		}
		time.Sleep(time.Hour)
		if got := r.answers(204); got != n {
			t.Errorf("%d more after the delivery", got-n)
		}
	})
}

func TestAWebhookThatNobodyTakesIsGivenUp(t *testing.T) {
	r := new(receiver)
	inBubble(t, Options{Client: &http.Client{Transport: r}, Settings: Settings{WebhookAttempts: 4}}, func(t *testing.T, w *world) {
		s := spec("a")
		s.Webhook = "http://receiver.example/hook"
		j := w.after(time.Hour, w.submit(s).ID, Done)
		if n := r.answers(500); n != 4 || j.Webhook.State != WebhookFailed || j.Webhook.Fault == "" {
			t.Errorf("%d tries, %+v", n, j.Webhook)
		}
	})
}
