package batcher

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func unescaped(path string) string {
	p, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return p
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=60")
	w.WriteHeader(status)
	b, _ := json.Marshal(v)
	_, _ = w.Write(b)
}

// film is what the upstream knows of an id: nothing of ids that begin with "gone".
func film(id string) (map[string]any, bool) {
	return map[string]any{"id": id, "title": "Film " + id}, !strings.HasPrefix(id, "gone")
}

// found lists the films of ids, last one first; ok is false if one of the ids is refused, as a
// strict API does for the whole of a call.
func foundFilms(ids []string) (list []any, ok bool) {
	for _, id := range slices.Backward(ids) {
		if strings.HasPrefix(id, "bad") {
			return nil, false
		}
		if f, ok := film(id); ok {
			list = append(list, f)
		}
	}
	return list, true
}

// filmServer answers single films and, in several forms, many.
func filmServer() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /films/{id}", func(w http.ResponseWriter, r *http.Request) {
		f, ok := film(r.PathValue("id"))
		switch {
		case strings.HasPrefix(r.PathValue("id"), "bad"):
			writeJSON(w, 400, map[string]any{"error": "bad id"})
		case !ok:
			writeJSON(w, 404, map[string]any{"error": "no such film"})
		default:
			writeJSON(w, 200, f)
		}
	})
	many := func(w http.ResponseWriter, ids []string) {
		list, ok := foundFilms(ids)
		if !ok {
			writeJSON(w, 400, map[string]any{"error": "one of the ids is bad"})
			return
		}
		writeJSON(w, 200, map[string]any{"films": list, "total": len(list)})
	}
	mux.HandleFunc("GET /films", func(w http.ResponseWriter, r *http.Request) {
		ids := r.URL.Query()["ids"]
		if len(ids) == 1 {
			ids = strings.Split(ids[0], ",")
		}
		many(w, ids)
	})
	mux.HandleFunc("GET /films/list/{ids}", func(w http.ResponseWriter, r *http.Request) {
		many(w, strings.Split(r.PathValue("ids"), ","))
	})
	mux.HandleFunc("POST /films/batch", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ IDs []string }
		if json.NewDecoder(r.Body).Decode(&q) != nil {
			writeJSON(w, 400, "no JSON")
			return
		}
		list, ok := foundFilms(q.IDs)
		if !ok {
			writeJSON(w, 422, "bad id")
			return
		}
		byKey := map[string]any{}
		for _, f := range list {
			byKey[f.(map[string]any)["id"].(string)] = f
		}
		writeJSON(w, 200, map[string]any{"films": byKey})
	})
	return mux
}

// esServer is Elasticsearch's _doc and _mget over the films.
func esServer() http.Handler {
	doc := func(id string) map[string]any {
		f, ok := film(id)
		if !ok {
			return map[string]any{"_index": "films", "_id": id, "found": false}
		}
		return map[string]any{"_index": "films", "_id": id, "_version": 3, "found": true, "_source": f}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /films/_doc/{id}", func(w http.ResponseWriter, r *http.Request) {
		d := doc(r.PathValue("id"))
		status := 200
		if d["found"] == false {
			status = 404
		}
		writeJSON(w, status, d)
	})
	mux.HandleFunc("POST /films/_mget", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			IDs  []string
			Docs []struct {
				ID string `json:"_id"`
			}
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil {
			writeJSON(w, 400, "no JSON")
			return
		}
		for _, d := range q.Docs {
			q.IDs = append(q.IDs, d.ID)
		}
		docs := []any{}
		for _, id := range q.IDs {
			if strings.HasPrefix(id, "shardless") {
				docs = append(docs, map[string]any{"_index": "films", "_id": id, "error": map[string]any{"type": "no_shard_available"}})
				continue
			}
			docs = append(docs, doc(id))
		}
		writeJSON(w, 200, map[string]any{"docs": docs})
	})
	return mux
}

