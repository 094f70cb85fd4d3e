package observe

import (
	"math"
	"math/bits"
	"time"
)

// A latency is counted in units of 1024 ns, in 16 linear buckets inside each power of two, so a
// quantile is off by at most 1/32 (3.2 %), and below 16 microseconds by half a microsecond. The
// last bucket holds what takes longer than half an hour.
const (
	unitBits     = 10
	chunkBits    = 4
	chunkBuckets = 1 << chunkBits
	chunks       = 28
	buckets      = chunks * chunkBuckets
	maxUnits     = 1<<(chunks-1+chunkBits) - 1
)

func bucketOf(d time.Duration) int {
	u := uint64(max(d, 0)) >> unitBits
	if u < chunkBuckets {
		return int(u)
	}
	u = min(u, maxUnits)
	shift := bits.Len64(u) - chunkBits - 1
	return (shift+1)<<chunkBits + int(u>>shift) - chunkBuckets
}

// bucketValue is the middle of a bucket.
func bucketValue(i int) time.Duration {
	if i < chunkBuckets {
		return time.Duration(i<<unitBits + 1<<(unitBits-1))
	}
	shift := i>>chunkBits - 1
	low := (chunkBuckets + i&(chunkBuckets-1)) << shift
	return time.Duration(low<<unitBits + 1<<shift<<(unitBits-1))
}

// sparseHistogram is the histogram of one slot. The latencies of one second seldom spread over more
// than a few powers of two, so a chunk is made only when it is first needed; reset keeps it.
type sparseHistogram struct {
	chunks [chunks]*[chunkBuckets]uint32
}

func (h *sparseHistogram) add(d time.Duration) {
	i := bucketOf(d)
	c := h.chunks[i>>chunkBits]
	if c == nil {
		c = new([chunkBuckets]uint32)
		h.chunks[i>>chunkBits] = c
	}
	if n := &c[i&(chunkBuckets-1)]; *n < math.MaxUint32 {
		*n++
	}
}

func (h *sparseHistogram) reset() {
	for _, c := range h.chunks {
		if c != nil {
			*c = [chunkBuckets]uint32{}
		}
	}
}

// histogram is a sum of slots, for quantiles.
type histogram struct {
	n      uint64
	counts [buckets]uint64
}

func (h *histogram) merge(s *sparseHistogram) {
	for i, c := range s.chunks {
		if c == nil {
			continue
		}
		for j, n := range c {
			h.counts[i<<chunkBits+j] += uint64(n)
			h.n += uint64(n)
		}
	}
}

func (h *histogram) plus(b *histogram) {
	h.n += b.n
	for i, n := range b.counts {
		h.counts[i] += n
	}
}

// quantile returns the latency that a share q (0..1) of the samples does not exceed; 0 without
// samples.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return bucketValue(i)
		}
	}
	return bucketValue(buckets - 1)
}
