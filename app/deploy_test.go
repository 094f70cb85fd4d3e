package app

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"

	"penstock/configs"
)

const chart = "../deploy/helm/penstock"

// rendered renders the chart with some values changed, as Helm does with what it uses of the language.
func rendered(t *testing.T, change func(values map[string]any)) (docs []map[string]any) {
	t.Helper()
	var values, about map[string]any
	for name, into := range map[string]*map[string]any{"values.yaml": &values, "Chart.yaml": &about} {
		b, err := os.ReadFile(filepath.Join(chart, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(b, into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	change(values)
	data := map[string]any{"Values": values, "Release": map[string]any{"Name": "r"}, "Chart": map[string]any{"AppVersion": about["appVersion"]}}
	funcs := template.FuncMap{
		"quote": func(v any) string { return strconv.Quote(strings.TrimSpace(toText(v))) },
		"indent": func(n int, s string) string {
			return strings.ReplaceAll(strings.Repeat(" ", n)+s, "\n", "\n"+strings.Repeat(" ", n))
		},
	}
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d templates, %v", len(files), err)
	}
	for _, f := range files {
		tmpl, err := template.New(filepath.Base(f)).Option("missingkey=error").Funcs(funcs).ParseFiles(f)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := tmpl.Execute(&out, data); err != nil {
			t.Fatal(err)
		}
		for dec := yaml.NewDecoder(&out); ; {
			var doc map[string]any
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			docs = append(docs, doc)
		}
	}
	return docs
}

func toText(v any) string {
	b, _ := yaml.Marshal(v)
	s := strings.TrimSpace(string(b))
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}

// dig walks into a document.
func dig(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func TestTheChartRendersToAConfigurationThatLoads(t *testing.T) {
	for what, change := range map[string]func(map[string]any){
		"as it is": func(map[string]any) {},
		"all set": func(v map[string]any) {
			v["cluster"].(map[string]any)["user"] = "u"
			v["cluster"].(map[string]any)["passwordSecret"] = "s"
			v["admin"].(map[string]any)["tokenSecret"] = "s"
			v["storage"].(map[string]any)["className"] = "fast"
			v["envSecret"] = "s"
		},
		"alone": func(v map[string]any) { v["cluster"].(map[string]any)["url"] = ""; v["replicas"] = 1 },
	} {
		t.Run(what, func(t *testing.T) {
			var config string
			env := []string{"CLUSTER_PASSWORD=p", "ADMIN_TOKEN=t"}
			kinds := make(map[string]int)
			for _, doc := range rendered(t, change) {
				kinds[doc["kind"].(string)]++
				if name, _ := dig(doc, "metadata", "name").(string); !strings.HasPrefix(name, "r-penstock") {
					t.Errorf("a %v named %q", doc["kind"], name)
				}
				switch doc["kind"] {
				case "ConfigMap":
					config, _ = dig(doc, "data", "penstock.yaml").(string)
				case "StatefulSet":
					list, _ := dig(doc, "spec", "template", "spec", "containers", 0, "env").([]any)
					for _, e := range list {
						if v, ok := dig(e, "value").(string); ok {
							env = append(env, dig(e, "name").(string)+"="+v)
						} else if dig(e, "name") == "PENSTOCK_CLUSTER__NODE" {
							env = append(env, "PENSTOCK_CLUSTER__NODE=r-penstock-0")
						}
					}
				}
			}
			if kinds["StatefulSet"] != 1 || kinds["Service"] != 2 || kinds["ConfigMap"] != 1 {
				t.Errorf("kinds %v", kinds)
			}
			loads(t, config, env)
		})
	}
}

// loads checks that a configuration with an environment is one.
func loads(t *testing.T, config string, env []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "penstock.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(configs.LoadOptions{Path: path, Env: env}); err != nil {
		t.Errorf("with %q: %v", env, err)
	}
}

func TestTheComposeFileNamesSettingsThatThereAre(t *testing.T) {
	b, err := os.ReadFile("../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
			Ports       []string          `yaml:"ports"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for name, s := range file.Services {
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s to the network", name, p)
			}
		}
		if len(s.Environment) == 0 {
			continue
		}
		nodes++
		var env []string
		for k, v := range s.Environment {
			env = append(env, k+"="+v)
		}
		loads(t, "upstreams: {api: {base_url: http://api}}\n", env)
	}
	if nodes != 3 {
		t.Errorf("%d nodes", nodes)
	}
}
