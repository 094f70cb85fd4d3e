package preload

import (
	"strings"
	"time"

	"penstock/request"
)

// fieldClass says what a request's header field means for making the request again.
type fieldClass uint8

const (
	// fieldStrange: not known. It may be a credential under a name of the API's own, or a number of the request.
	fieldStrange fieldClass = iota
	// fieldPlain: the same request may be made with it for anybody.
	fieldPlain
	// fieldOwn belongs to one client's one request, and is left out.
	fieldOwn
	// fieldForbids: the request can't be made again for anybody else.
	fieldForbids
)

// fieldClasses are the fields that are known; see classOf.
var fieldClasses = func() map[string]fieldClass {
	m := make(map[string]fieldClass)
	for class, names := range map[fieldClass][]string{
		fieldForbids: {"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "Apikey", "X-Auth-Token", "X-Access-Token", "Cookie", "Range", "If-Range", "Upgrade", "Sec-Purpose"},
		fieldOwn: {
			"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "Cache-Control", "Pragma", "Priority", "Prefer",
			"X-Deadline-Ms", "Idempotency-Key", "Referer", "X-Request-Start",
			"Forwarded", "X-Forwarded-For", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
			"Traceparent", "Tracestate", "Baggage", "B3", "Uber-Trace-Id", "Sentry-Trace", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context",
			"X-Request-Id", "Request-Id", "X-Correlation-Id", "Correlation-Id", "Correlation-Context",
		},
		fieldPlain: {
			"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Content-Type", "Dnt", "Host", "Origin", "Save-Data", "Te",
			"Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Requested-With",
		},
	} {
		for _, name := range names {
			m[name] = class
		}
	}
	return m
}()

func classOf(name string) fieldClass {
	c := fieldClasses[name]
	switch {
	case c != fieldStrange:
	case strings.HasPrefix(name, "Sec-"):
		return fieldPlain
	case strings.HasPrefix(name, "X-B3-"), strings.HasPrefix(name, "X-Datadog-"):
		return fieldOwn
	}
	return c
}

// strangeness is a hash of the fields of a proxied request whose meaning is not known; 0: there are none. The
// fields of a declared route come from its params, which are in the key.
func (p *Preloader) strangeness(r *request.Request) (sum uint64) {
	if r.Params != nil {
		return 0
	}
	for name, values := range r.Header {
		if classOf(name) != fieldStrange || name == p.sessionHeader {
			continue
		}
		s := p.hash.begin()
		s.text(name)
		for _, v := range values {
			s.text(v)
		}
		sum += s.end() | 1
	}
	return sum
}

const (
	maxStrangers = 1024
	// pausePersonal is how long strange fields count as personal after they differed.
	pausePersonal = time.Hour
)

// strangers remember, for each upstream of a tenant, whether fields that are not known differ from request to
// request: then they say who asks, or number the requests, and nobody may ask with another's. Not safe for
// concurrent use.
type strangers struct{ table *clockTable[stranger] }

type stranger struct {
	value    uint64
	personal time.Time // until then
}

func newStrangers() strangers { return strangers{newClockTable[stranger](maxStrangers)} }

// note takes in the strangeness of a request.
func (t strangers) note(whose, value uint64, now time.Time) {
	if value == 0 {
		return
	}
	s := t.table.add(whose, nil)
	if s.value != 0 && s.value != value {
		s.personal = now.Add(pausePersonal)
	}
	s.value = value
}

// personal reports whether such fields differ.
func (t strangers) personal(whose uint64, now time.Time) bool {
	s := t.table.get(whose)
	return s == nil || now.Before(s.personal)
}
