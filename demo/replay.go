package demo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock/client"
)

// ReplayOptions say what to send where. Exactly one of Rows, Trace and Reader is used, in this
// order.
type ReplayOptions struct {
	Rows   []Row
	Trace  string
	Reader io.Reader
	// Target is the URL to ask, with {key} where the key goes; without it, /items/{key} is
	// appended. With Route it is Penstock's data plane.
	Target string
	// Route sends each row as POST /v1/requests for this route, the key as its param Param
	// (default "key"), instead of a GET.
	Route, Param string
	// Speed divides the trace's time: 60 plays an hour in a minute. It must be over 0.
	Speed float64
	// MaxInFlight is how many requests may be open at once; a row that is due while so many are
	// counts as not sent. Default 4096.
	MaxInFlight int
	// Timeout ends one request, from its intended send time. Default 30 s.
	Timeout time.Duration
	// Limit is how many rows are read (0: all), Duration for how long rows are sent (0: to the end).
	Limit    int
	Duration time.Duration
	// ClientHeader sends the trace's client column under this name, such as X-Client; empty: not.
	ClientHeader string
	// APIKey is sent as X-Api-Key, for a Penstock that asks for keys; empty: not.
	APIKey string
	// SizeHeader sends the trace's size column as X-Size, which the demo API obeys.
	SizeHeader bool
	// StatsURL is where the upstream calls are counted: the demo API's /stats or Penstock's
	// /v1/stats. Empty: they are not.
	StatsURL string
	// Out gets a line of progress every five seconds; nil: none.
	Out io.Writer
	// Transport makes the calls; nil: one of its own.
	Transport http.RoundTripper
}

func (o ReplayOptions) withDefaults() (ReplayOptions, error) {
	if !(o.Speed > 0) || o.Speed > 1e9 {
		return o, fmt.Errorf("speed %v: it must be over 0 (1 is the trace's own pace, 60 an hour in a minute)", o.Speed)
	}
	u, err := url.Parse(strings.ReplaceAll(o.Target, "{key}", "key"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return o, fmt.Errorf("target %q is not a URL such as http://127.0.0.1:8080/proxy/movies", o.Target)
	}
	if o.MaxInFlight < 0 || o.Timeout < 0 || o.Limit < 0 || o.Duration < 0 {
		return o, errors.New("limit, duration, timeout and max-in-flight must not be negative")
	}
	o.MaxInFlight = cmp.Or(o.MaxInFlight, 4096)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Param = cmp.Or(o.Param, "key")
	return o, nil
}

// Replay sends a trace as an open loop: each row at its own time, whether or not the rows before
// it were answered. Latency runs from that intended time, so that a stalled target, or a late
// generator, shows in it. When ctx ends, Replay reports on what was sent until then.
func Replay(ctx context.Context, o ReplayOptions) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	next, done, err := o.source()
	if err != nil {
		return nil, err
	}
	defer done()
	r := newReplay(o)
	defer r.close()
	before, statsErr := r.upstreamCalls(ctx)
	err = r.send(ctx, next)
	r.open.Wait()
	elapsed := time.Since(r.start)
	if err != nil {
		return nil, err
	}
	rep := r.tally.report(elapsed, r.sent)
	if statsErr == nil && o.StatsURL != "" {
		var after int64
		// The count is wanted also when ctx was ended by the user.
		if after, statsErr = r.upstreamCalls(context.WithoutCancel(ctx)); statsErr == nil {
			calls := after - before
			rep.UpstreamCalls = &calls
		}
	}
	if statsErr != nil {
		rep.Notes = append(rep.Notes, "the upstream calls are not known: "+statsErr.Error())
	}
	return rep, nil
}

// source gives the rows one by one, and what to do at the end.
func (o ReplayOptions) source() (next func() (Row, error), done func(), err error) {
	if o.Rows != nil {
		rows := o.Rows
		return func() (Row, error) {
			if len(rows) == 0 {
				return Row{}, io.EOF
			}
			row := rows[0]
			rows = rows[1:]
			return row, nil
		}, func() {}, nil
	}
	var t *TraceReader
	switch {
	case o.Trace != "":
		t, err = OpenTrace(o.Trace)
	case o.Reader != nil:
		t, err = NewTraceReader(o.Reader)
	default:
		err = errors.New("say which trace to replay")
	}
	if err != nil {
		return nil, nil, err
	}
	return t.Next, func() {
		if n, faults := t.Faults(); n > 0 && o.Out != nil {
			fmt.Fprintf(o.Out, "%d malformed rows left out, the first: %v\n", n, faults[0])
		}
		_ = t.Close()
	}, nil
}

// replay is one run.
type replay struct {
	o     ReplayOptions
	http  *http.Client
	own   *http.Transport
	start time.Time
	slots chan struct{}
	open  sync.WaitGroup
	tally *tally
	// sent describes what was due so far; only the sender uses it.
	sent sentRows
}

