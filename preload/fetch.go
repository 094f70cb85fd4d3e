package preload

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"penstock/request"
)

// fetch makes one prefetch and reads its answer to the end, so that it is stored whole.
func (p *Preloader) fetch(ctx context.Context, j job) fetchResult {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	r := j.request
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

	answer, err := p.do.Do(ctx, r)
	if err != nil {
		return fetchResult{err: err}
	}
	n, err := io.Copy(io.Discard, answer.Body)
	if closeErr := answer.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fetchResult{err: err}
	}
	c := &answer.Cache
	f := fetchResult{redundant: c.Hit || c.Collapsed, stored: c.Stored, bytes: n}
	if c.HasTTL {
		f.life = max(c.TTL, 0)
	}
	return f
}
