package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// takes is how long the origin thinks.
const takes = 500 * time.Millisecond

// origin answers by the path /SERVER/CASE/KEY and counts the calls of each.
type origin struct {
	mu    sync.Mutex // guards both
	calls map[string]int
	// broken are the paths whose failure has begun.
	broken map[string]bool
}

func newOrigin() *origin { return &origin{calls: make(map[string]int), broken: make(map[string]bool)} }

// call counts one and says which it is, and whether it is to fail.
func (o *origin) call(path string) (n int, broken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[path]++
	return o.calls[path], o.broken[path]
}

func (o *origin) callsOf(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls[path]
}

func (o *origin) breakDown(path string) {
	o.mu.Lock()
	o.broken[path] = true
	o.mu.Unlock()
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) != 4 {
		return // the look whether a server is ready
	}
	n, broken := o.call(r.URL.Path)
	if f, ok := failures[parts[2]]; ok {
		f.answer(w, r, n, broken)
		return
	}
	for _, c := range crowds {
		if c.path == parts[2] {
			time.Sleep(takes)
			c.answer(w, r)
		}
	}
}

// crowd is a row of the table of crowds.
type crowd struct {
	name, path string
	// status and cacheControl are the answer's; of, if not empty, names the header that tells users
	// apart.
	status       int
	cacheControl string
	of           string
	// personal: each answer is for the one who asked for it.
	personal bool
}

var crowds = []crowd{
	{name: "cacheable", path: "cacheable", status: 200, cacheControl: "max-age=60"},
	{name: "no-store", path: "no-store", status: 200, cacheControl: "no-store", personal: true},
	{name: "private", path: "private", status: 200, cacheControl: "private, max-age=60", personal: true},
	{name: "Authorization of each user", path: "authorization", status: 200, cacheControl: "max-age=60", of: "Authorization", personal: true},
	{name: "Cookie of each user", path: "cookie", status: 200, of: "Cookie", personal: true},
	{name: "503", path: "unavailable", status: 503},
}

// userHeader tells the origin who asks, where nothing else does. No cache looks at it.
const userHeader = "X-User"

func (c crowd) answer(w http.ResponseWriter, r *http.Request) {
	if c.cacheControl != "" {
		w.Header().Set("Cache-Control", c.cacheControl)
	}
	w.WriteHeader(c.status)
	fmt.Fprint(w, r.Header.Get(userHeader))
}

// failure is a row of the table of stale copies.
type failure struct {
	name, cacheControl string
	// now is what the origin does once it is broken.
	now func(w http.ResponseWriter)
	// stale: a stale copy may be served.
	stale bool
	// within: the answer must come before the origin could have answered.
	within bool
}

// failureOrder is the table's.
var failureOrder = []string{"swr", "sie-503", "sie-dead", "sie-hanging", "nothing", "must-revalidate"}

var failures = map[string]failure{
	"swr":             {name: "stale-while-revalidate, slow origin", cacheControl: "max-age=1, stale-while-revalidate=60", now: slow, stale: true, within: true},
	"sie-503":         {name: "stale-if-error, 503", cacheControl: "max-age=1, stale-if-error=60", now: unavailable, stale: true},
	"sie-dead":        {name: "stale-if-error, dead origin", cacheControl: "max-age=1, stale-if-error=60", now: dead, stale: true},
	"sie-hanging":     {name: "stale-if-error, hanging origin", cacheControl: "max-age=1, stale-if-error=60", now: hanging, stale: true},
	"nothing":         {name: "no directive, 503", cacheControl: "max-age=1", now: unavailable, stale: true},
	"must-revalidate": {name: "must-revalidate, 503", cacheControl: "max-age=1, must-revalidate, stale-while-revalidate=60, stale-if-error=60", now: unavailable},
}

func (f failure) answer(w http.ResponseWriter, _ *http.Request, n int, broken bool) {
	if broken {
		f.now(w)
		return
	}
	w.Header().Set("Cache-Control", f.cacheControl)
	fmt.Fprint(w, "version ", n)
}

func slow(w http.ResponseWriter) {
	time.Sleep(takes)
	w.Header().Set("Cache-Control", "max-age=60")
	fmt.Fprint(w, "new")
}

func unavailable(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }

func dead(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// patience is how long the servers wait for an origin that hangs.
const patience = "3s"

func hanging(w http.ResponseWriter) {
	time.Sleep(10 * time.Second)
	unavailable(w)
}
