package preload

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"penstock/request"
)

const pieceBytes = 16 << 10

var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// fetchResult is how a prefetch ended.
type fetchResult struct {
	err       error
	redundant bool          // no call of its own was made
	kept      bool          // the cache can answer with it
	life      time.Duration // how long it is fresh
	took      time.Duration // the upstream's time
	bytes     int64
	listing   *listing
}

// fetch makes one prefetch and reads its answer to the end, so that it is stored whole.
func (p *Preloader) fetch(ctx context.Context, j job) fetchResult {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	r := j.request.Clone()
	if id, err := uuid.NewV7(); err == nil {
		r.ID = id.String()
	}
	r.Arrived = time.Now()
	r.Background = true
	r.SetUrgency(request.LeastUrgent)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("Sec-Purpose", "prefetch")
	if j.minFresh > 0 {
		// The copy that ends soon is good for everybody but us (RFC 9111, section 5.2.1.3).
		seconds := int64(math.Ceil(j.minFresh.Seconds())) + 1
		r.Header.Set("Cache-Control", "min-fresh="+strconv.FormatInt(seconds, 10))
	}
	answer, err := p.do.Do(ctx, r)
	if err != nil {
		return fetchResult{err: err}
	}
	var kept bytes.Buffer
	var sink io.Writer = io.Discard
	if mayList(answer) {
		sink = &capped{to: &kept, left: maxListingBytes}
	}
	piece := pieces.Get().(*[pieceBytes]byte)
	n, err := io.CopyBuffer(sink, answer.Body, piece[:])
	pieces.Put(piece)
	if closeErr := answer.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fetchResult{err: err}
	}
	c := &answer.Cache
	f := fetchResult{redundant: c.Hit || c.Collapsed, bytes: n, took: answer.Timing.Upstream}
	if f.life, f.kept = keeps(answer); c.Hit {
		f.life = max(c.TTL, 0)
	}
	if kept.Len() > 0 && n <= maxListingBytes {
		f.listing = readListing(kept.Bytes())
	}
	return f
}

// capped writes what fits.
type capped struct {
	to   *bytes.Buffer
	left int
}

func (c *capped) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.left -= n
	_, _ = c.to.Write(b[:n])
	return len(b), nil
}
