package bulk

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// upstream answers a line with about 300 bytes, many lines in one call. It works on slots calls at once,
// each for the time that the test sets: so it allows slots times batch divided by that time, and no more.
type upstream struct {
	url   string
	slots chan struct{}
	delay atomic.Int64 // nanoseconds
	lines atomic.Int64
	// held is how long the slots were held, in nanoseconds: timers are late where processors are busy.
	held atomic.Int64
}

var padding = strings.Repeat("x", 250)

func newUpstream(t *testing.T, slots int) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{url: "http://" + l.Addr().String(), slots: make(chan struct{}, slots)}
	s := &http.Server{Handler: u, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return u
}

// ServeHTTP implements http.Handler.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d := time.Duration(u.delay.Load()); d > 0 {
		u.slots <- struct{}{}
		began := time.Now()
		timer := time.NewTimer(d)
		<-timer.C
		u.held.Add(int64(time.Since(began)))
		<-u.slots
	}
	w.Header().Set("Content-Type", "application/json")
	ids, batched := strings.CutPrefix(r.URL.RawQuery, "ids=")
	if !batched {
		u.lines.Add(1)
		_, _ = io.WriteString(w, answer(strings.TrimPrefix(r.URL.Path, "/lines/")))
		return
	}
	ids, err := url.QueryUnescape(ids)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var items []string
	for id := range strings.SplitSeq(ids, ",") {
		items = append(items, answer(id))
	}
	u.lines.Add(int64(len(items)))
	_, _ = io.WriteString(w, "["+strings.Join(items, ",")+"]")
}

func answer(id string) string { return fmt.Sprintf(`{"id":%q,"title":"line","text":%q}`, id, padding) }
