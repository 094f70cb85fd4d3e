package batcher

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"penstock/request"
)

func TestEveryExampleInTheDocumentIsValid(t *testing.T) {
	doc, err := os.ReadFile("../docs/batching.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(doc), "```yaml\n")[1:]
	forms := map[Form]bool{}
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		var config struct {
			Routes map[string]struct {
				Upstream, Method, Path string
				Query                  map[string]string
				Body                   any
				Params                 map[string]struct{ Default any }
				Batch                  Rule
			}
		}
		dec := yaml.NewDecoder(strings.NewReader(b))
		dec.KnownFields(true)
		if err := dec.Decode(&config); err != nil {
			t.Errorf("%v in\n%s", err, b)
		}
		for name, r := range config.Routes {
			params := map[string]request.Param{}
			for p, d := range r.Params {
				params[p] = request.Param{Default: d.Default}
			}
			route := compiled(t, request.Route{Method: r.Method, Path: r.Path, Query: r.Query, Body: r.Body, Params: params})
			if err := r.Batch.ValidateFor(route); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			forms[r.Batch.Form] = true
		}
	}
	for _, f := range Forms() {
		if !forms[f] {
			t.Errorf("form %s has no example", f)
		}
	}
}
