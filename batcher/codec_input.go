package batcher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"penstock/request"
)

// inputCodec joins the input texts of embeddings calls to one input array, OpenAI's form. A member
// gets the whole answer with its one item, renumbered to 0, and its part of the usage.
type inputCodec struct{ base }

func (c inputCodec) read(r *request.Request) (frame, item, bool) {
	path, ok := c.path(r)
	if !ok {
		return frame{}, item{}, false
	}
	f, ok := c.frame(r, path)
	if !ok {
		return frame{}, item{}, false
	}
	body, ok := ownBody(r)
	if !ok {
		return frame{}, item{}, false
	}
	text := gjson.GetBytes(body, c.rule.ArrayPath)
	if text.IsArray() {
		// An array of one text is that text. Several belong together, and an array of numbers is
		// one text in tokens, which servers don't take mixed with others.
		list := text.Array()
		if len(list) != 1 {
			return frame{}, item{}, false
		}
		text = list[0]
	}
	if text.Type != gjson.String {
		return frame{}, item{}, false
	}
	// sjson must find the same field that gjson found, so the rest is made and checked here.
	f.body, _ = sjson.SetRawBytes(bytes.Clone(body), c.rule.ArrayPath, []byte("null"))
	ok = json.Valid(f.body) && gjson.GetBytes(f.body, c.rule.ArrayPath).Raw == "null"
	return f, item{raw: []byte(text.Raw), share: text.Raw, weight: len(text.Raw) + 1}, ok
}

func (c inputCodec) write(f frame, items []item) frame { return c.writeInto(f, items) }

func (c inputCodec) split(answer []byte, items []item) ([]outcome, error) {
	numbered := make([]item, len(items))
	for i := range items {
		numbered[i].id = strconv.Itoa(i)
	}
	outcomes, err := c.answer.split(answer, numbered)
	if err != nil {
		return nil, err
	}
	list := gjson.GetBytes(answer, c.rule.ItemsPath)
	if list.Index <= 0 {
		return nil, &malformed{detail: fmt.Sprintf("the answer has no array at %q", c.rule.ItemsPath)}
	}
	around := splice(answer, list.Index, list.Index+len(list.Raw), []byte("[]"))
	total, before := 0, 0
	for _, it := range items {
		total += len(it.raw)
	}
	for i, it := range items {
		o := &outcomes[i]
		if o.kind == found {
			o.body = c.whole(around, o.body, portion{before, before + len(it.raw), total})
		}
		before += len(it.raw)
	}
	return outcomes, nil
}

// whole makes one member's answer from what stands around the items and its item.
func (c inputCodec) whole(around, one []byte, p portion) []byte {
	if index := gjson.GetBytes(one, c.rule.IDPath); index.Index > 0 && index.Raw != "" {
		one = splice(one, index.Index, index.Index+len(index.Raw), []byte("0"))
	}
	doc := shareUsage(around, "usage", p)
	list := gjson.GetBytes(doc, c.rule.ItemsPath)
	return splice(doc, list.Index+1, list.Index+1, one)
}

// portion is a member's part of the texts of a batch, in bytes: from..to of total.
type portion struct{ from, to, total int }

// of is the part of n. The parts of all members sum up to n.
func (p portion) of(n int64) int64 {
	if p.total == 0 {
		return n
	}
	at := func(x int) int64 { return n * int64(x) / int64(p.total) }
	return at(p.to) - at(p.from)
}

// largestUsage keeps portion.of from overflowing: with texts of under 2^22 bytes in all there is room
// for counts up to 2^40.
const largestUsage = 1 << 40

// shareUsage replaces the counts under path by the member's part of them: the upstream counted the
// tokens of all members together, and sums over the members' answers must stay right.
func shareUsage(doc []byte, path string, p portion) []byte {
	gjson.GetBytes(doc, path).ForEach(func(k, v gjson.Result) bool {
		at := path + "." + k.String()
		switch {
		case !plainPath(at):
		case v.IsObject():
			doc = shareUsage(doc, at, p)
		case v.Type == gjson.Number:
			n, err := strconv.ParseInt(v.Raw, 10, 64)
			if err != nil || n < 0 || n > largestUsage {
				return true
			}
			if out, err := sjson.SetRawBytes(bytes.Clone(doc), at, strconv.AppendInt(nil, p.of(n), 10)); err == nil {
				doc = out
			}
		}
		return true
	})
	return doc
}
