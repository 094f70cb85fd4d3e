package observe

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"
	"time"
)

// The file of a History: a magic line, then, deflated, little-endian: per tier step, slots and newest
// tick; the number of series; per series its name, the time of its newest value and its rings; last a
// CRC-32 (IEEE) of all that.
const historyMagic = "penstock history 1\n"

// errHistoryFile is what reading a file ends with that is none of ours, or broken.
var errHistoryFile = errors.New("this is not a whole history file")

// Save writes everything. It holds the lock only while it copies.
func (h *History) Save(w io.Writer) error {
	b := h.encode()
	if _, err := io.WriteString(w, historyMagic); err != nil {
		return err
	}
	z, err := flate.NewWriter(w, flate.BestSpeed)
	if err != nil {
		return err
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	if _, err := z.Write(b); err != nil {
		return err
	}
	return z.Close()
}

func (h *History) encode() []byte {
	h.mu.RLock()
	defer h.mu.RUnlock()
	le := binary.LittleEndian
	b := make([]byte, 0, 64+len(h.series)*(64+4*(h.tier[fine].slots()+h.tier[coarse].slots())))
	for i, t := range h.tier {
		b = le.AppendUint64(b, uint64(t.Step))
		b = le.AppendUint64(b, uint64(t.Retention))
		b = le.AppendUint64(b, uint64(h.head[i]))
	}
	b = le.AppendUint32(b, uint32(len(h.series)))
	for _, name := range slices.Sorted(maps.Keys(h.series)) {
		s := h.series[name]
		b = le.AppendUint16(b, uint16(len(name)))
		b = append(b, name...)
		b = le.AppendUint64(b, uint64(s.last.UnixNano()))
		for _, ring := range s.rings {
			for _, v := range ring {
				b = le.AppendUint32(b, math.Float32bits(v))
			}
		}
	}
	return b
}

// Load reads what Save wrote and takes it over as far as the tiers reach back from now. A file that is
// not whole changes nothing and is an error.
func (h *History) Load(r io.Reader, now time.Time) error {
	old, err := readHistory(r)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old.head[fine] == 0 {
		return nil
	}
	h.adopt(old)
	for i := range h.tier {
		h.advance(i, h.tier[i].tick(now))
	}
	h.dropSilent()
	return nil
}

func readHistory(r io.Reader) (*History, error) {
	magic := make([]byte, len(historyMagic))
	if _, err := io.ReadFull(r, magic); err != nil || !bytes.Equal(magic, []byte(historyMagic)) {
		return nil, errHistoryFile
	}
	z := flate.NewReader(bufio.NewReader(r))
	defer z.Close()
	d := &historyReader{sum: crc32.NewIEEE()}
	// What could be written fits; a file that would unfold to more is not ours.
	d.r = io.TeeReader(io.LimitReader(z, 2*MaxHistoryBytes), d.sum)
	h := &History{series: make(map[string]*series)}
	for i := range h.tier {
		h.tier[i] = Tier{Step: time.Duration(d.uint64()), Retention: time.Duration(d.uint64())}
		h.head[i] = int64(d.uint64())
		if d.err == nil && (h.tier[i].Step < MinSamplingInterval || h.tier[i].Retention < 0 || h.head[i] < 0 ||
			h.head[i] > math.MaxInt64/int64(h.tier[i].Step)) {
			return nil, errHistoryFile
		}
	}
	if d.err != nil {
		return nil, errHistoryFile
	}
	count := d.uint32()
	if int64(count) > int64(h.maxSeries()) {
		return nil, errHistoryFile
	}
	for range count {
		name, s := d.series(h)
		if d.err != nil {
			return nil, errHistoryFile
		}
		h.series[name] = s
	}
	want := d.sum.Sum32()
	if got := d.uint32(); d.err != nil || got != want {
		return nil, fmt.Errorf("%w: its checksum differs", errHistoryFile)
	}
	return h, nil
}

// historyReader reads fields and keeps the first error.
type historyReader struct {
	r   io.Reader
	sum hash.Hash32
	buf [4096]byte
	err error
}

func (d *historyReader) bytes(n int) []byte {
	b := d.buf[:n]
	if d.err == nil {
		_, d.err = io.ReadFull(d.r, b)
	}
	if d.err != nil {
		clear(b)
	}
	return b
}

func (d *historyReader) uint16() uint16 { return binary.LittleEndian.Uint16(d.bytes(2)) }
func (d *historyReader) uint32() uint32 { return binary.LittleEndian.Uint32(d.bytes(4)) }
func (d *historyReader) uint64() uint64 { return binary.LittleEndian.Uint64(d.bytes(8)) }

func (d *historyReader) series(h *History) (string, *series) {
	n := int(d.uint16())
	if n > maxSignalName {
		d.err = errHistoryFile
		return "", nil
	}
	name := string(d.bytes(n))
	s := &series{last: time.Unix(0, int64(d.uint64())), peak: DescribeSignal(name).Peak}
	for i := range s.rings {
		s.rings[i] = make([]float32, h.tier[i].slots())
		for rest := s.rings[i]; len(rest) > 0 && d.err == nil; {
			part := d.bytes(4 * min(len(rest), len(d.buf)/4))
			for j := range len(part) / 4 {
				rest[j] = math.Float32frombits(binary.LittleEndian.Uint32(part[4*j:]))
			}
			rest = rest[len(part)/4:]
		}
	}
	return name, s
}
