package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"penstock/request"
)

// base is a parsed base URL.
type base struct {
	scheme, host string
	// path is escaped, without a slash at its end: "" or "/api/v1".
	path string
}

func parseBase(raw string) (base, error) {
	if raw == "" {
		return base{}, errors.New("missing; set it to http://host[:port][/path] or the same with https")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The error repeats the text, which may hold a password.
		return base{}, errors.New("not a URL; use http://host[:port][/path] or the same with https")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return base{}, fmt.Errorf("the scheme %q is not http or https", u.Scheme)
	case u.Opaque != "" || u.Hostname() == "":
		return base{}, errors.New("the host is missing; use http://host[:port][/path] or the same with https")
	case u.User != nil:
		return base{}, errors.New("holds a user name or password; move it to credentials")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#"):
		return base{}, errors.New("holds a query or a fragment; move secrets to credentials and the rest to the route's query")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if path != "" {
		if err := CheckPath(path); err != nil {
			return base{}, errors.New("its path has dot segments or characters that a path can't have")
		}
	}
	return base{scheme: u.Scheme, host: u.Host, path: path}, nil
}

// url makes the URL of a call. path is escaped and relative to the base.
func (b *base) url(path, rawQuery string) (*url.URL, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	raw := b.path + escapeInvalid(path, validPathByte)
	if raw == "" {
		raw = "/"
	}
	plain := raw
	if strings.IndexByte(raw, '%') >= 0 {
		var err error
		if plain, err = url.PathUnescape(raw); err != nil {
			return nil, badPath("has a percent sign without two hex digits")
		}
	}
	// With a RawPath that is a right encoding of Path net/url sends RawPath as it is.
	return &url.URL{Scheme: b.scheme, Host: b.host, Path: plain, RawPath: raw, RawQuery: escapeInvalid(rawQuery, validQueryByte)}, nil
}

// CheckPath reports why path, escaped and relative to a base URL, can't be sent: an
// [*request.Error] of ProblemBadRequest. It refuses all that some server might take as a way out of
// the base path or to another host: dot-dot segments however they are encoded (once or several
// times, with encoded slashes or backslashes, with ;parameters or blanks behind them, as overlong
// UTF-8), a double slash at the start, raw backslashes, "?", "#", and NUL. Other encoded characters,
// "%2F" among them, are allowed. An empty path means the base path itself.
func CheckPath(path string) error {
	if path == "" {
		return nil
	}
	if path[0] != '/' {
		return badPath(`does not begin with "/"`)
	}
	if strings.HasPrefix(path, "//") {
		return badPath(`begins with "//"`)
	}
	suspect := false // only dots, percent signs and slashes next to each other can do harm
	for i := range len(path) {
		switch c := path[i]; {
		case c == '\\':
			return badPath(`has a raw backslash; encode it as %5C`)
		case c == '?' || c == '#':
			return badPath(`has a raw "?" or "#"; encode it, or use the query`)
		case c < ' ' || c == 0x7f:
			return badPath("has a control character")
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return badPath("has a percent sign without two hex digits")
			}
			suspect = true
		case c == '.':
			suspect = true
		}
	}
	if suspect {
		return checkEncodings(path)
	}
	return nil
}

// maxEncodings is how often a path is decoded in search of an escape. Servers behind servers
// decode twice; a path encoded more often is refused.
const maxEncodings = 4

func checkEncodings(path string) error {
	for range maxEncodings {
		if climbs(path) {
			return badPath("has a dot-dot segment")
		}
		if strings.IndexByte(path, 0) >= 0 {
			return badPath("has an encoded NUL")
		}
		if strings.IndexByte(path, '%') < 0 {
			return nil
		}
		next := decodeOnce(path)
		if next == path {
			return nil
		}
		path = next
	}
	return badPath("is percent-encoded too many times over")
}

// climbs reports whether any segment of path, whichever kind of slash parts them, is a dot-dot to
// some server.
func climbs(path string) bool {
	if strings.Contains(path, "\xc0") || strings.Contains(path, "\xc1") || strings.Contains(path, "\xe0\x80") {
		path = overlong.Replace(path)
	}
	if !strings.Contains(path, "..") {
		return false
	}
	for len(path) > 0 {
		segment := path
		if i := strings.IndexAny(path, `/\`); i >= 0 {
			segment, path = path[:i], path[i+1:]
		} else {
			path = ""
		}
		segment, _, _ = strings.Cut(segment, ";")
		if strings.Trim(segment, blanks) == ".." {
			return true
		}
	}
	return false
}

// blanks are what a careless server may trim.
const blanks = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f \x7f"

// overlong maps the overlong UTF-8 forms of ".", "/" and "\" to what lenient decoders make of them.
var overlong = strings.NewReplacer(
	"\xc0\xae", ".", "\xe0\x80\xae", ".",
	"\xc0\xaf", "/", "\xe0\x80\xaf", "/",
	"\xc1\x9c", `\`, "\xe0\x81\x9c", `\`,
)

// decodeOnce decodes what is validly encoded and leaves the rest.
func decodeOnce(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func badPath(what string) *request.Error {
	return &request.Error{Problem: request.ProblemBadRequest, Detail: "the path " + what + "; it must stay below the upstream's base URL"}
}

// escapeInvalid percent-encodes the bytes that valid refuses.
func escapeInvalid(s string, valid func(byte) bool) string {
	bad := 0
	for i := range len(s) {
		if !valid(s[i]) {
			bad++
		}
	}
	if bad == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*bad)
	for i := range len(s) {
		if c := s[i]; valid(c) {
			b.WriteByte(c)
		} else {
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// validPathByte reports whether net/url lets c stand in a RawPath (RFC 3986, 3.3, and "[]").
func validPathByte(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("-._~!$&'()*+,;=:@/%[]", c) >= 0
}

// validQueryByte is generous: queries are passed on as they came, but for what would break the
// request line.
func validQueryByte(c byte) bool { return c > ' ' && c < 0x7f && c != '#' }

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
