package demo_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/demo"
)

const header = "timestamp_ms,client,key,size\n"

func readAll(t *testing.T, text string) ([]demo.Row, *demo.TraceReader, error) {
	t.Helper()
	tr, err := demo.NewTraceReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := demo.ReadTrace(tr, 0)
	return rows, tr, err
}

func TestTraceTimesStartAtTheFirstRow(t *testing.T) {
	rows, _, err := readAll(t, header+"1000,-,a,0\n1250,c1,\"b,c\",12\n1250,c2,a,0\n")
	if err != nil || len(rows) != 3 {
		t.Fatalf("%v, %d rows", err, len(rows))
	}
	want := demo.Row{At: 250 * time.Millisecond, Client: "c1", Key: "b,c", Size: 12, Line: 3}
	if rows[1] != want {
		t.Errorf("row %+v, want %+v", rows[1], want)
	}
	if rows[0].Client != "" || rows[0].At != 0 {
		t.Errorf("first row %+v: - is no client, and time starts here", rows[0])
	}
}

func TestTraceReadsGzipByItsFirstBytes(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(header + "5,-,a,0\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "no-extension")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tr, err := demo.OpenTrace(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := demo.ReadTrace(tr, 0)
	if err != nil || len(rows) != 1 || rows[0].Key != "a" {
		t.Errorf("%v, %v", rows, err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
}

func TestTraceLeavesMalformedRowsOutAndNamesTheirLines(t *testing.T) {
	rows, tr, err := readAll(t, header+"1,-,a,0\nx,-,a,0\n2,-,a\n3,-,,0\n4,-,b,-1\n0,-,b,0\n5,-,b,0\n4,-,b,0\n")
	if err != nil || len(rows) != 2 {
		t.Fatalf("%v, rows %v", err, rows)
	}
	n, faults := tr.Faults()
	if n != 6 {
		t.Errorf("%d faults: %v", n, faults)
	}
	for i, line := range []string{"line 3:", "line 4:", "line 5:", "line 6:", "line 7:", "line 9:"} {
		if !strings.HasPrefix(faults[i].Error(), line) {
			t.Errorf("fault %d is %q, want %s", i, faults[i], line)
		}
	}
}

func TestTraceOfSomethingElseEndsWithAnError(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "other header": "a,b\n1,2\n", "broken gzip": "\x1f\x8bxx"} {
		if _, err := demo.NewTraceReader(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := readAll(t, header+strings.Repeat("junk\n", 200)); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("200 rows of junk: %v", err)
	}
	if _, err := demo.OpenTrace(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte(header + "1,-,a,0\n2,c,\"b\",3\n"))
	f.Add([]byte("\ufeff" + header + "-5,-,a,0\n"))
	f.Add([]byte(header + "9223372036854775807,-,a,0\n-9223372036854775808,-,a,0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := demo.NewTraceReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		rows, _ := demo.ReadTrace(tr, 1000)
		last := time.Duration(0)
		for _, r := range rows {
			if r.At < last || r.Key == "" || r.Size < 0 || r.Line < 2 || r.Client == "-" {
				t.Fatalf("row %+v after %s", r, last)
			}
			last = r.At
		}
	})
}

// writeTrace writes a trace of n rows over ten keys.
func writeTrace(t *testing.T, dir string, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		fmt.Fprintf(&b, "%d,-,k%d,0\n", i*10, i%10)
	}
	path := filepath.Join(dir, "trace.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
