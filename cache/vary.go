package cache

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
)

// maxVaryNames bounds how many selecting fields an answer may name; one with more is not shared.
const maxVaryNames = 16

// varyStar reports whether the answer depends on more than can be compared.
func varyStar(h http.Header) bool {
	n := 0
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			n++
			if strings.TrimSpace(name) == "*" || n > maxVaryNames {
				return true
			}
		}
	}
	return false
}

// varyNames are the selecting fields of an answer: canonical, sorted, once each.
func varyNames(h http.Header) []string {
	lines := h["Vary"]
	if len(lines) == 0 {
		return nil
	}
	var names []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// varyValues are the values of the selecting fields in a request, normalised so that what means
// the same compares equal (RFC 9111, section 4.1).
func varyValues(names []string, h http.Header) []string {
	if len(names) == 0 {
		return nil
	}
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = selecting(name, h[name])
	}
	return values
}

// absent marks a field that is not there, which differs from one that is empty.
const absent = "\x00"

func selecting(name string, lines []string) string {
	if len(lines) == 0 {
		return absent
	}
	fold := false
	switch name {
	case "Forwarded":
		return forwardedSelects(lines)
	case "Authorization", "Cookie":
		sum := sha256.Sum256([]byte(strings.Join(lines, "\x00"))) // secrets are not kept, in memory or in a file
		return string(sum[:])
	case "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language":
		fold = true
	}
	if len(lines) == 1 && !fold && !strings.ContainsAny(lines[0], ", \t") {
		return lines[0]
	}
	var b strings.Builder
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			if fold {
				part = strings.ToLower(strings.ReplaceAll(part, " ", ""))
			}
			b.WriteString(part)
		}
	}
	return b.String()
}

// selects reports whether a request with these headers may have the variant.
func selects(names, values []string, h http.Header) bool {
	for i, name := range names {
		if selecting(name, h[name]) != values[i] {
			return false
		}
	}
	return true
}

// eventStream reports whether the answer is a stream of events for one listener.
func eventStream(h http.Header) bool {
	lines := h["Content-Type"]
	return len(lines) > 0 && len(lines[0]) >= 17 && strings.EqualFold(lines[0][:17], "text/event-stream")
}
