package api

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// laneTurn is what the lane needs for one request. A connection has one and uses it again.
type laneTurn struct {
	r      http.Request
	url    url.URL
	values [maxLaneFields]string
	fields int
	x      exchange
	out    []byte
	body   laneBody
}

// maxLaneFields is how many header fields the lane looks at.
const maxLaneFields = 32

// read takes a request apart; false: it is not one for the lane.
func (t *laneTurn) read(head string) bool {
	line, rest, _ := strings.Cut(head, "\r\n")
	method, line, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(line, " ")
	if method != http.MethodGet && method != http.MethodHead || version != "HTTP/1.1" {
		return false
	}
	path, query, asked := strings.Cut(target, "?")
	if !strings.HasPrefix(path, proxyPrefix) || !plainText(path) || !plainText(query) || asked && query == "" {
		return false
	}
	t.url = url.URL{Path: path, RawQuery: query}
	t.r.Method, t.r.URL, t.r.Proto, t.r.ProtoMajor, t.r.ProtoMinor = method, &t.url, "HTTP/1.1", 1, 1
	t.r.Host = ""
	if t.r.Header == nil {
		t.r.Header = make(http.Header, 16)
	}
	clear(t.r.Header)
	t.fields = 0
	for rest != "\r\n" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		if !t.readField(line) {
			return false
		}
	}
	return t.r.Host != ""
}

// bodyLength is how long the body behind a head is; false: that is not for the lane to know, as with
// chunks, or with what the connection may become.
func bodyLength(head []byte) (length int64, ok bool) {
	lines := strings.Split(string(head), "\r\n")
	seen := false
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "transfer-encoding", "upgrade", "expect", "http2-settings":
			return 0, false
		case "content-length":
			n, err := strconv.ParseUint(strings.Trim(value, " \t"), 10, 62)
			if err != nil || seen {
				return 0, false
			}
			length, seen = int64(n), true
		}
	}
	return length, strings.Contains(lines[0], " HTTP/1.")
}

// readField takes one header line.
func (t *laneTurn) readField(line string) bool {
	colon := strings.IndexByte(line, ':')
	if colon <= 0 || t.fields == maxLaneFields {
		return false
	}
	name, ok := fieldName(line[:colon])
	value := strings.Trim(line[colon+1:], " \t")
	if !ok || !fieldValue(value) {
		return false
	}
	switch name {
	case "Host":
		if t.r.Host != "" || value == "" || !plainHost(value) {
			return false
		}
		t.r.Host = value
		return true
	case "Connection":
		return strings.EqualFold(value, "keep-alive")
	case "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "Te", "Trailer", "Keep-Alive", "Proxy-Connection",
		"Http2-Settings", "Traceparent", "Tracestate":
		return false
	}
	if values := t.r.Header[name]; values != nil {
		t.r.Header[name] = append(values, value)
		return true
	}
	t.values[t.fields] = value
	t.r.Header[name] = t.values[t.fields : t.fields+1 : t.fields+1]
	t.fields++
	return true
}

// usualFields saves the writing anew of the names that nearly all clients send.
var usualFields = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Cookie", "Host",
		"If-Modified-Since", "If-None-Match", "Origin", "Pragma", "Priority", "Referer", "User-Agent", headerDeadline,
		headerRequestID, "X-Tenant", "X-Api-Key", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
		"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
	} {
		m[name], m[strings.ToLower(name)] = name, name
	}
	return m
}()

// fieldName gives the canonical form of a name, if it is a token.
func fieldName(s string) (string, bool) {
	if name, ok := usualFields[s]; ok {
		return name, true
	}
	for i := range len(s) {
		if c := s[i]; !isToken(c) || c == ':' || c == '/' {
			return "", false
		}
	}
	return textproto.CanonicalMIMEHeaderKey(s), true
}

// fieldValue reports whether a value is of visible ASCII, blanks and tabs.
func fieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// plainText reports whether a part of a target has only characters that mean themselves there.
func plainText(s string) bool {
	for i := range len(s) {
		if !plainByte[s[i]] {
			return false
		}
	}
	return true
}

// plainHost reports whether a Host is a name or an address with a port.
func plainHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

var plainByte = func() (plain [256]bool) {
	for c := range 128 {
		b := byte(c)
		plain[c] = isAlpha(b) || b >= '0' && b <= '9' || strings.IndexByte("-._~/:@$&+,=", b) >= 0
	}
	return plain
}()
