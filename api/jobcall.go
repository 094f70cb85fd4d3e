package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"penstock/request"
)

// maxJobBytes bounds a job's question: it is kept as one record.
const maxJobBytes = 256 << 10

// maxJobDelay bounds how far ahead a job can be planned.
const maxJobDelay = 366 * 24 * time.Hour

// jobCall is a call that is answered later.
type jobCall struct {
	call
	runAt       time.Time
	delay       time.Duration
	maxAttempts int
	webhook     string
}

// jobFields read the members that a job has beyond a call's.
var jobFields = map[string]func(c *jobCall, raw json.RawMessage) error{
	"run_at":       (*jobCall).readRunAt,
	"delay_ms":     (*jobCall).readDelay,
	"max_attempts": (*jobCall).readMaxAttempts,
	"webhook":      (*jobCall).readWebhook,
}

// parseJob reads a job strictly and reports all its faults at once. call is what is to be kept of it.
func parseJob(raw []byte) (c *jobCall, call []byte, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		if _, err = parseCall(raw); err == nil {
			err = jsonFault(raw, errors.New("not an object"))
		}
		return nil, nil, err
	}
	c = new(jobCall)
	var faults []request.FieldError
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if callFields[name] != nil {
			continue
		}
		if read, ok := jobFields[name]; !ok {
			known := slices.AppendSeq(slices.Collect(maps.Keys(callFields)), maps.Keys(jobFields))
			faults = append(faults, unknownMember(name, slices.Sorted(slices.Values(known))))
		} else if err := read(c, members[name]); err != nil {
			faults = append(faults, request.FieldError{Pointer: "/" + name, Detail: err.Error()})
		}
		delete(members, name)
	}
	if !c.runAt.IsZero() && c.delay > 0 {
		faults = append(faults, request.FieldError{Pointer: "/delay_ms", Detail: "send run_at or delay_ms, not both"})
	}
	if call, err = json.Marshal(members); err != nil {
		return nil, nil, err
	}
	plain, err := parseCall(call)
	if e, ok := errors.AsType[*request.Error](err); ok {
		faults = append(e.Fields, faults...)
	} else if err != nil {
		return nil, nil, err
	}
	c.call = *plain
	return c, call, faultsError(faults)
}

func (c *jobCall) readRunAt(raw json.RawMessage) error {
	var text string
	if string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &text) == nil {
		if at, err := time.Parse(time.RFC3339, text); err == nil && time.Until(at) <= maxJobDelay {
			c.runAt = at
			return nil
		}
	}
	return errors.New("run_at must be a time within a year, such as \"2026-01-31T15:04:05Z\" (RFC 3339)")
}

func (c *jobCall) readDelay(raw json.RawMessage) error {
	var ms int64
	if string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &ms) != nil || ms < 0 || ms > maxJobDelay.Milliseconds() {
		return fmt.Errorf("delay_ms must be a whole number of milliseconds from 0 to %d", maxJobDelay.Milliseconds())
	}
	c.delay = time.Duration(ms) * time.Millisecond
	return nil
}

func (c *jobCall) readMaxAttempts(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &c.maxAttempts) != nil || c.maxAttempts < 1 || c.maxAttempts > 100 {
		return errors.New("max_attempts must be a whole number from 1 to 100")
	}
	return nil
}

func (c *jobCall) readWebhook(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &c.webhook) == nil && len(c.webhook) <= 2048 {
		if u, err := url.Parse(c.webhook); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil {
			return nil
		}
	}
	return errors.New("webhook must be an http or https URL without a user, at most 2048 bytes")
}

// jobSpec makes the spec of a job; what a request of the same kind would be refused for is refused now.
func (d *data) jobSpec(r *http.Request, x *exchange, tenant Tenant, raw []byte) (JobSpec, error) {
	c, kept, err := parseJob(raw)
	if err != nil {
		return JobSpec{}, err
	}
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return JobSpec{}, err
	}
	if c.webhook != "" {
		if err := d.o.WebhookAllowed(c.webhook); err != nil {
			return JobSpec{}, err
		}
	}
	// A preference to wait is for the answer to the submission, not for the job.
	in, err := d.readIntent(r, tenant)
	if err != nil {
		return JobSpec{}, err
	}
	req, err := d.build(&c.call, in, x.id, x.arrived)
	if err != nil {
		return JobSpec{}, err
	}
	s := JobSpec{
		Tenant: tenant.Name, Route: c.route, Call: kept, Header: http.Header{}, Urgency: req.Urgency(),
		MaxAttempts: c.maxAttempts, Webhook: c.webhook, Key: key, RunAt: c.runAt,
	}
	for _, name := range append([]string{"Traceparent"}, req.Route.PassHeaders...) {
		if v := r.Header.Values(name); len(v) > 0 {
			s.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	if c.delay > 0 {
		s.RunAt = x.arrived.Add(c.delay)
	}
	due := x.arrived
	if s.RunAt.After(due) {
		due = s.RunAt
	}
	byHeader, err := headerDeadlineOf(http.Header{headerDeadline: r.Header[headerDeadline]})
	if err != nil {
		return JobSpec{}, err
	}
	if wait := smaller(c.deadline, byHeader); wait > 0 {
		s.Deadline = due.Add(wait)
	}
	sum := sha256.Sum256(fingerprint(raw))
	s.Fingerprint = hex.EncodeToString(sum[:16])
	return s, nil
}

// fingerprint is the same for bodies that say the same, whatever their white space and order.
func fingerprint(raw []byte) []byte {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	b, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return b
}

// idempotencyKey reads the header of that name: a quoted string as the draft has it, or a bare one.
func idempotencyKey(h http.Header) (string, error) {
	v := h[headerIdempotency]
	if len(v) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(v[0])
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(key[1 : n-1])
	}
	if len(v) > 1 || key == "" || len(key) > maxKeyBytes {
		return "", badHeader(headerIdempotency, fmt.Sprintf("must be one string of 1 to %d bytes, such as \"order-4711\"", maxKeyBytes))
	}
	return key, nil
}
