package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

func parseJSON(data []byte, file string) (*node, []Fault) {
	data, faults := checkBytes(data, file)
	if faults != nil {
		return nil, faults
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	r := &jsonReader{file: file, data: data, dec: dec}
	n, err := r.read("", 0)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return n, r.faults
		}
		if err == nil {
			err = errors.New("there is more after the end of the document")
		}
	}
	return nil, append(r.faults, r.syntaxFault(err))
}

// jsonReader reads tokens, since only they tell where they stand and show duplicate keys.
type jsonReader struct {
	file   string
	data   []byte
	dec    *json.Decoder
	faults []Fault
	// The line of the last offset asked for: offsets only grow, so lines are counted once.
	offset, line int
}

func (r *jsonReader) syntaxFault(err error) Fault {
	offset := int(r.dec.InputOffset())
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = int(syntax.Offset)
	}
	problem := err.Error()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		offset, problem = len(r.data), "the file ends too early"
	case errors.Is(err, errTooDeep):
		return tooDeep(r.file, r.lineHere())
	}
	return Fault{File: r.file, Line: lineAt(r.data, min(offset, len(bytes.TrimRight(r.data, "\n")))), Problem: "not valid JSON: " + problem}
}

var errTooDeep = errors.New("nested too deep")

// lineHere is the line of the token that was read last.
func (r *jsonReader) lineHere() int {
	end := int(r.dec.InputOffset())
	r.line += bytes.Count(r.data[r.offset:end], []byte("\n"))
	r.offset = end
	return r.line + 1
}

func (r *jsonReader) read(path string, depth int) (*node, error) {
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{file: r.file, line: r.lineHere()}
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			n.kind = nodeMap
			return n, r.readMap(n, path, depth)
		}
		n.kind = nodeList
		return n, r.readList(n, path, depth)
	case string:
		n.text = v
	case json.Number:
		n.tag, n.text = tagInt, v.String()
		if strings.ContainsAny(n.text, ".eE") {
			n.tag = tagFloat
		}
	case bool:
		n.tag, n.text = tagBool, strconv.FormatBool(v)
	case nil:
		n.tag = tagNull
	}
	return n, nil
}

func (r *jsonReader) readMap(n *node, path string, depth int) error {
	seen := make(map[string]int)
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("a key must be text, not %v", token)
		}
		line := r.lineHere()
		value, err := r.read(join(path, key), depth+1)
		if err != nil {
			return err
		}
		if f := n.add(pair{key, line, value}, seen); f != nil {
			if f.Key != "" {
				f.Key = join(path, key)
			}
			r.faults = append(r.faults, *f)
		}
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonReader) readList(n *node, path string, depth int) error {
	for r.dec.More() {
		item, err := r.read(indexed(path, len(n.items)), depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := r.dec.Token()
	return err
}
