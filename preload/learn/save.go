package learn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// magic begins what Save wrote; its last byte is the version of the form.
const magic = "PSTKLRN\x01"

// ErrForm is the error of a saved model that can't be read: another version, or torn.
var ErrForm = errors.New("what was saved of the preloader's model is of another version or torn")

// Save writes what was learned of sequences and associations and how far each kind of prediction can be
// trusted. Keys and sessions are not kept: they are of the day.
func (m *Model) Save(w io.Writer) error {
	b := bufio.NewWriter(w)
	_, _ = b.WriteString(magic)
	put := func(v any) { _ = binary.Write(b, binary.LittleEndian, v) }
	put([3]uint32{successors, cellCount, coarseCount})
	put(flatten(m.odds.fine))
	put(flatten(m.odds.coarse))
	for i, h := range m.rules.index.hashes {
		if n := &m.rules.nodes[i]; h != 0 && n.worthKeeping() {
			put(h)
			put(n)
		}
	}
	put(uint64(0))
	if err := b.Flush(); err != nil {
		return fmt.Errorf("the preloader's model can't be saved: %w", err)
	}
	return nil
}

func (n *followers) worthKeeping() bool {
	for _, h := range n.Hits {
		if h > 1 {
			return true
		}
	}
	return false
}

// Load reads what Save wrote, into a new Model. trust, 0..1, is how much of it is believed: the counts
// of the odds are scaled by it. On an error the Model is as new.
func (m *Model) Load(r io.Reader, trust float32) error {
	b := bufio.NewReader(r)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(b, head); err != nil || string(head) != magic {
		return ErrForm
	}
	var dims [3]uint32
	get := func(v any) error { return binary.Read(b, binary.LittleEndian, v) }
	if get(&dims) != nil || dims != [3]uint32{successors, cellCount, coarseCount} {
		return ErrForm
	}
	fine, coarse := make([]float32, 3*cellCount), make([]float32, 3*coarseCount)
	if get(fine) != nil || get(coarse) != nil || !sane(fine) || !sane(coarse) {
		return ErrForm
	}
	rules := newRules(m.o.Contexts)
	for {
		var h uint64
		if get(&h) != nil {
			return ErrForm
		}
		if h == 0 {
			break
		}
		var n followers
		if get(&n) != nil {
			return ErrForm
		}
		if s := rules.index.find(h); s < 0 {
			s, _ = rules.index.add(h)
			rules.nodes[s] = n
			rules.index.use(s)
		}
	}
	m.rules = rules
	unflatten(m.odds.fine, fine, trust)
	unflatten(m.odds.coarse, coarse, trust)
	return nil
}

func flatten(o []odds) []float32 {
	out := make([]float32, 0, 3*len(o))
	for _, x := range o {
		out = append(out, x.n, x.wins, x.worth)
	}
	return out
}

// sane reports whether counts are such that odds can have.
func sane(v []float32) bool {
	for i := 0; i < len(v); i += 3 {
		n, wins, worth := v[i], v[i+1], v[i+2]
		if !(n >= 0 && n <= oddsFade && wins >= 0 && wins <= n && worth >= 0 && worth <= n) {
			return false
		}
	}
	return true
}

func unflatten(o []odds, v []float32, trust float32) {
	trust = min(max(trust, 0), 1)
	for i := range o {
		o[i] = odds{v[3*i] * trust, v[3*i+1] * trust, v[3*i+2] * trust}
	}
}
