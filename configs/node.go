package configs

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

const (
	// maxFileBytes bounds the configuration file. The largest sensible ones are some hundred KiB.
	maxFileBytes = 4 << 20
	// maxDepth bounds nesting: the configuration itself is at most six deep, bodies a little more.
	maxDepth = 64
	// maxNodes bounds what YAML aliases may multiply a file into.
	maxNodes = 200_000
)

type nodeKind uint8

const (
	nodeScalar nodeKind = iota
	nodeMap
	nodeList
)

type scalarTag uint8

const (
	tagText scalarTag = iota
	tagInt
	tagFloat
	tagBool
	tagNull
	// tagLoose is text of a variable or flag, which takes the type that the key wants.
	tagLoose
)

// node is one value of a file, a variable or a flag, with its place. The three formats meet here.
type node struct {
	kind  nodeKind
	tag   scalarTag
	text  string // the scalar as written; integers in decimal
	file  string
	line  int
	pairs []pair
	items []*node
}

// pair is one key of a map with its place.
type pair struct {
	key   string
	line  int
	value *node
}

// what names the value's type for people.
func (n *node) what() string {
	switch {
	case n.kind == nodeMap:
		return "a section"
	case n.kind == nodeList:
		return "a list"
	case n.tag == tagNull:
		return "nothing"
	case n.tag == tagBool:
		return n.text
	case n.tag == tagInt || n.tag == tagFloat:
		return "the number " + n.text
	}
	return "text"
}

func (n *node) isNull() bool { return n.kind == nodeScalar && n.tag == tagNull }

// parser turns the bytes of a file into a node. It returns nil with at least one fault if the file
// can't be read at all.
type parser func(data []byte, file string) (*node, []Fault)

// parserFor finds the parser by the file's extension.
func parserFor(path string) (parser, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
		return parseYAML, nil
	case ".toml":
		return parseTOML, nil
	case ".json":
		return parseJSON, nil
	}
	return nil, fmt.Errorf("the extension %q says no format; use .yaml, .yml, .toml or .json", filepath.Ext(path))
}

// checkBytes refuses what no format may hold, and drops a byte order mark.
func checkBytes(data []byte, file string) ([]byte, []Fault) {
	refuse := func(line int, format string, args ...any) ([]byte, []Fault) {
		return nil, []Fault{{File: file, Line: line, Problem: fmt.Sprintf(format, args...)}}
	}
	if len(data) == 0 {
		return refuse(0, "the file is empty; if it is just being written, try again (a file with only a comment is taken as no settings)")
	}
	if len(data) > maxFileBytes {
		return refuse(0, "the file is over %s; a configuration is smaller", Size(maxFileBytes))
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return refuse(1, "the file is UTF-16; save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return refuse(lineAt(data, i), "there is a NUL byte; the file is damaged or not text")
	}
	if !utf8.Valid(data) {
		return refuse(lineAt(data, invalidAt(data)), "there is a byte that is not UTF-8; save the file as UTF-8")
	}
	return data, nil
}

func invalidAt(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return 0
}

// lineAt gives the line, from 1, of an offset.
func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), len(data))], []byte("\n"))
}

// tooDeep is the fault of nesting over maxDepth.
func tooDeep(file string, line int) Fault {
	return Fault{File: file, Line: line, Problem: fmt.Sprintf("nested deeper than %d", maxDepth)}
}

// badKey says why a key can't be one, "" if it can.
func badKey(key string) string {
	switch {
	case key == "":
		return "an empty key"
	case len(key) > 256:
		return "a key over 256 bytes"
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "a key with a control character"
	}
	return ""
}

// add appends a pair, or reports why it can't be.
func (n *node) add(p pair, seen map[string]int) *Fault {
	if problem := badKey(p.key); problem != "" {
		return &Fault{File: n.file, Line: p.line, Problem: problem + " can't be used"}
	}
	if first, ok := seen[p.key]; ok {
		return &Fault{File: n.file, Line: p.line, Key: p.key, Problem: fmt.Sprintf("duplicate key; it stands already in line %d", first)}
	}
	seen[p.key] = p.line
	n.pairs = append(n.pairs, p)
	return nil
}
