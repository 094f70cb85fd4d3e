package batcher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"penstock/request"
)

// exchange is one DoBatch: the members, their results, and the rules that it began with.
type exchange struct {
	next    request.Doer
	rules   *ruleset
	members []*request.Request
	results []request.Result
}

// send makes one call for the slots, or halves them when it fails for what may be the fault of
// one. Each half is smaller, so the depth is at most log2 of the slots. The calls are made one
// after the other: DoBatch holds one permit.
func (x *exchange) send(ctx context.Context, p *part, slots []slot) {
	if len(slots) == 1 {
		x.alone(ctx, slots[0])
		return
	}
	if ctx.Err() != nil {
		x.fail(slots, ended(ctx))
		return
	}
	begin := time.Now()
	p.rule.metrics.sent(len(slots))
	resp, err := x.next.Do(ctx, x.call(p, slots))
	if err != nil {
		if tooLarge(err) && x.repeatable(p, slots) {
			x.halve(ctx, p, slots)
			return
		}
		x.fail(slots, err)
		return
	}
	if slices.Contains(p.rule.SplitOn, resp.Status) {
		// Read, so that the connection can be used again; its words are of no use.
		_, _ = request.ReadAll(resp, 64<<10)
		x.halve(ctx, p, slots)
		return
	}
	body, err := readAll(resp, x.rules.maxAnswer)
	a := answer{resp: resp, body: body, upstream: time.Since(begin)}
	switch {
	case tooLarge(err) && x.repeatable(p, slots):
		x.halve(ctx, p, slots)
	case err != nil && ctx.Err() != nil:
		x.fail(slots, ended(ctx))
	case err != nil:
		x.fail(slots, unusable(p.rule, x.first(slots), err))
	case resp.Status < 200 || resp.Status > 299:
		x.refused(p, slots, a)
	default:
		x.take(ctx, p, slots, a)
	}
}

// take splits a 2xx answer.
func (x *exchange) take(ctx context.Context, p *part, slots []slot, a answer) {
	begin := time.Now()
	items := make([]item, len(slots))
	for i, s := range slots {
		items[i] = s.item
	}
	outcomes, err := split(p.rule.codec, a.body, items)
	if err != nil {
		var m *malformed
		if errors.As(err, &m) && m.suspect && (!m.ran || x.repeatable(p, slots)) {
			x.halve(ctx, p, slots)
			return
		}
		x.fail(slots, unusable(p.rule, x.first(slots), err))
		return
	}
	a.headers(p.rule)
	a.split = time.Since(begin)
	for i, s := range slots {
		x.give(ctx, p, s, outcomes[i], &a)
	}
}

// split checks what the codecs may rely on.
func split(c codec, body []byte, items []item) ([]outcome, error) {
	// encoding/json, not gjson: it bounds the depth, so that a million brackets can't exhaust
	// the stack.
	if !json.Valid(body) {
		return nil, &malformed{detail: "the answer is not JSON, or was cut off"}
	}
	outcomes, err := c.split(body, items)
	if err == nil && len(outcomes) != len(items) {
		return nil, &malformed{detail: "the answer could not be split"}
	}
	return outcomes, err
}

// give hands the outcome of a slot to its members.
func (x *exchange) give(ctx context.Context, p *part, s slot, o outcome, a *answer) {
	if o.kind == missing {
		p.rule.metrics.missing.Add(len(s.members))
		if p.rule.RetryMissing {
			x.alone(ctx, s)
			return
		}
		if p.rule.MissingStatus == http.StatusBadGateway {
			o = outcome{kind: broken, detail: "the batch's answer left this member out"}
		}
	}
	if o.kind == broken {
		p.rule.metrics.failed.Add(len(s.members))
		x.fail([]slot{s}, unusable(p.rule, x.members[s.members[0]], errors.New(o.detail)))
		return
	}
	if o.kind == found && o.status >= http.StatusBadRequest {
		p.rule.metrics.failed.Add(len(s.members))
	}
	for k, i := range s.members {
		switch o.kind {
		case missing:
			x.results[i].Response = a.missing(p.rule, x.members[i])
		default:
			x.results[i].Response = a.member(o.status, p.rule.codec.own(o, s.own[k]))
		}
	}
}

// refused passes the failure of the whole call on to every member.
func (x *exchange) refused(p *part, slots []slot, a answer) {
	st := a.resp.Status
	if st < 400 || st == http.StatusNotFound || st == http.StatusGone {
		// Of the batch's own address; as a member's answer it would say that the member is gone.
		x.fail(slots, unusable(p.rule, x.first(slots), fmt.Errorf("the batch call was answered with status %d; check batch.path and batch.method", st)))
		return
	}
	a.refusal()
	for _, s := range slots {
		for _, i := range s.members {
			x.results[i].Response = a.copy(st, a.body)
		}
	}
}

// halve tries again with each half.
func (x *exchange) halve(ctx context.Context, p *part, slots []slot) {
	p.rule.metrics.splits.Inc()
	half := len(slots) / 2
	x.send(ctx, p, slots[:half])
	x.send(ctx, p, slots[half:])
}

// alone sends one slot in the unbatched form.
func (x *exchange) alone(ctx context.Context, s slot) {
	first := s.members[0]
	if len(s.members) > 1 && x.same(s) {
		resp, err := x.next.Do(ctx, x.members[first])
		if err != nil {
			x.fail([]slot{s}, err)
			return
		}
		body, err := request.ReadAll(resp, x.rules.maxAnswer)
		if err != nil {
			x.fail([]slot{s}, err)
			return
		}
		for _, i := range s.members {
			x.results[i].Response = again(resp, body)
		}
		return
	}
	for _, i := range s.members {
		x.results[i].Response, x.results[i].Err = x.next.Do(ctx, x.members[i])
	}
}

// same reports whether the members of the slot would send the same unbatched call.
func (x *exchange) same(s slot) bool {
	a := x.members[s.members[0]]
	for _, i := range s.members[1:] {
		b := x.members[i]
		if a.Method != b.Method || a.Path != b.Path || a.RawQuery != b.RawQuery || !bytes.Equal(a.Data, b.Data) {
			return false
		}
	}
	return true
}

// fail gives every member of the slots the error, each its own copy, since the stages above note
// times in it.
func (x *exchange) fail(slots []slot, err error) {
	for _, s := range slots {
		for _, i := range s.members {
			own := err
			if e, ok := err.(*request.Error); ok {
				c := *e
				own = &c
			}
			x.results[i] = request.Result{Err: own}
		}
	}
}

// first is the member who stands for the call.
func (x *exchange) first(slots []slot) *request.Request { return x.members[slots[0].members[0]] }

// repeatable reports whether the call may be made once more though the upstream may have executed
// it.
func (x *exchange) repeatable(p *part, slots []slot) bool {
	for _, s := range slots {
		for _, i := range s.members {
			if !p.rule.repeatable(x.members[i]) {
				return false
			}
		}
	}
	return true
}

func ended(ctx context.Context) error {
	return fmt.Errorf("the batch was given up before it was answered: %w", context.Cause(ctx))
}

func tooLarge(err error) bool {
	var e *request.Error
	return errors.As(err, &e) && e.Problem == request.ProblemAnswerTooLarge
}
