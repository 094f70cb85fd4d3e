package api

import (
	"net/url"
	"strings"

	"penstock/request"
)

// splitProxyPath takes /proxy/{upstream}/{rest} apart. rest keeps its escaping and begins with
// "/". A rest with "." or ".." segments, however they are written, is refused: what they mean
// depends on who resolves them, and they could leave the upstream's base path.
func splitProxyPath(u *url.URL) (upstream, rest string, err error) {
	escaped := u.EscapedPath()
	if !strings.HasPrefix(escaped, proxyPrefix) {
		return "", "", request.Errorf(request.ProblemBadRequest, "write the path as /proxy/UPSTREAM/PATH, with nothing escaped before PATH")
	}
	escaped = escaped[len(proxyPrefix):]
	upstream, rest = escaped, "/"
	if i := strings.IndexByte(escaped, '/'); i >= 0 {
		upstream, rest = escaped[:i], escaped[i:]
	}
	if upstream, err = url.PathUnescape(upstream); err != nil {
		return "", "", request.Errorf(request.ProblemBadRequest, "the upstream's name in the path is not well escaped")
	}
	if hasDotSegment(rest) {
		return "", "", request.Errorf(request.ProblemBadRequest,
			`the path has a "." or ".." segment; send the path already resolved`)
	}
	return upstream, rest, nil
}

// hasDotSegment looks for "." and ".." between any kind of slash, with path parameters (";") cut
// off, escaped once, several times or not at all.
func hasDotSegment(p string) bool {
	for {
		if dotSegmentIn(p) {
			return true
		}
		if strings.IndexByte(p, '%') < 0 {
			return false
		}
		next := unescapeOnce(p)
		if next == p {
			return false
		}
		p = next
	}
}

// unescapeOnce decodes every well-formed escape and leaves the rest as it is.
func unescapeOnce(p string) string {
	var b strings.Builder
	b.Grow(len(p))
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) {
			if s, err := url.PathUnescape(p[i : i+3]); err == nil {
				b.WriteString(s)
				i += 2
				continue
			}
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

func dotSegmentIn(p string) bool {
	for i := 0; i < len(p); i++ {
		if p[i] != '/' && p[i] != '\\' {
			continue
		}
		seg := p[i+1:]
		switch {
		case strings.HasPrefix(seg, ".."):
			seg = seg[2:]
		case strings.HasPrefix(seg, "."):
			seg = seg[1:]
		default:
			continue
		}
		if seg == "" || seg[0] == '/' || seg[0] == '\\' || seg[0] == ';' {
			return true
		}
	}
	return false
}
