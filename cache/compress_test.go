package cache

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestPackGivesTheBodyBackAndRefusesWhatDoesNotPay(t *testing.T) {
	var c codec
	text := bytes.Repeat([]byte("some text "), 500)
	packed, ok := c.pack(text)
	if !ok || len(packed) >= len(text)/4 {
		t.Fatalf("packed to %d of %d bytes, %v", len(packed), len(text), ok)
	}
	body, err := c.unpack(packed, int64(len(text)))
	if err != nil || !bytes.Equal(body, text) {
		t.Errorf("%d bytes back, %v", len(body), err)
	}
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	if _, ok := c.pack(noise); ok {
		t.Error("noise was packed")
	}
}

func TestUnpackNeverGrowsBeyondTheSizeItWasTold(t *testing.T) {
	var c codec
	bomb, _ := c.pack(make([]byte, 64<<20))
	for _, size := range []int64{0, 100, 64<<20 - 1, 64<<20 + 1} {
		if b, err := c.unpack(bomb, size); err == nil {
			t.Errorf("size %d gave %d bytes", size, len(b))
		}
	}
	if _, err := c.unpack([]byte("not zstd"), 8); err == nil {
		t.Error("garbage was unpacked")
	}
}

func FuzzUnpack(f *testing.F) {
	var c codec
	packed, _ := c.pack(bytes.Repeat([]byte("a"), 1000))
	f.Add(packed, int64(1000))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < 0 || size > 1<<20 {
			return
		}
		if body, err := c.unpack(b, size); err == nil && int64(len(body)) != size {
			t.Errorf("%d bytes instead of %d", len(body), size)
		}
	})
}
