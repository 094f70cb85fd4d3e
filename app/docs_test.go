package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/configs"
	"penstock/request"
)

func TestEveryProblemIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range request.Problems() {
		if !strings.Contains(string(page), fmt.Sprintf("| `%s`", p)) ||
			!strings.Contains(string(page), fmt.Sprintf("| %d |", p.Status())) {
			t.Errorf("docs/problems.md has no row for %s (%d)", p, p.Status())
		}
	}
}

func TestTheReferenceIsWhatTheCodeSays(t *testing.T) {
	schema, err := configs.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"../docs/reference/configuration.md":     configs.Reference(),
		"../docs/reference/penstock.schema.json": string(schema),
	} {
		got, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
			t.Errorf("%s is not what the code says (error %v): run make reference", path, err)
		}
	}
}

func TestTheConfigurationsOfTheReadmeAreValid(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("%d blocks of YAML, want more", len(blocks))
	}
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		path := filepath.Join(t.TempDir(), "penstock.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(configs.LoadOptions{Path: path, Env: []string{"MOVIES_TOKEN=x"}}); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}
