package cache

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// packSaving is the least share of a body, in percent, that compression must save.
const packSaving = 10

// codec packs bodies. The encoder and the decoder keep pools of their own and are safe for
// concurrent use by EncodeAll and DecodeAll.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// newCodec is made once, on first use: its tables take some hundred kilobytes.
var newCodec = sync.OnceValues(func() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxObjectLimit), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &codec{enc, dec}, nil
})

// pack compresses body if that pays; ok is false if it does not.
func pack(body []byte) (packed []byte, ok bool) {
	c, err := newCodec()
	if err != nil {
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
func unpack(packed []byte, size int64) ([]byte, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	// The decoder writes at most the capacity.
	body, err := c.dec.DecodeAll(packed, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("unpack a stored body: %w", err)
	}
	if int64(len(body)) != size {
		return nil, fmt.Errorf("unpack a stored body: %d bytes instead of %d", len(body), size)
	}
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
