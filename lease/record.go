package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Member is one node's entry in a [Record]. Parts are millionths of the quota.
type Member struct {
	// Want is the part that its calls need, Held the part that it may use.
	Want int64 `json:"w,omitempty"`
	Held int64 `json:"h,omitempty"`
	// Floor is what it goes on with when it is cut off beyond its lease.
	Floor int64 `json:"f,omitempty"`
	// Seq rises with each write of its own: that it rose is what renews the lease.
	Seq uint64 `json:"s"`
	// Gone: its lease has ended, by another's word. Held is then what is left to it of its Floor.
	Gone bool `json:"g,omitempty"`
}

// Record is what the nodes that share a quota agree on. Its zero value is that of a quota that nobody uses yet.
type Record struct {
	Members map[string]Member `json:"m,omitempty"`
	// Tokens are those of the quota's windows that smaller parts left over, by the window's length in
	// nanoseconds, for whose part grows.
	Tokens map[int64]float64 `json:"t,omitempty"`
}

const (
	// maxMembers bounds a record, and with it the nodes that can share a quota.
	maxMembers = 1000
	// maxWindows bounds the windows that a record has tokens of.
	maxWindows = 16
	// maxWant: no more than this is wanted, so that sums can't overflow.
	maxWant = 100 * Whole
)

var errRecord = errors.New("lease: not a record of leases")

// encode writes the record as it is kept.
func (r Record) encode() ([]byte, error) { return json.Marshal(r) }

// parseRecord reads one, and checks what others rely on.
func parseRecord(data []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if len(r.Members) > maxMembers || len(r.Tokens) > maxWindows {
		return Record{}, fmt.Errorf("%w: over %d members or %d windows", errRecord, maxMembers, maxWindows)
	}
	sum := int64(0)
	for id, m := range r.Members {
		if id == "" || m.Want < 0 || m.Want > maxWant || m.Held < 0 || m.Held > Whole || m.Floor < 0 || m.Floor > Whole {
			return Record{}, fmt.Errorf("%w: the member %q is out of bounds", errRecord, id)
		}
		sum += m.Held
	}
	if sum > Whole {
		return Record{}, fmt.Errorf("%w: its parts add up to over the whole", errRecord)
	}
	for _, n := range r.Tokens {
		if !(n >= 0) || math.IsInf(n, 1) {
			return Record{}, fmt.Errorf("%w: tokens out of bounds", errRecord)
		}
	}
	return r, nil
}

// clone is a copy that shares nothing.
func (r Record) clone() Record {
	return Record{Members: maps.Clone(r.Members), Tokens: maps.Clone(r.Tokens)}
}

// ids are the members in order.
func (r Record) ids() []string { return slices.Sorted(maps.Keys(r.Members)) }

// targets is what each member should hold, given what they want. Those who are gone have their floors, and
// no more.
func (r Record) targets() map[string]int64 {
	room := int64(Whole)
	var live []string
	var wants []int64
	out := make(map[string]int64, len(r.Members))
	for _, id := range r.ids() {
		m := r.Members[id]
		if m.Gone {
			out[id] = m.Floor
			room -= m.Floor
			continue
		}
		live, wants = append(live, id), append(wants, m.Want)
	}
	for i, part := range Allocate(wants, max(room, 0)) {
		out[live[i]] = part
	}
	return out
}

// free is what nobody holds.
func (r Record) free() int64 {
	sum := int64(0)
	for _, m := range r.Members {
		sum += m.Held
	}
	return Whole - sum
}

// least is the smallest change of a part that is worth a write by itself.
func (r Record) least() int64 { return Whole / max(200, 20*int64(len(r.Members))) }