func newReplay(o ReplayOptions) *replay {
	r := &replay{o: o, slots: make(chan struct{}, o.MaxInFlight), tally: newTally(), sent: sentRows{keys: make(map[string]struct{})}}
	rt := o.Transport
	if rt == nil {
		r.own = &http.Transport{MaxIdleConns: o.MaxInFlight, MaxIdleConnsPerHost: o.MaxInFlight, IdleConnTimeout: 30 * time.Second, DisableCompression: true}
		rt = r.own
	}
	r.http = &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return r
}

func (r *replay) close() {
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}

// send starts each row at its time. It returns when the last was started.
func (r *replay) send(ctx context.Context, next func() (Row, error)) error {
	r.start = time.Now()
	progress := r.start.Add(5 * time.Second)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; r.o.Limit == 0 || n < r.o.Limit; n++ {
		row, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := time.Duration(float64(row.At) / r.o.Speed)
		if r.o.Duration > 0 && at > r.o.Duration {
			return nil
		}
		due := r.start.Add(at)
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
		} else if ctx.Err() != nil {
			return nil
		}
		r.sent.add(row, due)
		r.dispatch(ctx, row, due)
		if r.o.Out != nil && due.After(progress) {
			progress = due.Add(5 * time.Second)
			fmt.Fprintf(r.o.Out, "%4.0f s: %s\n", at.Seconds(), r.tally.progress())
		}
	}
	return nil
}

func (r *replay) dispatch(ctx context.Context, row Row, due time.Time) {
	select {
	case r.slots <- struct{}{}:
	default:
		r.tally.fail(outcomeNotSent)
		return
	}
	r.open.Go(func() {
		defer func() { <-r.slots }()
		// Cut off by the caller's end, but otherwise only by its own deadline.
		ctx, cancel := context.WithDeadline(ctx, due.Add(r.o.Timeout))
		defer cancel()
		r.one(ctx, row, due)
	})
}

// one sends a row and records what came of it.
func (r *replay) one(ctx context.Context, row Row, due time.Time) {
	req, err := r.request(ctx, row)
	if err != nil {
		r.tally.fail(outcomeInvalid)
		return
	}
	resp, err := r.http.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	switch {
	case err == nil && resp.StatusCode < 400:
		r.tally.ok(time.Since(due), client.ParseCacheStatus(resp.Header))
	case err == nil:
		r.tally.fail(strconv.Itoa(resp.StatusCode))
	case errors.Is(ctx.Err(), context.Canceled):
		r.tally.fail(outcomeStopped)
	case ctx.Err() != nil || os.IsTimeout(err):
		r.tally.fail(outcomeTimeout)
	default:
		r.tally.fail(outcomeConnection)
	}
}

func (r *replay) request(ctx context.Context, row Row) (*http.Request, error) {
	method, target, body := http.MethodGet, r.o.keyURL(row.Key), []byte(nil)
	if r.o.Route != "" {
		var err error
		body, err = json.Marshal(client.Item{Route: r.o.Route, Params: map[string]any{r.o.Param: row.Key}})
		if err != nil {
			return nil, err
		}
		method, target = http.MethodPost, strings.TrimRight(r.o.Target, "/")+"/v1/requests"
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.o.APIKey != "" {
		req.Header.Set("X-Api-Key", r.o.APIKey)
	}
	if r.o.ClientHeader != "" && row.Client != "" {
		req.Header.Set(r.o.ClientHeader, row.Client)
	}
	if r.o.SizeHeader && row.Size > 0 {
		req.Header.Set("X-Size", strconv.FormatInt(min(row.Size, maxItemBytes), 10))
	}
	return req, nil
}

// keyURL puts the key into the target, escaped for where it goes.
func (o ReplayOptions) keyURL(key string) string {
	path, query, has := strings.Cut(o.Target, "?")
	if !strings.Contains(o.Target, "{key}") {
		path = strings.TrimRight(path, "/") + "/items/{key}"
	}
	path = strings.ReplaceAll(path, "{key}", escapeKey(key))
	if !has {
		return path
	}
	return path + "?" + strings.ReplaceAll(query, "{key}", url.QueryEscape(key))
}

// escapeKey escapes a key as one path segment. Dots that make up a whole segment are escaped too,
// since they would be resolved as a relative path.
func escapeKey(key string) string {
	if key == "." || key == ".." {
		return strings.ReplaceAll(key, ".", "%2E")
	}
	return url.PathEscape(key)
}

// upstreamCalls asks StatsURL how many calls the upstream has had.
func (r *replay) upstreamCalls(ctx context.Context) (int64, error) {
	if r.o.StatsURL == "" {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return FetchCalls(ctx, r.http, r.o.StatsURL)
}
