package batcher

import (
	"net/http"

	"github.com/tidwall/gjson"

	"penstock/request"
)

// mgetCodec writes Elasticsearch's _mget: {"ids":[...]}, or {"docs":[{...}]} from a template. An
// element of its answer is what GET /index/_doc/id answers, byte for byte.
type mgetCodec struct{ base }

func (c mgetCodec) read(r *request.Request) (frame, item, bool) {
	path, ok := c.path(r)
	if !ok {
		return frame{}, item{}, false
	}
	f, ok := c.frame(r, path)
	if !ok {
		return frame{}, item{}, false
	}
	if f.body, ok = c.body(r); !ok {
		return frame{}, item{}, false
	}
	it, ok := c.element(r)
	if ok && c.rule.Item == nil {
		// Document ids are strings, whatever the param is.
		it.raw, ok = rawJSON(it.id)
		it.share, it.weight = string(it.raw), len(it.raw)+1
	}
	return f, it, ok
}

func (c mgetCodec) write(f frame, items []item) frame { return c.writeInto(f, items) }

func (c mgetCodec) split(answer []byte, items []item) ([]outcome, error) {
	s := c.answer
	s.judge = func(doc gjson.Result) outcome {
		o := s.verdict(doc)
		if o.kind != found || o.status >= http.StatusBadRequest {
			return o
		}
		switch is := doc.Get("found"); is.Type {
		case gjson.True:
		case gjson.False:
			o.status = c.rule.MissingStatus
			if o.status == http.StatusBadGateway {
				o = outcome{kind: missing}
			}
		default:
			o = outcome{kind: broken, detail: `the document has no "found"`}
		}
		return o
	}
	return s.split(answer, items)
}
