package request

import (
	"fmt"
	"regexp"
	"strings"
)

// template is text with {param} in it. "{{" and "}}" stand for single braces.
type template struct {
	// parts alternate: literal, param name, literal, ... so its length is odd.
	parts []string
}

var paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func parseTemplate(s string) (template, error) {
	var parts []string
	var lit strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "{{"), strings.HasPrefix(s[i:], "}}"):
			lit.WriteByte(s[i])
			i++
		case s[i] == '}':
			return template{}, fmt.Errorf("%q has a } without a {; write }} for a plain one", s)
		case s[i] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return template{}, fmt.Errorf("%q has a { without a }; write {{ for a plain one", s)
			}
			name := s[i+1 : i+end]
			if !paramName.MatchString(name) {
				return template{}, fmt.Errorf("%q: {%s} is not a param name (letters, digits, _ . -)", s, name)
			}
			parts = append(parts, lit.String(), name)
			lit.Reset()
			i += end
		default:
			lit.WriteByte(s[i])
		}
	}
	return template{parts: append(parts, lit.String())}, nil
}

// names lists the params that the template uses.
func (t template) names() []string {
	var names []string
	for i := 1; i < len(t.parts); i += 2 {
		names = append(names, t.parts[i])
	}
	return names
}

// whole reports the param that is the template's only content.
func (t template) whole() (string, bool) {
	if len(t.parts) == 3 && t.parts[0] == "" && t.parts[2] == "" {
		return t.parts[1], true
	}
	return "", false
}

// expand fills the template in; value gives a param's text and whether it is there. It reports
// whether all params were.
func (t template) expand(value func(name string) (string, bool)) (string, bool) {
	if len(t.parts) == 1 {
		return t.parts[0], true
	}
	var b strings.Builder
	for i, p := range t.parts {
		if i%2 == 0 {
			b.WriteString(p)
			continue
		}
		v, ok := value(p)
		if !ok {
			return "", false
		}
		b.WriteString(v)
	}
	return b.String(), true
}
