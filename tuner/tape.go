package tuner

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// A tape is a recording of all that the controllers saw, one JSON object a line, from which Replay plays them
// again: a line with the plugs and knobs whenever those change, one for each call that a Fast controller saw, one
// for each tick with what each rule measured and what came of it.

// Bounds of a tape.
const (
	// DefaultTapeBytes is the most that a Tape writes unless told otherwise.
	DefaultTapeBytes = 256 << 20
	// tapeQueue is how many lines may wait for a slow disk; what comes beyond is dropped and counted.
	tapeQueue = 4096
)

type tapeLine struct {
	Time  time.Time  `json:"t"`
	Plugs *tapePlugs `json:"plugs,omitempty"`
	Call  *tapeCall  `json:"call,omitempty"`
	Tick  *tapeTick  `json:"tick,omitempty"`
	Set   *tapeSet   `json:"set,omitempty"`
	// Dropped counts the lines that are missing here.
	Dropped int `json:"dropped,omitempty"`
}

// tapePlugs is what the loop looks after from here on.
type tapePlugs struct {
	Interval time.Duration `json:"interval_ns"`
	Appetite Appetite      `json:"appetite"`
	Plugs    []tapePlug    `json:"plugs"`
}

type tapePlug struct {
	Knob     string    `json:"knob"`
	Kind     string    `json:"kind"`
	Upstream string    `json:"upstream,omitempty"`
	Route    string    `json:"route,omitempty"`
	Couple   string    `json:"couple,omitempty"`
	Safer    int       `json:"safer,omitempty"`
	Mode     Mode      `json:"mode"`
	Spec     knob.Spec `json:"spec"`
	Value    float64   `json:"value"`
	// State is what the controllers had learned before.
	State Saved `json:"state"`
}

type tapeCall struct {
	Upstream string          `json:"upstream"`
	Route    string          `json:"route,omitempty"`
	Start    time.Time       `json:"start"`
	Duration time.Duration   `json:"duration_ns"`
	Status   int             `json:"status,omitempty"`
	Outcome  observe.Outcome `json:"outcome"`
	InFlight int             `json:"in_flight"`
	Retry    int             `json:"retry,omitempty"`
	Items    int             `json:"items"`
	// Header holds the answer's fields about quotas, and no others.
	Header map[string][]string `json:"header,omitempty"`
}

// tapeSet is a knob that somebody other than the tuner turned, pinned or unpinned.
type tapeSet struct {
	Knob   string  `json:"knob"`
	Value  float64 `json:"value"`
	Pinned bool    `json:"pinned,omitempty"`
}

type tapeTick struct {
	Looks map[string]*tapeLook `json:"looks"`
	// Made are the decisions of this tick.
	Made []tapeDecision `json:"made,omitempty"`
}

type tapeLook struct {
	Value   float64         `json:"value"`
	Pinned  bool            `json:"pinned,omitempty"`
	Mode    Mode            `json:"mode"`
	Guarded bool            `json:"guarded,omitempty"`
	Lag     time.Duration   `json:"lag_ns,omitempty"`
	N       int             `json:"n,omitempty"`
	Seen    json.RawMessage `json:"seen,omitempty"`
}