// rpcServer is a JSON-RPC 2.0 server with the methods film and fail; it answers batches in
// reverse, as the specification allows.
func rpcServer() http.Handler {
	type call struct {
		Version string          `json:"jsonrpc"`
		Method  string          `json:"method"`
		Params  []string        `json:"params"`
		ID      json.RawMessage `json:"id"`
	}
	type failure struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	type result struct {
		Version string          `json:"jsonrpc"`
		Result  any             `json:"result,omitempty"`
		Error   *failure        `json:"error,omitempty"`
		ID      json.RawMessage `json:"id"`
	}
	one := func(raw json.RawMessage) (result, bool) {
		var c call
		fail := func(code int, message string) result {
			return result{Version: "2.0", Error: &failure{code, message}, ID: c.ID}
		}
		err := json.Unmarshal(raw, &c)
		if c.ID == nil {
			c.ID = json.RawMessage("null")
		}
		switch {
		case err != nil || c.Version != "2.0":
			return fail(-32600, "invalid request"), true
		case c.Method != "film" || len(c.Params) != 1:
			return fail(-32601, "method not found"), true
		}
		f, ok := film(c.Params[0])
		if !ok {
			return fail(-32001, "no such film"), true
		}
		return result{Version: "2.0", Result: f, ID: c.ID}, string(c.ID) != "null"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var batch []json.RawMessage
		if json.Unmarshal(body, &batch) != nil {
			res, _ := one(body)
			writeJSON(w, 200, res)
			return
		}
		if len(batch) == 0 || len(batch) > 5 {
			writeJSON(w, 200, result{Version: "2.0", Error: &failure{-32600, "batch empty or too large"}, ID: json.RawMessage("null")})
			return
		}
		results := []result{}
		for _, raw := range slices.Backward(batch) {
			if res, answered := one(raw); answered {
				results = append(results, res)
			}
		}
		writeJSON(w, 200, results)
	})
}

// embeddingsServer is OpenAI's POST /v1/embeddings: a token for each byte, texts with "bad" in
// them refused, the data in reverse.
func embeddingsServer() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Model string
			Input any
		}
		_ = json.NewDecoder(r.Body).Decode(&q)
		list, ok := q.Input.([]any)
		if !ok {
			list = []any{q.Input}
		}
		type embedding struct {
			Object    string    `json:"object"`
			Index     int       `json:"index"`
			Embedding []float64 `json:"embedding"`
		}
		var data []embedding
		tokens := 0
		for i, in := range list {
			s, ok := in.(string)
			if !ok || strings.Contains(s, "bad") {
				writeJSON(w, 400, map[string]any{"error": map[string]any{"message": fmt.Sprintf("input %d is invalid", i)}})
				return
			}
			// The quotes count, so that the parts of the usage come out even.
			tokens += len(s) + 2
			data = append(data, embedding{"embedding", i, []float64{float64(len(s)), .25}})
		}
		slices.Reverse(data)
		writeJSON(w, 200, struct {
			Object string         `json:"object"`
			Data   []embedding    `json:"data"`
			Model  string         `json:"model"`
			Usage  map[string]int `json:"usage"`
		}{"list", data, q.Model, map[string]int{"prompt_tokens": tokens, "total_tokens": tokens}})
	})
}

// graphqlServer answers {film(id: $id)} singly and in arrays.
func graphqlServer() http.Handler {
	type query struct {
		Query     string            `json:"query"`
		Variables map[string]string `json:"variables"`
	}
	one := func(q query) any {
		f, ok := film(q.Variables["id"])
		if !ok {
			return map[string]any{"data": nil, "errors": []any{map[string]any{"message": "no such film"}}}
		}
		return map[string]any{"data": map[string]any{"film": f}}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var batch []query
		if json.Unmarshal(body, &batch) != nil {
			var q query
			if json.Unmarshal(body, &q) != nil {
				writeJSON(w, 400, "no JSON")
				return
			}
			writeJSON(w, 200, one(q))
			return
		}
		out := make([]any, len(batch))
		for i, q := range batch {
			if strings.HasPrefix(q.Variables["id"], "bad") {
				writeJSON(w, 400, "a bad query")
				return
			}
			out[i] = one(q)
		}
		writeJSON(w, 200, out)
	})
}

// echoItems answers an array with itself.
func echoItems() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			writeJSON(w, 200, map[string]string{"id": r.URL.Query().Get("id"), "lang": r.URL.Query().Get("lang")})
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
}
