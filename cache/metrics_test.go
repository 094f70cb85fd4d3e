package cache

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"penstock/observe"
)

func TestEveryMetricHasHelpAndTheRightName(t *testing.T) {
	reg := observe.NewRegistry()
	options := testOptions()
	options.Scope = reg.Process()
	c := newCache(t, options, always(200, "hello", "Cache-Control", "max-age=60"))
	do(t, c, get(httpRoute(), "k"))
	var b bytes.Buffer
	reg.WritePrometheus(&b)
	text := b.String()
	types := regexp.MustCompile(`(?m)^# TYPE (penstock_cache_\S+) (\S+)$`).FindAllStringSubmatch(text, -1)
	if len(types) != len(help) {
		t.Errorf("%d metrics, %d help texts", len(types), len(help))
	}
	for _, m := range types {
		if !strings.Contains(text, "# HELP "+m[1]+" ") || help[m[1]] == "" {
			t.Errorf("%s has no help text", m[1])
		}
		if total := strings.HasSuffix(m[1], "_total"); total != (m[2] == "counter") {
			t.Errorf("%s is a %s", m[1], m[2])
		}
	}
}
