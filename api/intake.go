package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/request"
)

const (
	headerDeadline = "X-Deadline-Ms"
	// maxDeadline is a day: more is surely a mistake in the unit.
	maxDeadline = 24 * time.Hour
)

// headerDeadlineOf reads how long the client wants to wait, from X-Deadline-Ms and Prefer: wait;
// the smaller counts. 0 means that it does not say.
func headerDeadlineOf(h http.Header) (time.Duration, error) {
	var d time.Duration
	if v := h[headerDeadline]; len(v) > 0 {
		n, err := strconv.ParseUint(v[0], 10, 63)
		if err != nil || n == 0 || n > uint64(maxDeadline.Milliseconds()) || len(v) > 1 {
			return 0, badHeader(headerDeadline, "must be one whole number of milliseconds from 1 to 86400000")
		}
		d = time.Duration(n) * time.Millisecond
	}
	if v := h["Prefer"]; len(v) > 0 {
		wait, err := preferWait(v)
		if err != nil {
			return 0, err
		}
		d = smaller(d, wait)
	}
	return d, nil
}

// wait is how long a request may take that asks for the deadline; 0: no bound.
func (d *data) wait(deadline time.Duration, route *request.Route) time.Duration {
	if deadline == 0 {
		deadline = d.o.DefaultDeadline()
	}
	return smaller(deadline, route.MaxWait)
}

// clientOf tells clients apart by the host that they connect from.
func clientOf(r *http.Request) string {
	if i := strings.LastIndexByte(r.RemoteAddr, ':'); i > 0 {
		return r.RemoteAddr[:i]
	}
	return r.RemoteAddr
}

// smaller is the smaller of two durations of which 0 means none.
func smaller(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func badHeader(name, must string) *request.Error {
	e := request.Errorf(request.ProblemBadRequest, "header %s %s", name, must)
	e.Fields = []request.FieldError{{Pointer: name, Detail: must}}
	return e
}

// preferWait finds the wait preference of RFC 7240 in the values of Prefer; 0: not there. Other
// preferences, known or not, are not looked at, and of several waits the first counts.
func preferWait(values []string) (time.Duration, error) {
	for _, v := range values {
		for p := range elements(v, ',') {
			p, _, _ = cutUnquoted(p, ';')
			name, value, _ := cutUnquoted(p, '=')
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			value = strings.TrimSpace(value)
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil || n == 0 || n > uint64(maxDeadline.Seconds()) {
				return 0, badHeader("Prefer", "has a wait that is not a whole number of seconds from 1 to 86400")
			}
			return time.Duration(n) * time.Second, nil
		}
	}
	return 0, nil
}

// elements yields the parts of s between separators that stand outside quoted strings.
func elements(s string, sep byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for more := true; more; {
			var part string
			part, s, more = cutUnquoted(s, sep)
			if !yield(part) {
				return
			}
		}
	}
}

// cutUnquoted is strings.Cut at the first sep outside a quoted string.
func cutUnquoted(s string, sep byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
