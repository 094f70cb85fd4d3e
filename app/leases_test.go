package app

import (
	"net/http"
	"testing"
)

const quotaOfAHundred = `
upstreams: {movies: {base_url: UPSTREAM, rates: [{limit: 100, per: 1s, burst: 10}]}}
routes:
  movie: {upstream: movies, path: "/movies/{id}", params: {id: {}}, cache: {mode: "off"}}
`

func TestTheNodesOfAClusterShareAQuotaAndPartsFollowDemand(t *testing.T) {
	w := clustered(t, 2, quotaOfAHundred, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	part := func(i int) float64 { return w.nodes[i].App.leases.Status("movies").Ratio }
	for _, n := range w.nodes {
		n.eventually("the quota is shared", func() bool {
			s := n.App.leases.Status("movies")
			return s.OK && s.Nodes == 2 && s.Ratio < 1
		})
	}
	for _, i := range []int{0, 1, 0} {
		w.nodes[i].eventually("the part follows demand", func() bool {
			for range 20 { // 20 at a time want far more than a little of the quota
				w.nodes[i].get("/proxy/movies/x")
			}
			return part(i) > 0.9
		})
		if n := w.nodes[i].App.table.Load().nodes["movies"].scheduler.Stats().Rates[0]; n.Share > 1 || n.Share < 0.5 {
			t.Errorf("the scheduler keeps to %v of the quota", n.Share)
		}
	}
}
