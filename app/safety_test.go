package app

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"penstock/api"
)

// secretConfig names every kind of secret that there is.
const secretConfig = `
data_dir: DIR/data
admin:
  token: {file: DIR/admin}
  tokens:
    ada: {file: DIR/ada}
    wall: {file: DIR/wall, read_only: true}
upstreams:
  movies:
    base_url: UPSTREAM
    proxy: ""
    headers: {X-Api-Key: inline-s3cret-header}
    credentials:
      - {header: Authorization, prefix: "Bearer ", file: DIR/header}
      - {query: api_key, file: DIR/query}
routes:
  movie: {upstream: movies, path: "/movies/{id}", params: {id: {}}, headers: {X-Auth-Token: inline-s3cret-route}, query: {api_key: inline-s3cret-query}}
monitoring:
  sampling_interval: 100ms
  alert_webhooks:
    inline: {url: "http://user:inline-s3cret-userinfo@127.0.0.1:1/inline-s3cret-path?k=inline-s3cret-arg", group_wait: 1s}
    file: {url_file: DIR/url, credential: {header: X-Hook, file: DIR/hook}}
tenants:
  anonymous: any
  accounts:
    shop: {keys: ["sha256:5e5cfe3a8d7d1a3f0b1b8c9e2a4d6f8091a2b3c4d5e6f708192a3b4c5d6e7f80"]}
profiling: {enabled: true}
`

// secretHouse is an App with one secret of each kind, and the secrets.
func secretHouse(t *testing.T) (*house, []string) {
	dir := t.TempDir()
	secrets := []string{"inline-s3cret", "tenant-hash"}
	for _, name := range []string{"admin", "ada", "wall", "header", "query", "hook"} {
		secret := name + "-s3cret-4711"
		secrets = append(secrets, secret)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("http://127.0.0.1:1/url-s3cret-4711"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, "url-s3cret-4711")
	// The upstream echoes what it was sent: its answers are data, the admin plane must not be.
	h := open(t, strings.ReplaceAll(secretConfig, "DIR", dir), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/movies/7" {
			w.WriteHeader(500)
		}
		fmt.Fprint(w, "ok")
	}))
	return h, secrets
}

func (h *house) as(token, method, path, body string) answer {
	h.t.Helper()
	req, err := http.NewRequest(method, h.adminURL(path), strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// adminReads are the documented paths of the admin plane that can be read.
func adminReads(t *testing.T) (paths []string) {
	path := ""
	for line := range strings.Lines(string(api.OpenAPI())) {
		switch {
		case strings.HasPrefix(line, "components:"):
			if len(paths) < 12 {
				t.Fatalf("only %v were found", paths)
			}
			return append(paths, "/v1/openapi.yaml", "/healthz", "/readyz", "/tuning", "/queue", "/cache", "/preload", "/upstreams", "/config", "/alerts")
		case strings.HasPrefix(line, "  /"):
			path = strings.TrimSuffix(strings.TrimSpace(line), ":")
		case strings.HasPrefix(line, "    get:") && !strings.HasPrefix(path, "/v1/") && !strings.HasPrefix(path, "/proxy/") && !strings.HasSuffix(path, "/stream") && !strings.HasSuffix(path, "/live"):
			paths = append(paths, strings.NewReplacer("{name}", "workers.movies", "{profile}", "heap", "{id}", "none").Replace(path))
		}
	}
	t.Fatal("the document has no components")
	return nil
}

func TestNoAdminAnswerHoldsASecret(t *testing.T) {
	h, secrets := secretHouse(t)
	for _, path := range []string{"/proxy/movies/movies/7", "/proxy/movies/fails"} {
		h.get(path)
	}
	const admin = "admin-s3cret-4711"
	// Something in the ledger, a failed and a good reload, a refused pin.
	h.as(admin, "PUT", "/admin/v1/knobs/workers.movies/pin", `{"value":12}`).expect(t, 200)
	good, _ := os.ReadFile(h.config)
	h.write(strings.Replace(string(good), "proxy: \"\"", "proxy: \"http://user:inline-s3cret-proxy@127.0.0.1:1:1\"", 1))
	bad := h.as(admin, "POST", "/admin/v1/config/reload", "").expect(t, 422)
	reads := map[string]answer{"POST reload": bad, "PUT pin": h.as(admin, "PUT", "/admin/v1/knobs/workers.movies/pin", `{"value":"x"}`)}
	for _, path := range adminReads(t) {
		reads["GET "+path] = h.as(admin, "GET", path, "")
	}
	h.write(string(good))
	h.as(admin, "POST", "/admin/v1/config/reload", "").expect(t, 200)
	reads["GET stats"] = h.get("/v1/stats")
	for name, a := range reads {
		text := a.body + fmt.Sprint(a.header)
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				i := strings.Index(text, secret)
				t.Errorf("%s shows %s: ...%s", name, secret, text[max(0, i-80):min(len(text), i+40)])
			}
		}
	}
	if log := h.log.String(); strings.Contains(log, "s3cret") {
		t.Errorf("the log holds a secret:\n%s", regexp.MustCompile(`(?m)^.*s3cret.*$`).FindString(log))
	}
}

func TestTheLedgerNamesWhoChangedAKnob(t *testing.T) {
	h, _ := secretHouse(t)
	pin := "/admin/v1/knobs/workers.movies/pin"
	h.as("ada-s3cret-4711", "PUT", pin, `{"value":12}`).expect(t, 200, `"author":"ada"`)
	h.as("admin-s3cret-4711", "PUT", pin, `{"value":13}`).expect(t, 200, `"author":"operator"`)
	h.as("wall-s3cret-4711", "PUT", pin, `{"value":14}`).expect(t, 403, "admin.tokens.wall.read_only")
	h.as("guess", "PUT", pin, `{"value":14}`).expect(t, 401)
	good, _ := os.ReadFile(h.config)
	h.write(string(good) + "workers: {count: 20}\n")
	h.as("ada-s3cret-4711", "DELETE", pin, "").expect(t, 200)
	h.as("ada-s3cret-4711", "POST", "/admin/v1/config/reload", "").expect(t, 200)
	list := h.as("wall-s3cret-4711", "GET", "/admin/v1/decisions?knob=workers.movies", "").expect(t, 200)
	authors := regexp.MustCompile(`"author":"([^"]*)"`).FindAllStringSubmatch(list.body, -1)
	var names []string
	for _, a := range authors {
		names = append(names, a[1])
	}
	// Newest first: the reload, the unpinning, two pins.
	if got := strings.Join(names, " "); got != "ada ada operator ada" {
		t.Errorf("the authors are %q in %s", got, list.body)
	}
}

func TestATokenCanBeChangedByAReload(t *testing.T) {
	h, _ := secretHouse(t)
	good, _ := os.ReadFile(h.config)
	h.as("ada-s3cret-4711", "GET", "/admin/v1/session", "").expect(t, 200, `"author":"ada"`, `"login_required":true`)
	h.write(regexp.MustCompile(`(?m)^    ada:.*\n`).ReplaceAllString(string(good), ""))
	h.as("ada-s3cret-4711", "POST", "/admin/v1/config/reload", "").expect(t, 200)
	h.as("ada-s3cret-4711", "GET", "/admin/v1/session", "").expect(t, 401)
	h.as("wall-s3cret-4711", "GET", "/admin/v1/session", "").expect(t, 200, `"read_only":true`)
}
