package preload

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// catalogue is two declared routes: list names ids of detail, by a declared link.
func catalogue(t *testing.T, policy request.PreloadPolicy) (list, detail *request.Route) {
	t.Helper()
	detail = &request.Route{Name: "detail", Upstream: "m", Method: http.MethodGet, Path: "/movies/{id}", Preload: policy}
	list = &request.Route{Name: "list", Upstream: "m", Method: http.MethodGet, Path: "/movies", Query: map[string]string{"page": "{page}"}, Preload: policy}
	list.Preload.Links = []request.Link{{Place: "movies[].id", Route: "detail", Param: "id"}}
	for _, r := range []*request.Route{list, detail} {
		if err := r.Compile(); err != nil {
			t.Fatal(err)
		}
	}
	return list, detail
}

// visitors ask a catalogue through a preloader, and see what is fetched ahead.
type visitors struct {
	*Preloader
	t            *testing.T
	list, detail *request.Route
	front        request.Doer
	mu           sync.Mutex // guards what follows
	fetched      []string   // tenant and key
	cached       map[string]time.Time
}

func newVisitors(t *testing.T, policy request.PreloadPolicy) *visitors {
	v := &visitors{t: t, cached: make(map[string]time.Time)}
	v.list, v.detail = catalogue(t, policy)
	up := request.DoerFunc(func(_ context.Context, r *request.Request) (*request.Response, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if r.Background {
			v.fetched = append(v.fetched, r.Tenant+" "+r.Key)
		}
		v.cached[r.Key] = time.Now().Add(time.Minute)
		body := "{}"
		if page, ok := strings.CutPrefix(r.Key, "list?page="); ok {
			body = fmt.Sprintf(`{"movies":[{"id":%s1},{"id":%s2},{"id":%s3}]}`, page, page, page)
		}
		return &request.Response{
			Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: request.NewBody([]byte(body)),
			ContentLength: int64(len(body)), Cache: request.CacheStatus{Fwd: "miss", Stored: true, Lifetime: time.Minute}, Timing: request.Timing{Upstream: time.Millisecond},
		}, nil
	})
	v.Preloader = New(Options{RouteOf: func(name string) (*request.Route, bool) {
		return v.detail, name == "detail"
	}}, up, nil)
	v.front = v.Watch(up)
	return v
}

func (v *visitors) ask(tenant, client string, route *request.Route, params map[string]any) {
	v.t.Helper()
	r, err := route.Build(params)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Tenant, r.Client = tenant, client
	v.mu.Lock()
	until := v.cached[r.Key]
	v.mu.Unlock()
	hit := time.Now().Before(until)
	v.Observe(Access{Request: r, Hit: hit, ExpiresAt: until})
	if !hit {
		answer, err := v.front.Do(v.t.Context(), r)
		if err != nil {
			v.t.Fatal(err)
		}
		var b [4096]byte
		for err == nil {
			_, err = answer.Body.Read(b[:])
		}
		_ = answer.Body.Close()
	}
	synctest.Wait()
}

// browse has visitors of a tenant open pages never opened before, and one detail of each.
func (v *visitors) browse(tenant string, from, to int) {
	for page := from; page < to; page++ {
		client := fmt.Sprint("visitor ", page)
		v.ask(tenant, client, v.list, map[string]any{"page": page})
		for n := 1; n <= 3; n++ {
			v.ask(tenant, client, v.detail, map[string]any{"id": fmt.Sprintf("%d%d", page, n)})
		}
		time.Sleep(2 * time.Minute)
	}
}

func (v *visitors) take() (fetched []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fetched, v.fetched = v.fetched, nil
	return fetched
}

func TestADeclaredLinkLeadsToKeysThatNobodyAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitors(t, request.PreloadPolicy{})
		defer v.Close()
		v.browse("t", 101, 112)
		v.take()
		v.ask("t", "last", v.list, map[string]any{"page": 500})
		fetched := v.take()
		for n := 1; n <= 3; n++ {
			if want := fmt.Sprint("t detail?id=500", n); !slices.Contains(fetched, want) {
				t.Errorf("%s was not fetched, but %v", want, fetched)
			}
		}
	})
}

func TestARouteThatIsSwitchedOffIsNeitherLearnedNorFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitors(t, request.PreloadPolicy{Off: true})
		defer v.Close()
		v.browse("t", 101, 115)
		if s := v.Stats(); s.Observed != 0 || len(v.take()) != 0 {
			t.Errorf("%d requests were looked at", s.Observed)
		}
	})
}

// TestTenantsLearnTogetherOnlyWhereTheRouteSaysSo: what one tenant showed is of use to another, whose own
// request is then made as his.
func TestTenantsLearnTogetherOnlyWhereTheRouteSaysSo(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			v := newVisitors(t, request.PreloadPolicy{Shared: shared})
			defer v.Close()
			v.browse("t1", 101, 112)
			v.take()
			v.ask("t2", "last", v.list, map[string]any{"page": 500})
			fetched := v.take()
			if shared != slices.Contains(fetched, "t2 detail?id=5001") {
				t.Errorf("shared %v: %v was fetched", shared, fetched)
			}
			for _, f := range fetched {
				if !strings.HasPrefix(f, "t2 ") {
					t.Errorf("%s was fetched for a request of t2", f)
				}
			}
		})
	}
}
