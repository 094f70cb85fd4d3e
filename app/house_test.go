package app

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// law says which of Penstock's own packages each folder may import (docs: the house). Third-party
// libraries are free, except where stdOnly says otherwise. A folder that is not listed fails.
var law = map[string][]string{
	"request":   {},
	"knob":      {},
	"observe":   {"request", "knob"},
	"cache":     {"request", "knob", "observe"},
	"scheduler": {"request", "knob", "observe"},
	"batcher":   {"request", "knob", "observe"},
	"upstream":  {"request", "knob", "observe"},
	"preload":   {"request", "knob", "observe"},
	"tuner":     {"knob", "observe"},
	"tenant":    {"request", "observe"},
	"tracing":   {"request", "observe"},
	"configs":   {"request", "knob", "batcher", "cache", "scheduler", "upstream", "preload", "tuner", "observe", "jobs", "lease"},
	"api":       {"request", "knob"},
	"web":       {},
	"engine":    {},
	"lease":     {"engine"},
	"cluster":   {"engine"},
	"jobs":      {"request", "knob", "observe", "engine"},
	"bulk":      {"request", "knob", "observe", "engine"},
	"client":    {"request"},
	"demo":      {"request", "client"},
	"app": {"request", "knob", "observe", "cache", "scheduler", "batcher", "upstream", "preload",
		"observe/webhook", "tuner", "tenant", "tracing", "configs", "api", "web", "jobs", "bulk", "lease", "cluster", "engine", "engine/natsengine"},
	"engine/natsengine": {"engine"},
	"cmd/scheduler":     {"app", "configs", "client", "client/resume", "demo", "preload/sim", "request", "tenant"},
}

// stdOnly are the folders that import nothing but the standard library and what law allows.
var stdOnly = []string{"request", "knob", "web", "client", "engine", "lease"}

// natsOnly is the only folder that may import NATS.
const natsOnly = "engine/natsengine"

// otelOnly is the only folder that may import OpenTelemetry.
const otelOnly = "tracing"

func TestImportLaw(t *testing.T) {
	const root = ".."
	seen := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && rel != "." {
				return filepath.SkipDir // a module of its own
			}
			if strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		folder := filepath.ToSlash(filepath.Dir(rel))
		seen[folder] = true
		return checkImports(t, folder, path)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) < len(law) {
		for folder := range law {
			if !seen[folder] {
				t.Errorf("the law names %s, which has no Go files", folder)
			}
		}
	}
}

func checkImports(t *testing.T, folder, path string) error {
	// A folder inside a listed one (a generated or internal part) lives by its parent's law.
	home := folder
	for {
		if _, ok := law[home]; ok || !strings.Contains(home, "/") {
			break
		}
		home = home[:strings.LastIndexByte(home, '/')]
	}
	allowed, ok := law[home]
	if !ok {
		t.Errorf("%s: the folder %s is not in the import law; add it there with what it may import", path, folder)
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, spec := range file.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		own, isOwn := strings.CutPrefix(name, "penstock/")
		switch {
		case isOwn && own != home && !strings.HasPrefix(own, home+"/") && !slices.Contains(allowed, own):
			t.Errorf("%s imports %s; %s may import only %v", path, name, home, allowed)
		case strings.HasPrefix(name, "github.com/nats-io/") && home != natsOnly:
			t.Errorf("%s imports %s; only %s may know NATS", path, name, natsOnly)
		case strings.HasPrefix(name, "go.opentelemetry.io/") && home != otelOnly:
			t.Errorf("%s imports %s; only %s may know OpenTelemetry", path, name, otelOnly)
		case !isOwn && strings.Contains(strings.SplitN(name, "/", 2)[0], ".") && slices.Contains(stdOnly, home):
			t.Errorf("%s imports %s; %s may import only the standard library", path, name, home)
		}
	}
	return nil
}
