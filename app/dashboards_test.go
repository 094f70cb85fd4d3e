package app

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// metricName finds the metrics in PromQL; quoted label values are taken out first.
var (
	metricName = regexp.MustCompile(`\b(penstock|process)_[a-z0-9_]+`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
)

// scraped are the families of a real scrape after traffic that passed every stage.
func scraped(t *testing.T) map[string]bool {
	h := open(t, "upstreams:\n  movies: {base_url: UPSTREAM}\n", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
	}))
	for _, path := range []string{"/a", "/a", "/b"} {
		h.get("/proxy/movies"+path).expect(t, 200)
	}
	names := make(map[string]bool)
	for line := range strings.Lines(h.do("GET", h.adminURL("/metrics"), "").expect(t, 200).body) {
		if f := strings.Fields(line); len(f) == 4 && f[1] == "TYPE" {
			names[f[2]] = true
			if f[3] == "histogram" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					names[f[2]+suffix] = true
				}
			}
		}
	}
	return names
}

func TestEveryMetricOfTheDashboardAndTheAlertRulesExists(t *testing.T) {
	names := scraped(t)
	for _, file := range []string{"../deploy/grafana/penstock.json", "../deploy/prometheus/alerts.yml"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.Unmarshal(b, &doc); err != nil { // JSON is YAML
			t.Fatalf("%s: %v", file, err)
		}
		found := 0
		eachExpression(doc, func(expr string) {
			for _, m := range metricName.FindAllString(quoted.ReplaceAllString(expr, ""), -1) {
				found++
				if !names[m] {
					t.Errorf("%s: there is no metric %s (in %s)", file, m, expr)
				}
			}
		})
		if found < 10 {
			t.Errorf("%s: only %d metrics were found", file, found)
		}
	}
}

// eachExpression finds the PromQL in a document: the values of expr and query.
func eachExpression(v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if text, ok := value.(string); ok && (key == "expr" || key == "query") {
				f(text)
			}
			eachExpression(value, f)
		}
	case []any:
		for _, value := range v {
			eachExpression(value, f)
		}
	}
}
