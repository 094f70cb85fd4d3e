package configs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML reads the syntax tree itself, since only that tells the lines, and has the library
// decode the file once more for the rules that the tree does not show (redefined tables, numbers
// and dates that are out of range).
func parseTOML(data []byte, file string) (n *node, faults []Fault) {
	data, faults = checkBytes(data, file)
	if faults != nil {
		return nil, faults
	}
	if line := deepFlow(data); line > 0 {
		return nil, []Fault{tooDeep(file, line)}
	}
	r := &tomlReader{file: file, data: data, index: make(map[*node]map[string]int)}
	n, err := r.readAll()
	if err != nil {
		return nil, append(r.faults, *err)
	}
	var probe map[string]any
	if err := toml.Unmarshal(data, &probe); err != nil {
		line := 0
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, _ = at.Position()
		}
		// A duplicate key was told already, with where its first one stands.
		if !slices.ContainsFunc(r.faults, func(f Fault) bool { return f.Line == line }) {
			r.faults = append(r.faults, Fault{File: file, Line: line, Problem: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: ")})
		}
	}
	return n, r.faults
}

type tomlReader struct {
	file   string
	data   []byte
	faults []Fault
	// index finds the pair of a key in a map, by position in pairs.
	index map[*node]map[string]int
	// The line of the last offset asked for: offsets mostly grow, so lines are counted once.
	offset, line int
}

func (r *tomlReader) lineOf(raw unstable.Range) int {
	end := int(raw.Offset)
	if end >= r.offset {
		r.line += bytes.Count(r.data[r.offset:end], []byte("\n"))
	} else {
		r.line -= bytes.Count(r.data[end:r.offset], []byte("\n"))
	}
	r.offset = end
	return r.line + 1
}

func (r *tomlReader) readAll() (*node, *Fault) {
	root := &node{kind: nodeMap, file: r.file, line: 1}
	here, path := root, ""
	var p unstable.Parser
	p.Reset(r.data)
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.KeyValue:
			if f := r.readPair(here, e, path, 0); f != nil {
				return nil, f
			}
		case unstable.Table, unstable.ArrayTable:
			var f *Fault
			if here, path, f = r.openTable(root, e); f != nil {
				return nil, f
			}
		}
	}
	if err := p.Error(); err != nil {
		f := Fault{File: r.file, Problem: "not valid TOML: " + err.Error()}
		var at *unstable.ParserError
		if errors.As(err, &at) {
			f.Line = r.line + 1
			if len(at.Highlight) > 0 {
				f.Line = r.lineOf(p.Range(at.Highlight))
			}
		}
		return nil, &f
	}
	return root, nil
}

type tomlKey struct {
	name string
	line int
}

func (r *tomlReader) keys(e *unstable.Node) ([]tomlKey, *Fault) {
	var keys []tomlKey
	for it := e.Key(); it.Next(); {
		k := it.Node()
		keys = append(keys, tomlKey{string(k.Data), r.lineOf(k.Raw)})
		if len(keys) > maxDepth {
			f := tooDeep(r.file, r.line+1)
			return nil, &f
		}
	}
	return keys, nil
}

// openTable finds or makes the table of a [header], or appends a new one for a [[header]].
func (r *tomlReader) openTable(root *node, e *unstable.Node) (*node, string, *Fault) {
	keys, f := r.keys(e)
	if f != nil {
		return nil, "", f
	}
	here, path := root, ""
	for i, k := range keys {
		last := i == len(keys)-1
		if last && e.Kind == unstable.ArrayTable {
			list := r.child(here, k, nodeList)
			item := &node{kind: nodeMap, file: r.file, line: k.line}
			path = indexed(join(path, k.name), len(list.items))
			list.items = append(list.items, item)
			return item, path, nil
		}
		here, path = r.child(here, k, nodeMap), join(path, k.name)
		if n := len(here.items); here.kind == nodeList && n > 0 {
			here, path = here.items[n-1], indexed(path, n-1)
		}
	}
	return here, path, nil
}

// child finds the value of a key, or makes one. Where the key holds something else the caller gets
// a node that belongs to nothing: the library's own check reports the conflict.
func (r *tomlReader) child(n *node, k tomlKey, kind nodeKind) *node {
	if i, ok := r.index[n][k.name]; ok {
		if v := n.pairs[i].value; v.kind != nodeScalar {
			return v
		}
		return &node{kind: kind, file: r.file, line: k.line}
	}
	v := &node{kind: kind, file: r.file, line: k.line}
	r.set(n, k, v, "")
	return v
}

func (r *tomlReader) set(n *node, k tomlKey, v *node, path string) {
	if problem := badKey(k.name); problem != "" {
		r.faults = append(r.faults, Fault{File: r.file, Line: k.line, Problem: problem + " can't be used"})
		return
	}
	if r.index[n] == nil {
		r.index[n] = make(map[string]int)
	}
	if i, ok := r.index[n][k.name]; ok {
		r.faults = append(r.faults, Fault{File: r.file, Line: k.line, Key: join(path, k.name),
			Problem: fmt.Sprintf("duplicate key; it stands already in line %d", n.pairs[i].line)})
		return
	}
	r.index[n][k.name] = len(n.pairs)
	n.pairs = append(n.pairs, pair{k.name, k.line, v})
}

func (r *tomlReader) readPair(n *node, e *unstable.Node, path string, depth int) *Fault {
	keys, f := r.keys(e)
	if f != nil {
		return f
	}
	for _, k := range keys[:len(keys)-1] {
		n, path = r.child(n, k, nodeMap), join(path, k.name)
	}
	last := keys[len(keys)-1]
	v, f := r.readValue(e.Value(), join(path, last.name), depth)
	if f != nil {
		return f
	}
	if v.line == 0 || v.kind != nodeScalar {
		v.line = last.line
	}
	r.set(n, last, v, path)
	return nil
}

func (r *tomlReader) readValue(e *unstable.Node, path string, depth int) (*node, *Fault) {
	if depth > maxDepth {
		f := tooDeep(r.file, r.line+1)
		return nil, &f
	}
	n := &node{file: r.file, line: r.line + 1, text: string(e.Data)}
	switch e.Kind {
	case unstable.Array:
		n.kind = nodeList
		for it := e.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			item, f := r.readValue(it.Node(), indexed(path, len(n.items)), depth+1)
			if f != nil {
				return nil, f
			}
			n.items = append(n.items, item)
		}
		return n, nil
	case unstable.InlineTable:
		n.kind = nodeMap
		for it := e.Children(); it.Next(); {
			if it.Node().Kind != unstable.KeyValue {
				continue
			}
			if f := r.readPair(n, it.Node(), path, depth+1); f != nil {
				return nil, f
			}
		}
		return n, nil
	case unstable.Bool:
		n.tag = tagBool
	case unstable.Integer:
		n.tag, n.text = tagInt, decimal(n.text)
	case unstable.Float:
		n.tag, n.text = tagFloat, strings.ReplaceAll(n.text, "_", "")
	}
	if e.Raw.Length > 0 {
		n.line = r.lineOf(e.Raw)
	}
	return n, nil
}
