package cache

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/klauspost/compress/zstd"
)

// packSaving is the least share of a body, in percent, that compression must save.
const packSaving = 10

// codec packs bodies. It is safe for concurrent use. Each Cache has its own, made on first use, as
// its tables take some hundred kilobytes.
type codec struct {
	once sync.Once
	enc  *zstd.Encoder
	dec  *zstd.Decoder
	err  error
}

func (c *codec) init() error {
	c.once.Do(func() {
		c.enc, c.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20))
		if c.err != nil {
			return
		}
		// With the limit, a body never grows beyond the capacity that it is given.
		c.dec, c.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxObjectLimit), zstd.WithDecodeAllCapLimit(true))
	})
	return c.err
}

// pack compresses body if that pays; ok is false if it does not.
func (c *codec) pack(body []byte) (packed []byte, ok bool) {
	if c.init() != nil {
		return nil, false
	}
	limit := len(body) - len(body)*packSaving/100
	packed = c.enc.EncodeAll(body, make([]byte, 0, limit))
	if len(packed) > limit {
		return nil, false
	}
	return append(make([]byte, 0, len(packed)), packed...), true
}

// unpack gives the body of size bytes back. It fails if packed is not exactly that, so a damaged
// entry can't make the process grow.
func (c *codec) unpack(packed []byte, size int64) ([]byte, error) {
	if err := c.init(); err != nil {
		return nil, err
	}
	body, err := c.dec.DecodeAll(packed, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("unpack a stored body: %w", err)
	}
	if int64(len(body)) != size {
		return nil, fmt.Errorf("unpack a stored body: %d bytes instead of %d", len(body), size)
	}
	return body, nil
}

// thawed keeps the unpacked form of a body for as long as the garbage collector leaves it: a hot entry
// is unpacked once between two collections, and an idle one costs nothing. It is safe for concurrent
// use.
type thawed struct {
	body atomic.Pointer[weak.Pointer[[]byte]]
}

// of gives the body of an entry that is packed.
func (t *thawed) of(c *codec, e *entry) ([]byte, error) {
	if p := t.body.Load(); p != nil {
		if body := p.Value(); body != nil {
			return *body, nil
		}
	}
	body, err := c.unpack(e.body, e.size)
	if err != nil {
		return nil, err
	}
	p := weak.Make(&body)
	t.body.Store(&p)
	return body, nil
}

// packable reports whether an answer's body is worth a try.
func packable(h http.Header, size, minBytes int) bool {
	if minBytes <= 0 || size < minBytes {
		return false
	}
	lines := h["Content-Encoding"]
	return len(lines) == 0 || len(lines) == 1 && (lines[0] == "" || lines[0] == "identity")
}
