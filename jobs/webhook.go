package jobs

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// hookTimeout bounds one try of a webhook.
	hookTimeout = 10 * time.Second
	// hooksAtOnce bounds the tries under way.
	hooksAtOnce = 16
	// hookBackoff and hookBackoffMost are the first and the longest pause between tries.
	hookBackoff     = time.Second
	hookBackoffMost = 5 * time.Minute
)

// notify sends the webhooks that are due, until ctx ends.
func (s *Service) notify(ctx context.Context) {
	select {
	case <-s.loaded:
	case <-ctx.Done():
		return
	}
	slots := make(chan struct{}, hooksAtOnce)
	var under sync.Map // ids of those under way
	var sending sync.WaitGroup
	defer sending.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.hook:
		case <-timer.C:
		}
		if !s.o.Nodes.Leads() {
			continue // the node that does sends them; NodesChanged tells when that changes
		}
		ids, next := s.index.dueHooks(time.Now())
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		for _, id := range ids {
			if _, there := under.LoadOrStore(id, true); there {
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			sending.Go(func() {
				s.tell(ctx, id)
				under.Delete(id)
				<-slots
				token(s.hook)
			})
		}
	}
}

// tell tries the webhook of a job once and writes down what came of it.
func (s *Service) tell(ctx context.Context, id string) {
	j, err := s.Job(ctx, id)
	if err != nil || j.Webhook == nil || j.Webhook.State != WebhookWaiting || !j.State.Ended() {
		if err != nil && !errors.Is(err, ErrNotFound) {
			_ = wait(ctx, requeuePause)
		}
		return
	}
	fault := s.send(ctx, j)
	if ctx.Err() != nil {
		return // the next start tries again
	}
	settings, now := s.settings.Load(), time.Now()
	ended := j.Ended
	_, err = s.store.change(context.WithoutCancel(ctx), id, func(j *Job) error {
		h := j.Webhook
		if h == nil || !j.Ended.Equal(ended) {
			return ErrEnded // it was sent again meanwhile
		}
		h.Attempts++
		switch {
		case fault == nil:
			h.State, h.Fault, h.Next = WebhookDelivered, "", time.Time{}
		case h.Attempts >= settings.WebhookAttempts:
			h.State, h.Fault, h.Next = WebhookFailed, clip(fault.Error()), time.Time{}
		default:
			h.Fault = clip(fault.Error())
			h.Next = now.Add(min(hookBackoff<<min(2*(h.Attempts-1), 20), hookBackoffMost))
		}
		return nil
	})
	if fault != nil {
		s.counters.hooksFailed.Inc()
	} else {
		s.counters.hooksSent.Inc()
	}
	if err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrNotFound) {
		_ = wait(ctx, requeuePause) // the engine is away; the webhook is sent once more
	}
}

// Notice is the body of a webhook.
type Notice struct {
	Type string `json:"type"` // "job." and the state
	// Timestamp is when the job ended.
	Timestamp time.Time  `json:"timestamp"`
	Data      NoticeData `json:"data"`
}

// NoticeData tells of the job; its result is fetched by its id.
type NoticeData struct {
	ID       string `json:"id"`
	Tenant   string `json:"tenant,omitempty"`
	Route    string `json:"route"`
	State    State  `json:"state"`
	Attempts int    `json:"attempts"`
	// Status is the upstream's, 0 without an answer.
	Status int    `json:"status,omitempty"`
	Fault  *Fault `json:"fault,omitempty"`
}

// send posts the notice in the form of the Standard Webhooks specification: the headers Webhook-Id,
// Webhook-Timestamp and Webhook-Signature, the last the HMAC-SHA256 of "id.timestamp.body".
func (s *Service) send(ctx context.Context, j *Job) error {
	n := Notice{"job." + string(j.State), j.Ended, NoticeData{ID: j.ID, Tenant: j.Tenant, Route: j.Route, State: j.State, Attempts: j.Attempts, Fault: j.Fault}}
	if j.Result != nil {
		n.Data.Status = j.Result.Status
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, j.Webhook.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	id, stamp := j.ID+"."+strconv.FormatInt(j.Ended.UnixMilli(), 10), strconv.FormatInt(time.Now().Unix(), 10)
	r.Header["Content-Type"] = []string{"application/json"}
	r.Header["User-Agent"] = []string{"penstock"}
	r.Header["Webhook-Id"] = []string{id}
	r.Header["Webhook-Timestamp"] = []string{stamp}
	if secret := s.settings.Load().WebhookSecret; secret != "" {
		r.Header["Webhook-Signature"] = []string{Sign(secret, id, stamp, body)}
	}
	resp, err := s.o.Client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return nil
}

// Sign is the value of Webhook-Signature.
func Sign(secret, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
