package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var yamlErrorLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func parseYAML(data []byte, file string) (n *node, faults []Fault) {
	data, faults = checkBytes(data, file)
	if faults != nil {
		return nil, faults
	}
	if line := deepFlow(data); line > 0 {
		return nil, []Fault{tooDeep(file, line)}
	}
	// The library reports faults of its scanner by panic and recovers them itself; one that it
	// forgot must not take the process down on a reload.
	defer func() {
		if r := recover(); r != nil {
			n, faults = nil, []Fault{{File: file, Problem: fmt.Sprintf("not valid YAML: %v", r)}}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return &node{kind: nodeMap, file: file, line: 1}, nil
	case err != nil:
		return nil, []Fault{yamlFault(err, data, file)}
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, []Fault{{File: file, Line: more.Line, Problem: "a second document begins; a configuration is one document"}}
	case !errors.Is(err, io.EOF):
		return nil, []Fault{yamlFault(err, data, file)}
	}
	r := &yamlReader{file: file}
	n = r.read(&doc, "", 0)
	if n == nil {
		return nil, r.faults
	}
	return n, r.faults
}

// deepFlow gives the line where brackets are nested so deep that the YAML library's recursion
// would cost much stack, 0 if nowhere. Brackets in text are counted too, so the bound is generous.
func deepFlow(data []byte) int {
	depth := 0
	for i, c := range data {
		switch c {
		case '[', '{':
			if depth++; depth > 1000 {
				return lineAt(data, i)
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return 0
}

func yamlFault(err error, data []byte, file string) Fault {
	m := yamlErrorLine.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(m[1])
	// The scanner may be a line past the end when it notices.
	line = min(line, lineAt(data, len(bytes.TrimRight(data, "\r\n"))))
	problem := "not valid YAML: " + strings.TrimPrefix(err.Error(), m[0])
	if lines := bytes.Split(data, []byte("\n")); strings.Contains(problem, "cannot start any token") {
		for i := max(line-1, 0); i < min(line+1, len(lines)); i++ {
			if bytes.HasPrefix(bytes.TrimLeft(lines[i], " "), []byte("\t")) {
				return Fault{File: file, Line: i + 1, Problem: "not valid YAML: a tab indents the line; use spaces"}
			}
		}
	}
	return Fault{File: file, Line: line, Problem: problem}
}

// yamlReader turns YAML nodes into ours, expanding aliases and merge keys within bounds.
type yamlReader struct {
	file   string
	faults []Fault
	nodes  int
	over   bool
}

func (r *yamlReader) fault(line int, key, format string, args ...any) {
	r.faults = append(r.faults, Fault{File: r.file, Line: line, Key: key, Problem: fmt.Sprintf(format, args...)})
}

// read returns nil when the node had to be given up, with a fault.
func (r *yamlReader) read(y *yaml.Node, path string, depth int) *node {
	if r.over {
		return nil
	}
	if r.nodes++; r.nodes > maxNodes {
		r.over = true
		r.fault(y.Line, path, "the file grows to more than %d values through its aliases", maxNodes)
		return nil
	}
	if depth > maxDepth {
		// One such fault is enough: an alias to itself would give thousands.
		r.over = true
		r.faults = append(r.faults, tooDeep(r.file, y.Line))
		return nil
	}
	n := &node{file: r.file, line: y.Line}
	switch y.Kind {
	case yaml.DocumentNode:
		if len(y.Content) != 1 {
			n.kind = nodeMap
			return n
		}
		return r.read(y.Content[0], path, depth)
	case yaml.AliasNode:
		return r.read(y.Alias, path, depth+1)
	case yaml.MappingNode:
		n.kind = nodeMap
		r.readMap(n, y, path, depth)
	case yaml.SequenceNode:
		n.kind = nodeList
		for i, item := range y.Content {
			if v := r.read(item, indexed(path, i), depth+1); v != nil {
				n.items = append(n.items, v)
			}
		}
	default:
		r.readScalar(n, y, path)
	}
	return n
}

func (r *yamlReader) readMap(n *node, y *yaml.Node, path string, depth int) {
	seen := make(map[string]int)
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			r.fault(k.Line, path, "a key must be text")
			continue
		}
		if k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		value := r.read(v, join(path, k.Value), depth+1)
		if value == nil {
			continue
		}
		if f := n.add(pair{k.Value, k.Line, value}, seen); f != nil {
			if f.Key != "" {
				f.Key = join(path, k.Value)
			}
			r.faults = append(r.faults, *f)
		}
	}
	for _, m := range merges {
		r.merge(n, m, path, depth, seen)
	}
}

// merge adds the keys of a merge value that the map does not have itself.
func (r *yamlReader) merge(n *node, y *yaml.Node, path string, depth int, seen map[string]int) {
	merged := r.read(y, path, depth+1)
	if merged == nil {
		return
	}
	sources := []*node{merged}
	if merged.kind == nodeList {
		sources = merged.items
	}
	for _, m := range sources {
		if m.kind != nodeMap {
			r.fault(y.Line, path, "<< takes a map, or a list of maps, by alias")
			continue
		}
		for _, p := range m.pairs {
			if _, ok := seen[p.key]; !ok {
				seen[p.key] = p.line
				n.pairs = append(n.pairs, p)
			}
		}
	}
}

func (r *yamlReader) readScalar(n *node, y *yaml.Node, path string) {
	n.text = y.Value
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!timestamp":
		n.tag = tagText
	case "!!null":
		n.tag = tagNull
	case "!!bool":
		n.tag, n.text = tagBool, strings.ToLower(y.Value)
	case "!!int":
		n.tag = tagInt
		var v any
		if err := y.Decode(&v); err != nil {
			r.fault(y.Line, path, "%q is not a number", y.Value)
			return
		}
		n.text = fmt.Sprint(v)
		if _, ok := v.(float64); ok {
			n.tag = tagFloat
		}
	case "!!float":
		n.tag = tagFloat
	default:
		r.fault(y.Line, path, "the tag %s is not supported", tag)
	}
}
