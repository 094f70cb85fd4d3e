package lease

import "slices"

// Whole is the whole of a quota: parts are counted in millionths, so that sums are exact.
const Whole = 1_000_000

// reserve is what is shared out evenly whatever the demand, so that a node that has been idle sends its
// first calls without waiting for others: a hundredth, which costs the busy ones as much.
const reserve = Whole / 100

// Allocate shares room, at most Whole, out among nodes by what each wants, in millionths of the quota. Each has its even part of
// a small reserve; the rest goes up to what is wanted, max-min fairly: who wants less than an even part gets
// it, and what that leaves is shared out again. What nobody wants goes to all in proportion to what they
// have, as head room. The sum is at most room, and less only by rounding; the order of nodes does not matter.
func Allocate(wants []int64, room int64) []int64 {
	n := int64(len(wants))
	if n == 0 || room <= 0 {
		return make([]int64, n)
	}
	parts := make([]int64, n)
	base := reserve * room / Whole / n
	left := room - base*n
	order := make([]int, n)
	for i := range order {
		order[i], parts[i] = i, base
	}
	slices.SortFunc(order, func(a, b int) int { return int(min(max(wants[a]-wants[b], -1), 1)) })
	for k, i := range order {
		more := min(max(wants[i]-base, 0), left/(n-int64(k)))
		parts[i] += more
		left -= more
	}
	used := room - left
	for i := range parts {
		if used > 0 {
			parts[i] += left * parts[i] / used
		} else {
			parts[i] += left / n
		}
	}
	return parts
}
