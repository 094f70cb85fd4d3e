package batcher

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"penstock/request"
)

// frame is all of a batch call but its items. Requests travel together only if their frames are
// equal, so nothing of one member's call can change what another member asks.
type frame struct {
	method, path, query string
	body                []byte
}

// size is what the frame takes of a rule's MaxBytes.
func (f frame) size(onURL bool) int {
	if onURL {
		return len(f.path) + len(f.query)
	}
	return len(f.body) + len("[]")
}

// item is what one member adds to the call.
type item struct {
	// id is what the answer is matched by, unique within a call; empty where the item's place
	// in the call identifies it.
	id string
	// raw is the item as the call carries it.
	raw []byte
	// share makes members one item: those whose share is equal and not empty.
	share string
	// from and to bound the member's own JSON-RPC id within raw.
	from, to int
	// weight is what the item adds to the call, in bytes.
	weight int
}

// codec is one batch form. It keeps no state of a call, and may be used at once.
type codec interface {
	// read takes the member apart. False: it can't be batched and travels alone.
	read(r *request.Request) (frame, item, bool)
	// write puts the items into the frame.
	write(f frame, items []item) frame
	// split takes a 2xx answer apart, one outcome for each item. The answer is valid JSON. An
	// error is always a *malformed.
	split(answer []byte, items []item) ([]outcome, error)
	// own makes the body of one member from the outcome of its item, which it may share with
	// other members.
	own(o outcome, it item) []byte
}

// outcomeKind says what the answer holds for one item.
type outcomeKind uint8

const (
	missing outcomeKind = iota // nothing
	found                      // an answer, with its status
	broken                     // something that can't be used
)

// outcome is what the answer holds for one item.
type outcome struct {
	kind   outcomeKind
	status int
	body   []byte
	// detail says what is wrong with a broken one.
	detail string
}

// malformed is the error of an answer that can't be taken apart.
type malformed struct {
	detail string
	// suspect: the reason may lie in one member.
	suspect bool
	// ran: the upstream may have executed the batch, so only what may be repeated is tried again.
	ran bool
}

func (m *malformed) Error() string { return m.detail }

// newCodec returns the codec of a validated rule with its defaults filled in.
func newCodec(r Rule) codec {
	base := base{rule: r, answer: newSplitter(r), vary: r.varying()}
	switch r.Form {
	case FormQuery:
		return queryCodec{base}
	case FormPath:
		return pathCodec{base}
	case FormJSONRPC:
		return rpcCodec{base}
	case FormGraphQL:
		return graphqlCodec{base}
	case FormInput:
		return inputCodec{base}
	case FormMGet:
		return mgetCodec{base}
	}
	return arrayCodec{base}
}

// base is what the codecs have in common.
type base struct {
	rule   Rule
	answer splitter
	vary   map[string]bool
}

func (base) own(o outcome, _ item) []byte { return o.body }

func (b base) split(answer []byte, items []item) ([]outcome, error) {
	return b.answer.split(answer, items)
}

// frame makes the frame of a call to path, which is escaped.
func (b base) frame(r *request.Request, path string) (frame, bool) {
	query, ok := b.query(r)
	return frame{method: b.rule.Method, path: path, query: query}, ok
}

// path fills in the rule's path; the member's own stands in for none.
func (b base) path(r *request.Request) (string, bool) {
	if b.rule.Path == "" {
		return r.Path, true
	}
	return expand(b.rule.Path, r.Params, pathText)
}

// id reads the batched param: its text and its JSON.
func (b base) id(r *request.Request) (text string, raw []byte, ok bool) {
	v, ok := r.Params[b.rule.Param]
	if !ok {
		return "", nil, false
	}
	if text, ok = paramText(v); !ok || text == "" {
		return "", nil, false
	}
	for _, v := range r.Params {
		// JSON has no other bytes: they would all become one and the same character.
		if s, isText := v.(string); isText && !utf8.ValidString(s) {
			return "", nil, false
		}
	}
	raw, ok = rawJSON(v)
	return text, raw, ok
}

// ownBody returns the member's own body if it is one whole JSON object. Anything less would
// reach over into its neighbours once it stands in an array.
func ownBody(r *request.Request) ([]byte, bool) {
	body := bytes.TrimSpace(r.Data)
	return body, len(body) > 0 && body[0] == '{' && json.Valid(body)
}

// shareBody is the share of an item that is a member's own body. Such a call may do something, so
// two of them are one only where the cache would have made them one: with the same key.
func shareBody(r *request.Request, body ...[]byte) string {
	if r.Key == "" {
		return ""
	}
	return r.Key + "\x00" + string(bytes.Join(body, []byte{0}))
}

// writeArray joins the items to a JSON array.
func writeArray(items []item) []byte {
	n := len("[]")
	for _, it := range items {
		n += len(it.raw) + 1
	}
	b := append(make([]byte, 0, n), '[')
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, it.raw...)
	}
	return append(b, ']')
}

// varying are the params that may differ between members; none for a form that reads bodies.
func (r Rule) varying() map[string]bool {
	vary := make(map[string]bool)
	if r.Param != "" {
		vary[r.Param] = true
		namedIn(r.Item, vary)
	}
	return vary
}

// bodyless reports whether the call has no body.
func (r Rule) bodyless() bool { return r.Form.onURL() }

// jsonBody reports whether the call's body is made here and not taken from the members.
func (r Rule) jsonBody() bool {
	return r.Form == FormMGet || r.Form == FormJSONArray && r.Param != ""
}

// lookup reports whether the form asks for things by id, so that asking twice does no harm.
func (r Rule) lookup() bool { return r.Param != "" || r.Form == FormInput }

// repeatable reports whether a call for m may be made twice.
func (r Rule) repeatable(m *request.Request) bool {
	return r.lookup() || m.Key != "" || request.SafeMethod(m.Method)
}

// alone lists the request headers that make a request travel alone: their answer belongs to one
// representation only, or they speak of one call only.
var alone = map[string]bool{
	"Range": true, "If-Range": true, "If-Match": true, "If-None-Match": true, "If-Modified-Since": true,
	"If-Unmodified-Since": true, "Idempotency-Key": true, "Expect": true, "Upgrade": true,
}

// batchable reports whether the request could travel with others at all.
func batchable(r *request.Request) bool {
	if r.Stream != nil || r.Route == nil || strings.EqualFold(r.Method, http.MethodHead) {
		return false
	}
	for name := range r.Header {
		if alone[http.CanonicalHeaderKey(name)] {
			return false
		}
	}
	return true
}
