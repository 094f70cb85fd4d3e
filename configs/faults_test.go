package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden compares text with testdata/name, or rewrites it under -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); run with -update if the new text is right:\n%s", path, diff)
	}
}

func TestBadFilesSayAllThatIsWrong(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.*")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if filepath.Ext(file) == ".golden" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			l, err := Load(LoadOptions{Path: file})
			var faults *Faults
			if !errors.As(err, &faults) || l != nil {
				t.Fatalf("got %v and the error %v, want *Faults", l, err)
			}
			for _, f := range faults.List {
				if f.File != file {
					t.Errorf("the fault %q names the file %q", f, f.File)
				}
			}
			text := strings.ReplaceAll(err.Error(), "testdata/bad/", "") + "\n"
			if strings.Contains(text, "hunter2") || strings.Contains(text, "user:pass") || strings.Contains(text, "sk-123") {
				t.Errorf("a message shows a secret:\n%s", text)
			}
			golden(t, filepath.Join("bad", filepath.Base(file)+".golden"), text)
		})
	}
}