type tapeDecision struct {
	Knob string  `json:"knob"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Rule string  `json:"rule"`
}

// quotaFields are the header fields that a tape keeps; others may be secret.
var quotaFields = []string{
	"Ratelimit", "Ratelimit-Policy", "Retry-After", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset",
	"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "Date",
}

func tapeCallOf(c *observe.Call) *tapeCall {
	t := &tapeCall{
		Upstream: c.Upstream, Route: c.Route, Start: c.Start, Duration: c.Duration, Status: c.Status, Outcome: c.Outcome,
		InFlight: c.InFlight, Retry: c.Retry, Items: c.Items,
	}
	for _, f := range quotaFields {
		if v, ok := c.Header[f]; ok {
			if t.Header == nil {
				t.Header = make(map[string][]string)
			}
			t.Header[f] = v
		}
	}
	return t
}

func (t *tapeCall) call() observe.Call {
	return observe.Call{
		Upstream: t.Upstream, Route: t.Route, Start: t.Start, Duration: t.Duration, Status: t.Status, Outcome: t.Outcome,
		InFlight: t.InFlight, Retry: t.Retry, Items: t.Items, Header: t.Header,
	}
}

// Tape writes what the controllers see. It never holds them up: a disk that is too slow loses lines, and the
// tape says how many.
type Tape struct {
	lines chan tapeLine
	done  chan struct{}

	mu      sync.Mutex // guards what follows
	closed  bool
	dropped int
	err     error
}

// NewTape returns a Tape that writes at most maxBytes (0: DefaultTapeBytes) to w, until Close.
func NewTape(w io.Writer, maxBytes int64) *Tape {
	if maxBytes <= 0 {
		maxBytes = DefaultTapeBytes
	}
	t := &Tape{lines: make(chan tapeLine, tapeQueue), done: make(chan struct{})}
	go t.run(w, maxBytes)
	return t
}

func (t *Tape) run(w io.Writer, left int64) {
	defer close(t.done)
	b := bufio.NewWriterSize(w, 64<<10)
	var fault error
	for line := range t.lines {
		if fault != nil {
			continue
		}
		text, err := json.Marshal(line)
		if err == nil && int64(len(text))+1 > left {
			err = fmt.Errorf("the tape is full")
		}
		if err == nil {
			left -= int64(len(text)) + 1
			_, err = b.Write(append(text, '\n'))
		}
		if err == nil && len(t.lines) == 0 {
			err = b.Flush()
		}
		fault = err
	}
	if err := b.Flush(); fault == nil {
		fault = err
	}
	t.mu.Lock()
	t.err = fault
	t.mu.Unlock()
}

func (t *Tape) put(line tapeLine) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	line.Dropped = t.dropped
	select {
	case t.lines <- line:
		t.dropped = 0
	default:
		t.dropped++
	}
}

// Close ends the tape and returns the first error of writing it.
func (t *Tape) Close() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(t.lines)
	}
	t.mu.Unlock()
	<-t.done
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// tapePlugs writes down what the loop looks after. The caller holds mu.
func (l *Loop) tapePlugs(now time.Time) {
	if l.o.Tape == nil {
		return
	}
	line := &tapePlugs{Interval: l.interval, Appetite: l.appetite}
	for _, p := range l.plugs {
		t := tapePlug{Knob: p.Knob, Kind: p.Kind, Upstream: p.Upstream, Route: p.Route, Couple: p.Couple, Safer: p.Safer, Mode: p.mode}
		if k, ok := l.o.Knobs.Lookup(p.Knob); ok {
			t.Spec, t.Value = k.Spec(), k.Value()
		}
		t.State, _ = p.saved(now)
		line.Plugs = append(line.Plugs, t)
	}
	l.o.Tape.put(tapeLine{Time: now, Plugs: line})
}

// tapeChange writes down what others than the tuner did to a knob.
func (l *Loop) tapeChange(c knob.Change) {
	if c.Source == knob.SourceTuner && c.Why != knob.WhyUnpinned {
		return
	}
	l.o.Tape.put(tapeLine{Time: c.At, Set: &tapeSet{Knob: c.Knob, Value: c.To, Pinned: c.Source == knob.SourcePin}})
}

// tapeLook writes down what a rule measured. The caller holds mu.
func (l *Loop) tapeLook(p *plugged, seen any, n int, lag time.Duration) {
	if l.taping == nil {
		return
	}
	look := l.taping.Looks[p.Knob]
	if look == nil {
		return
	}
	look.N, look.Lag = n, lag
	look.Seen, _ = json.Marshal(seen) // what can't be written is missing
}
