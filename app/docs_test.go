package app

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
