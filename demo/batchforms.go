package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
)

// rpcRequest is a JSON-RPC 2.0 request; without ID it is a notification and gets no answer.
type rpcRequest struct {
	Version string          `json:"jsonrpc"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	ID      json.RawMessage `json:"id"`
}

type rpcResponse struct {
	Version string          `json:"jsonrpc"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
	ID      json.RawMessage `json:"id"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// The error codes of JSON-RPC 2.0, section 5.1, and one of the API's own.
const (
	rpcParse    = -32700
	rpcInvalid  = -32600
	rpcNoMethod = -32601
	rpcParams   = -32602
	rpcNoFilm   = -32001
)

// serveRPC answers POST /rpc: one JSON-RPC 2.0 request or a batch of them. Its one method is
// movie.get with {"id": N}. A batch is answered in reverse, as the specification allows, so that
// a client that goes by order instead of by id is found out.
func (a *API) serveRPC(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", "the body can't be read")
		return
	}
	reqs, batch, parsed := parseRPC(body)
	if !parsed || len(reqs) == 0 {
		code, message := rpcParse, "not JSON"
		if parsed {
			code, message = rpcInvalid, "an empty batch"
		}
		writeJSON(w, http.StatusOK, rpcResponse{Version: "2.0", Error: &rpcError{code, message}, ID: json.RawMessage("null")})
		return
	}
	if !checkBatch(w, len(reqs)) || !a.work(w, len(reqs)) {
		return
	}
	answers := make([]rpcResponse, 0, len(reqs))
	for i := len(reqs) - 1; i >= 0; i-- {
		if answer := a.rpc(reqs[i]); answer.ID != nil {
			answers = append(answers, answer)
		}
	}
	switch {
	case len(answers) == 0:
		w.WriteHeader(http.StatusNoContent)
	case batch:
		writeJSON(w, http.StatusOK, answers)
	default:
		writeJSON(w, http.StatusOK, answers[0])
	}
}

// parseRPC reads a request or a batch. A member that is no object becomes an invalid request.
func parseRPC(body []byte) (reqs []rpcRequest, batch, ok bool) {
	body = bytes.TrimSpace(body)
	if !json.Valid(body) {
		return nil, false, false
	}
	members := []json.RawMessage{body}
	if batch = body[0] == '['; batch {
		members = nil
		if json.Unmarshal(body, &members) != nil {
			return nil, true, false
		}
	}
	for _, m := range members {
		var q rpcRequest
		if json.Unmarshal(m, &q) != nil || q.Version != "2.0" {
			q = rpcRequest{ID: q.ID}
			if q.ID == nil {
				q.ID = json.RawMessage("null")
			}
		}
		reqs = append(reqs, q)
	}
	return reqs, batch, true
}

func (a *API) rpc(q rpcRequest) rpcResponse {
	out := rpcResponse{Version: "2.0", ID: q.ID}
	var p struct {
		ID int `json:"id"`
	}
	switch {
	case q.Method == "":
		out.Error = &rpcError{rpcInvalid, "not a JSON-RPC 2.0 request"}
	case q.Method != "movie.get":
		out.Error = &rpcError{rpcNoMethod, "there is no method " + q.Method}
	case json.Unmarshal(q.Params, &p) != nil:
		out.Error = &rpcError{rpcParams, `params must be {"id": N}`}
	default:
		f, ok := a.film(p.ID)
		if !ok {
			out.Error = &rpcError{rpcNoFilm, "there is no such film"}
			break
		}
		out.Result, _ = a.movieNow(f)
	}
	return out
}

// graphOp is one GraphQL operation.
type graphOp struct {
	Query     string         `json:"query"`
	Variables map[string]any `json:"variables"`
}

// graphMovie finds the one field that the API knows, movie(id: 7) or movie(id: $x).
var graphMovie = regexp.MustCompile(`movie\s*\(\s*id\s*:\s*("?\d+"?|\$\w+)\s*\)`)

// serveGraphQL answers POST /graphql: one operation or an array of them, answered in order.
func (a *API) serveGraphQL(w http.ResponseWriter, r *http.Request) {
	var raw json.RawMessage
	if !readJSON(w, r, &raw) {
		return
	}
	ops, batch := make([]graphOp, 1), raw[0] == '['
	into := any(&ops[0])
	if batch {
		into = &ops
	}
	if err := json.Unmarshal(raw, into); err != nil {
		fail(w, http.StatusBadRequest, "bad_request", "expected {query, variables} or an array of them")
		return
	}
	if !checkBatch(w, len(ops)) || !a.work(w, len(ops)) {
		return
	}
	answers := make([]any, 0, len(ops))
	for _, op := range ops {
		answers = append(answers, a.graph(op))
	}
	if batch {
		writeJSON(w, http.StatusOK, answers)
		return
	}
	writeJSON(w, http.StatusOK, answers[0])
}

func (a *API) graph(op graphOp) any {
	oops := func(message string) any {
		return map[string]any{"data": nil, "errors": []any{map[string]string{"message": message}}}
	}
	found := graphMovie.FindStringSubmatch(op.Query)
	if found == nil {
		return oops("the only field is movie(id: ...)")
	}
	arg := found[1]
	if arg[0] == '$' {
		v, ok := op.Variables[arg[1:]]
		if !ok {
			return oops("the variable " + arg + " is missing")
		}
		arg = fmt.Sprint(v)
	} else if arg[0] == '"' {
		arg = arg[1 : len(arg)-1]
	}
	id, err := strconv.Atoi(arg)
	f, ok := a.film(id)
	if err != nil || !ok {
		return oops("there is no such film")
	}
	m, _ := a.movieNow(f)
	return map[string]any{"data": map[string]any{"movie": m}}
}

// serveEmbeddings answers POST /v1/embeddings as the APIs of that form do: {"input": text or list}
// gives one vector for each text, by index.
func (a *API) serveEmbeddings(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Input json.RawMessage `json:"input"`
		Model string          `json:"model"`
	}
	if !readJSON(w, r, &q) {
		return
	}
	var texts []string
	if json.Unmarshal(q.Input, &texts) != nil {
		texts = make([]string, 1)
		if json.Unmarshal(q.Input, &texts[0]) != nil {
			fail(w, http.StatusBadRequest, "bad_request", "input must be a text or a list of texts")
			return
		}
	}
	if !checkBatch(w, len(texts)) || !a.work(w, len(texts)) {
		return
	}
	data := make([]any, 0, len(texts))
	tokens := 0
	for i, t := range texts {
		data = append(data, map[string]any{"object": "embedding", "index": i, "embedding": embed(t)})
		tokens += len(t)/4 + 1
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list", "data": data, "model": q.Model,
		"usage": map[string]int{"prompt_tokens": tokens, "total_tokens": tokens},
	})
}

// embed makes a vector that depends on the text only.
func embed(text string) []float64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text)
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	v := make([]float64, 16)
	for i := range v {
		v[i] = float64(r.IntN(2001)-1000) / 1000
	}
	return v
}

// serveMget answers POST /_mget in Elasticsearch's form: {"docs": [{"_id": "7"}]} or {"ids": []}.
func (a *API) serveMget(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Docs []struct {
			ID string `json:"_id"`
		} `json:"docs"`
		IDs []string `json:"ids"`
	}
	if !readJSON(w, r, &q) {
		return
	}
	ids := q.IDs
	for _, d := range q.Docs {
		ids = append(ids, d.ID)
	}
	if !checkBatch(w, len(ids)) || !a.work(w, len(ids)) {
		return
	}
	docs := make([]any, 0, len(ids))
	for _, s := range ids {
		doc, _ := a.doc(s)
		docs = append(docs, doc)
	}
	writeJSON(w, http.StatusOK, map[string]any{"docs": docs})
}

// serveDoc answers GET /_doc/{id} in Elasticsearch's form: an element of what /_mget answers.
func (a *API) serveDoc(w http.ResponseWriter, r *http.Request) {
	if !a.work(w, 1) {
		return
	}
	doc, found := a.doc(r.PathValue("id"))
	if !found {
		writeJSON(w, http.StatusNotFound, doc)
		return
	}
	writeJSON(w, http.StatusOK, doc)
}

// doc is a film as Elasticsearch would give it.
func (a *API) doc(s string) (doc map[string]any, found bool) {
	doc = map[string]any{"_index": "movies", "_id": s, "found": false}
	id, err := strconv.Atoi(s)
	f, ok := a.film(id)
	if err != nil || !ok {
		return doc, false
	}
	m, _ := a.movieNow(f)
	doc["found"], doc["_version"], doc["_source"] = true, m.Version+1, m
	return doc, true
}
