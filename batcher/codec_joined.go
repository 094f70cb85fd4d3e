package batcher

import (
	"net/url"
	"strings"

	"penstock/request"
)

// queryCodec joins ids in a query parameter.
type queryCodec struct{ base }

func (c queryCodec) read(r *request.Request) (frame, item, bool) {
	id, _, ok := c.id(r)
	if !ok || !c.rule.Repeat && strings.Contains(id, c.rule.Separator) {
		return frame{}, item{}, false
	}
	path, ok := c.path(r)
	if !ok {
		return frame{}, item{}, false
	}
	f, ok := c.frame(r, path)
	it := item{id: id, share: id, raw: []byte(url.QueryEscape(id))}
	it.weight = len(it.raw) + len(escapeSeparator(c.rule.Separator, url.QueryEscape))
	if c.rule.Repeat {
		it.weight = len(it.raw) + len("&=") + len(url.QueryEscape(c.rule.Name))
	}
	return f, it, ok
}

func (c queryCodec) write(f frame, items []item) frame {
	var b strings.Builder
	b.WriteString(f.query)
	name := url.QueryEscape(c.rule.Name) + "="
	if b.Len() > 0 {
		name = "&" + name
	}
	separator := escapeSeparator(c.rule.Separator, url.QueryEscape)
	for i, it := range items {
		switch {
		case i == 0:
			b.WriteString(name)
		case c.rule.Repeat:
			b.WriteByte('&')
			b.WriteString(strings.TrimPrefix(name, "&"))
		default:
			b.WriteString(separator)
		}
		b.Write(it.raw)
	}
	f.query = b.String()
	return f
}

// pathCodec joins ids in the path.
type pathCodec struct{ base }

// joint marks the place of the ids in a frame's path; it can't stand in a path itself.
const joint = "\x00"

func (c pathCodec) read(r *request.Request) (frame, item, bool) {
	id, _, ok := c.id(r)
	escaped, inPath := pathText(id)
	if !ok || !inPath || strings.Contains(id, c.rule.Separator) {
		return frame{}, item{}, false
	}
	path := c.rule.Path
	if path == "" {
		path = r.Route.Path
	}
	before, after, ok := strings.Cut(path, "{"+c.rule.Param+"}")
	if !ok {
		return frame{}, item{}, false
	}
	before, ok1 := expand(before, r.Params, pathText)
	after, ok2 := expand(after, r.Params, pathText)
	f, ok3 := c.frame(r, before+joint+after)
	it := item{id: id, share: id, raw: []byte(escaped)}
	it.weight = len(escaped) + len(escapeSeparator(c.rule.Separator, url.PathEscape))
	return f, it, ok1 && ok2 && ok3
}

func (c pathCodec) write(f frame, items []item) frame {
	parts := make([]string, len(items))
	for i, it := range items {
		parts[i] = string(it.raw)
	}
	joined := strings.Join(parts, escapeSeparator(c.rule.Separator, url.PathEscape))
	f.path = strings.Replace(f.path, joint, joined, 1)
	return f
}

// escapeSeparator leaves alone what RFC 3986 allows in both a path segment and a query and what
// servers commonly split at before they decode.
func escapeSeparator(s string, escape func(string) string) string {
	if strings.Trim(s, ",:.-_~") == "" {
		return s
	}
	return escape(s)
}
