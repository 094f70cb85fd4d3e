package api

// closest finds the candidate that name was probably meant to be, "" if none is near.
func closest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best, at := "", 1+max(1, (len(name)+1)/3)
	for _, c := range candidates {
		if n := editDistance(name, c); n < at {
			best, at = c, n
		}
	}
	return best
}

// editDistance is Levenshtein's, over bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
