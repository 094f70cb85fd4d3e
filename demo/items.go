package demo

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxItemBytes bounds the size that a client may ask an item to have.
const maxItemBytes = 8 << 20

// Item is what GET /items/{key} answers: any key there may be, so that traces can be replayed.
type Item struct {
	ID   string `json:"id"`
	Data string `json:"data"`
}

// makeItem makes the item of a key; data has size characters, of a pattern that depends on the
// key.
func makeItem(key string, size int) Item {
	h := fnv.New64a()
	_, _ = io.WriteString(h, key)
	word := fmt.Sprintf("%016x", h.Sum64())
	return Item{ID: key, Data: strings.Repeat(word, size/len(word)+1)[:size]}
}

// itemSize reads how many bytes of data the client wants: the query's size or the header X-Size.
func itemSize(r *http.Request) (int, error) {
	s := r.URL.Query().Get("size")
	if s == "" {
		s = r.Header.Get("X-Size")
	}
	if s == "" {
		return 512, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxItemBytes {
		return 0, fmt.Errorf("size must be 0 to %d bytes", maxItemBytes)
	}
	return n, nil
}

// serveItem answers GET /items/{key}. The key may hold anything, escaped slashes included.
func (a *API) serveItem(w http.ResponseWriter, r *http.Request, escaped string) {
	key, err := url.PathUnescape(escaped)
	if err != nil || key == "" {
		fail(w, http.StatusBadRequest, "bad_request", "the path must be /items/ and a key, percent-encoded")
		return
	}
	size, err := itemSize(r)
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	if !a.work(w, 1) {
		return
	}
	item := makeItem(key, size)
	serveCacheable(w, r, item, fmt.Sprintf(`"item-%s-%d"`, item.Data[:min(16, len(item.Data))], size), a.start, a.o.ItemMaxAge)
}

// serveItems answers a batch: GET /items?keys=a,b or POST /items with a JSON array of keys.
func (a *API) serveItems(w http.ResponseWriter, r *http.Request) {
	size, err := itemSize(r)
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	keys := splitList(r.URL.Query()["keys"])
	if r.Method == http.MethodPost {
		if !readJSON(w, r, &keys) {
			return
		}
	}
	if !checkBatch(w, len(keys)) || !a.work(w, len(keys)) {
		return
	}
	items := make([]Item, 0, len(keys))
	for _, k := range keys {
		items = append(items, makeItem(k, size))
	}
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(a.o.ItemMaxAge.Seconds())))
	writeJSON(w, http.StatusOK, items)
}

// readJSON reads a body of at most 4 MiB, or answers 400.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<20)).Decode(v); err != nil {
		fail(w, http.StatusBadRequest, "bad_request", "the body is not the JSON expected: "+err.Error())
		return false
	}
	return true
}
