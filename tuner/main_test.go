package tuner

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drawn holds a plot of docs against what the code gives, or with -update writes it.
func drawn(t *testing.T, name, svg string) {
	t.Helper()
	path := filepath.Join("..", "docs", name)
	if *update {
		if err := os.WriteFile(path, []byte(svg), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != svg {
		t.Errorf("%s is not what the code gives (go test ./tuner -run %s -update draws it anew): %v", path, t.Name(), err)
	}
}
