package configs

import "strings"

// nearest finds the candidate that the word was probably meant to be, "" if none is near.
func nearest(word string, candidates []string) string {
	plain := plainWord(word)
	best, bestDistance := "", 1+min(3, (len(plain)+2)/3)
	for _, c := range candidates {
		if d := distance(plain, plainWord(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" || len(plain) < 3 {
		return best
	}
	// "url" for "base_url", "ttl" for "default_ttl": a whole part of exactly one candidate.
	for _, c := range candidates {
		for _, part := range strings.Split(c, "_") {
			if part == word {
				if best != "" {
					return ""
				}
				best = c
			}
		}
	}
	return best
}

// plainWord drops what people vary without meaning to: case, and dashes for underscores.
func plainWord(s string) string {
	if len(s) > 128 {
		s = s[:128]
	}
	return strings.ToLower(strings.ReplaceAll(s, "-", "_"))
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that turn
// a into b (Damerau 1964, restricted form).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
