// Package report puts the tables that commands make into documents, between two marks, so that a
// table can be made anew without touching the words around it.
package report

import (
	"fmt"
	"os"
	"strings"
)

// Put replaces what stands in the file between <!-- name --> and <!-- end name -->.
func Put(path, name, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no place for the table: write %s and %s where it is to stand", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+strings.TrimSpace(text)+"\n"+end+after), 0o644)
}
