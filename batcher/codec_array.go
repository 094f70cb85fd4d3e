package batcher

import (
	"bytes"

	"github.com/tidwall/sjson"

	"penstock/request"
)

// arrayCodec writes a JSON array of ids, of objects made from a template, or of the members' own
// bodies; the array is the whole body or stands inside one.
type arrayCodec struct{ base }

func (c arrayCodec) read(r *request.Request) (frame, item, bool) {
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
	if c.rule.Param == "" {
		body, ok := ownBody(r)
		return f, item{raw: body, share: shareBody(r, body), weight: len(body) + 1}, ok
	}
	it, ok := c.element(r)
	return f, it, ok
}

// element makes the item from the rule's template, or of the id alone.
func (c base) element(r *request.Request) (item, bool) {
	id, raw, ok := c.id(r)
	if !ok {
		return item{}, false
	}
	if c.rule.Item != nil {
		v, ok := fill(c.rule.Item, r.Params)
		if !ok {
			return item{}, false
		}
		if raw, ok = rawJSON(v); !ok {
			return item{}, false
		}
	}
	it := item{raw: raw, share: string(raw), weight: len(raw) + 1}
	if c.rule.By != ByOrder {
		it.id = id
	}
	return it, true
}

// body is the fixed part of the body; empty where the array is the whole of it.
func (c base) body(r *request.Request) ([]byte, bool) {
	if c.rule.ArrayPath == "" {
		return nil, true
	}
	fixed := c.rule.Body
	if fixed == nil {
		fixed = map[string]any{}
	}
	v, ok := fill(fixed, r.Params)
	if !ok {
		return nil, false
	}
	return rawJSON(v)
}

func (c arrayCodec) write(f frame, items []item) frame { return c.writeInto(f, items) }

// writeInto puts the array where the rule wants it.
func (c base) writeInto(f frame, items []item) frame {
	array := writeArray(items)
	if c.rule.ArrayPath == "" {
		f.body = array
		return f
	}
	// The body is an object made here and the path plain (Validate), so this can't fail; a
	// clone, since frames are shared by the halves of a batch.
	body, err := sjson.SetRawBytes(bytes.Clone(f.body), c.rule.ArrayPath, array)
	if err == nil {
		f.body = body
	}
	return f
}
