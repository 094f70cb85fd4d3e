package resume

import (
	"bufio"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesThatAreNoAnswersAreLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"other lines":          "{\"id\":1}\n{\"id\":2}\n",
		"one line, no break":   `{"id":1}`,
		"text":                 "hello",
		"a line between":       `{"line":1,"status":200,"body":1}` + "\nhello\n" + `{"line":2,"status":200,"body":1}` + "\n",
		"a line twice":         strings.Repeat(`{"line":1,"status":200,"body":1}`+"\n", 2),
		"a summary":            `{"summary":{"lines":1}}` + "\n",
		"line 0":               `{"line":0,"status":200}` + "\n",
		"no status, no answer": `{"line":1}` + "\n",
	} {
		path := filepath.Join(t.TempDir(), "out")
		write(t, path, text)
		out, err := OpenOutput(path, OutputOptions{})
		if err == nil {
			t.Errorf("%s: it was taken", name)
			_ = out.Close()
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestATornLastLineIsCutAway(t *testing.T) {
	good := `{"line":3,"status":200,"body":1}` + "\n" + `{ "status":404, "line":1 }` + "\n"
	for _, torn := range []string{"", "{", `{"line":4`, `{"line":4,"status":200,"body":1}`, "\x00\x00"} {
		path := filepath.Join(t.TempDir(), "out")
		write(t, path, good+torn)
		out, err := OpenOutput(path, OutputOptions{})
		if err != nil {
			t.Fatalf("%q: %v", torn, err)
		}
		if out.ok != 1 || out.failed != 1 || !out.known.has(1) || !out.known.has(3) || out.known.has(4) {
			t.Errorf("%q: %d ok, %d failed", torn, out.ok, out.failed)
		}
		if err := out.Close(); err != nil {
			t.Error(err)
		}
		if b, _ := os.ReadFile(path); string(b) != good {
			t.Errorf("%q leaves %q", torn, b)
		}
	}
}

func TestASecondRunDoesNotWriteToTheSameFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	out, err := OpenOutput(path, OutputOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := OpenOutput(path, OutputOptions{}); err == nil {
		t.Error("it was opened twice")
		_ = second.Close()
	}
	if err := out.rewrite(func(*bufio.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if second, err := OpenOutput(path, OutputOptions{}); err == nil {
		t.Error("it was opened twice after it was made anew")
		_ = second.Close()
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenOutput(path, OutputOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestTheSetKnowsWhatWasAdded(t *testing.T) {
	var a answered
	want := make(map[int64]bool)
	for range 50_000 {
		n := 1 + rand.Int64N(3*spanLines)
		if a.add(n) == want[n] {
			t.Fatalf("line %d", n)
		}
		want[n] = true
	}
	for n := int64(1); n < spanLines; n++ { // a span that is complete
		a.add(n)
		want[n] = true
	}
	if a.spans[0] != whole {
		t.Error("a complete span is kept")
	}
	for n := int64(1); n < 4*spanLines; n++ {
		if a.has(n) != want[n] {
			t.Fatalf("line %d: %v", n, a.has(n))
		}
	}
	if a.count() != int64(len(want)) {
		t.Errorf("%d lines, want %d", a.count(), len(want))
	}
}
