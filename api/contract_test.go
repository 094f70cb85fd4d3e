package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// contractCase makes one documented answer from a real handler.
type contractCase struct {
	method, path string // as documented
	status       string // as documented: "200", "default"
	handler      http.Handler
	request      *http.Request
}

// contract is openapi.yaml, with its schemas ready to validate.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

const contractURL = "openapi.json"

func readContract(t *testing.T) *contract {
	t.Helper()
	var fromYAML any
	if err := yaml.Unmarshal(OpenAPI(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{compiler: jsonschema.NewCompiler()}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(contractURL, doc); err != nil {
		t.Fatal(err)
	}
	c.doc, _ = doc.(map[string]any)
	return c
}

// at follows keys and $refs, and returns the pointer it ended at too.
func (c *contract) at(pointer string, keys ...string) (map[string]any, string) {
	node, _ := c.resolve(pointer)
	for _, k := range keys {
		next, ok := node[k].(map[string]any)
		if !ok {
			return nil, ""
		}
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
		node = next
		if ref, ok := node["$ref"].(string); ok {
			pointer = strings.TrimPrefix(ref, "#")
			node, pointer = c.resolve(pointer)
		}
	}
	return node, pointer
}

func (c *contract) resolve(pointer string) (map[string]any, string) {
	node := c.doc
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part != "" {
			node, _ = node[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)].(map[string]any)
		}
	}
	return node, pointer
}

var operationMethods = []string{"get", "head", "post", "put", "patch", "delete", "options"}

// documented lists "method path status" of all documented answers.
func (c *contract) documented() (all []string) {
	paths, _ := c.at("/paths")
	for path := range paths {
		for _, m := range operationMethods {
			responses, _ := c.at("/paths", path, m, "responses")
			for status := range responses {
				all = append(all, m+" "+path+" "+status)
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestEveryDocumentedAnswerIsGivenAndFitsItsSchema(t *testing.T) {
	c := readContract(t)
	covered := make(map[string]bool)
	for _, cc := range contractCases(t) {
		name := cc.method + " " + cc.path + " " + cc.status
		covered[name] = true
		t.Run(name, func(t *testing.T) { c.check(t, cc) })
	}
	for _, name := range c.documented() {
		if !covered[name] {
			t.Errorf("%s is documented, but no case gives it", name)
		}
	}
}

func (c *contract) check(t *testing.T, cc contractCase) {
	w := httptest.NewRecorder()
	cc.handler.ServeHTTP(w, cc.request)
	got := w.Result()
	body, _ := io.ReadAll(got.Body)
	responses, _ := c.at("/paths", cc.path, cc.method, "responses")
	status := fmt.Sprint(got.StatusCode)
	if _, ok := responses[status]; !ok {
		status = "default"
	}
	if _, ok := responses[status]; !ok {
		t.Fatalf("%d is not documented: %s", got.StatusCode, body)
	}
	if status != cc.status {
		t.Fatalf("got %d (%s), want %s: %s", got.StatusCode, status, cc.status, body)
	}
	c.checkHeaders(t, cc, status, got.Header)
	c.checkContent(t, cc, status, got.Header, body)
}

func (c *contract) checkHeaders(t *testing.T, cc contractCase, status string, got http.Header) {
	headers, _ := c.at("/paths", cc.path, cc.method, "responses", status, "headers")
	for name := range headers {
		h, _ := c.at("/paths", cc.path, cc.method, "responses", status, "headers", name)
		values := got.Values(name)
		if len(values) == 0 {
			if h["required"] == true {
				t.Errorf("header %s is missing", name)
			}
			continue
		}
		schema, _ := h["schema"].(map[string]any)
		if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(strings.Join(values, ", ")) {
			t.Errorf("header %s: %q does not match %s", name, values, p)
		}
	}
}

func (c *contract) checkContent(t *testing.T, cc contractCase, status string, h http.Header, body []byte) {
	content, _ := c.at("/paths", cc.path, cc.method, "responses", status, "content")
	if content == nil {
		return
	}
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		t.Fatalf("Content-Type %q: %v", h.Get("Content-Type"), err)
	}
	if content[mediaType] == nil && content["*/*"] != nil {
		return
	}
	_, pointer := c.at("/paths", cc.path, cc.method, "responses", status, "content", mediaType, "schema")
	if pointer == "" {
		t.Fatalf("content of %s is not documented", mediaType)
	}
	schema, err := c.compiler.Compile(contractURL + "#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	switch mediaType {
	case "application/json", "application/problem+json":
		validate(t, schema, body)
	case "application/x-ndjson":
		for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
			validate(t, schema, lines.Bytes())
		}
	}
}

func validate(t *testing.T, schema *jsonschema.Schema, body []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("%s\n%v", body, err)
	}
}

func TestOperationIDsAndReferencesAreSound(t *testing.T) {
	c := readContract(t)
	seen := make(map[string]bool)
	paths, _ := c.at("/paths")
	for path := range paths {
		for _, m := range operationMethods {
			op, _ := c.at("/paths", path, m)
			if op == nil {
				continue
			}
			id, _ := op["operationId"].(string)
			if id == "" || seen[id] {
				t.Errorf("%s %s: operationId %q is empty or used twice", m, path, id)
			}
			seen[id] = true
		}
	}
	for _, ref := range regexp.MustCompile(`\$ref: '#([^']+)'`).FindAllSubmatch(OpenAPI(), -1) {
		if node, _ := c.resolve(string(ref[1])); node == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
}

func TestEverySchemaCompiles(t *testing.T) {
	c := readContract(t)
	schemas, _ := c.at("/components/schemas")
	for name := range schemas {
		if _, err := c.compiler.Compile(contractURL + "#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
