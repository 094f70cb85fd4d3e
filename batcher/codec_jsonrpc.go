package batcher

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"penstock/request"
)

// rpcCodec writes a JSON-RPC 2.0 batch. The members' ids are replaced by 1, 2, 3 ..., since
// members of different clients may have the same; the answers come in any order, are matched by
// these, and get their member's own id back.
type rpcCodec struct{ base }

func (c rpcCodec) read(r *request.Request) (frame, item, bool) {
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
	from, to, ok := rpcID(body)
	it := item{
		raw: body, from: from, to: to, share: shareBody(r, body[:from], body[to:]),
		// Its own id gives way to one of at most 7 digits.
		weight: len(body) - (to - from) + 7 + 1,
	}
	return f, it, ok
}

// rpcID finds the id of a call. Notifications (no id, or null) have no answer and can't be
// batched. Neither can a call with a second field that a server might take for the id: some
// read names without regard to case, and the last one wins.
func rpcID(body []byte) (from, to int, ok bool) {
	var id gjson.Result
	ids, versions, methods := 0, 0, 0
	gjson.ParseBytes(body).ForEach(func(k, v gjson.Result) bool {
		switch name := k.String(); {
		case strings.EqualFold(name, "id"):
			ids++
			id = v
		case name == "jsonrpc" && v.String() == "2.0":
			versions++
		case name == "method" && v.Type == gjson.String:
			methods++
		}
		return true
	})
	if ids != 1 || versions != 1 || methods != 1 || id.Type != gjson.Number && id.Type != gjson.String {
		return 0, 0, false
	}
	own := gjson.GetBytes(body, "id")
	from, to = own.Index, own.Index+len(own.Raw)
	return from, to, own.Raw == id.Raw && from > 0 && string(body[from:to]) == own.Raw
}

func (c rpcCodec) write(f frame, items []item) frame {
	numbered := make([]item, len(items))
	for i, it := range items {
		numbered[i].raw = splice(it.raw, it.from, it.to, strconv.AppendInt(nil, int64(i+1), 10))
	}
	f.body = writeArray(numbered)
	return f
}

func (c rpcCodec) split(answer []byte, items []item) ([]outcome, error) {
	numbered := make([]item, len(items))
	for i := range items {
		numbered[i].id = strconv.Itoa(i + 1)
	}
	return c.answer.split(answer, numbered)
}

func (c rpcCodec) own(o outcome, it item) []byte {
	id := gjson.GetBytes(o.body, "id")
	if id.Index <= 0 || id.Index+len(id.Raw) > len(o.body) {
		return o.body
	}
	return splice(o.body, id.Index, id.Index+len(id.Raw), it.raw[it.from:it.to])
}

// splice returns a copy of b in which b[from:to] is replaced.
func splice(b []byte, from, to int, by []byte) []byte {
	return bytes.Join([][]byte{b[:from], by, b[to:]}, nil)
}
