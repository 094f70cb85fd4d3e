package servers

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/maypok86/otter/v2"
)

// PlainArgument is the first argument by which a bench command is to call ServePlain with the rest.
const PlainArgument = "-serve-plain"

// Plain starts this very program as one of the floors: "net/http" or "chi+otter".
func Plain(p Place, kind string) (*Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return launch(p, kind, "http://"+listen, self, PlainArgument, kind, listen, p.Origin)
}

// ServePlain is what a program started by Plain does: args are kind, address and origin. It returns
// only on failure.
func ServePlain(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s takes a kind, an address and an origin, not %q", PlainArgument, args)
	}
	var h http.Handler
	switch args[0] {
	case "net/http":
		h = bare{origin: args[2]}
	case "chi+otter":
		var err error
		if h, err = floor(args[2]); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown kind %q", args[0])
	}
	s := &http.Server{Addr: args[1], Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServe()
}

// answer is what an origin said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func fetch(origin, path string) (*answer, error) {
	resp, err := http.Get("http://" + origin + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, body}, err
}

// bare writes one body with two headers, whatever is asked for: what net/http itself costs.
type bare struct{ origin string }

func (b bare) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = kibLength
	_, _ = w.Write(kib)
}

var (
	jsonType  = []string{"application/json"}
	kib       = Body(1 << 10)
	kibLength = []string{strconv.Itoa(len(kib))}
)

// floor is chi with otter behind it: every answer is kept for an hour under its path, and served with
// its headers and an Age.
func floor(origin string) (http.Handler, error) {
	type stored struct {
		*answer
		at time.Time
	}
	store, err := otter.New(&otter.Options[string, stored]{
		MaximumWeight:    256 << 20,
		Weigher:          func(_ string, s stored) uint32 { return uint32(len(s.body)) + 512 },
		ExpiryCalculator: otter.ExpiryWriting[string, stored](time.Hour),
	})
	if err != nil {
		return nil, err
	}
	mux := chi.NewRouter()
	mux.Get("/*", func(w http.ResponseWriter, r *http.Request) {
		s, ok := store.GetIfPresent(r.URL.Path)
		if !ok {
			a, err := fetch(origin, r.URL.Path)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			s = stored{a, time.Now()}
			store.Set(r.URL.Path, s)
		}
		h := w.Header()
		for name, lines := range s.header {
			h[name] = lines
		}
		h["Age"] = []string{strconv.Itoa(int(time.Since(s.at).Seconds()))}
		w.WriteHeader(s.status)
		_, _ = w.Write(s.body)
	})
	return mux, nil
}

// Body is a JSON text of n bytes, as compressible as such texts are: names repeat, values differ.
func Body(n int) []byte {
	b := []byte(`{"items":[`)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, `{"id":%d,"title":"film %x","score":%d.%d},`, i*7919, i*2654435761%1000003, i%10, i*31%10)
	}
	b = b[:n]
	if n > 2 {
		b[n-1] = '}'
	}
	return b
}
