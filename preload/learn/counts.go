package learn

// Fate is how a prediction that was made ended.
type Fate uint8

// The fates.
const (
	Used      Fate = iota // asked for while it was in the cache
	Late                  // asked for while the call was under way
	Evicted               // it had to leave the cache before
	Expired               // its time was over before
	Failed                // the call failed, or its answer could not be kept
	Forgotten             // its key fell out of the tables
	Fates                 // how many there are
)

// Counts say what became of the predictions of a source.
type Counts struct {
	// Issued predictions were made, and Ended says how those ended that have.
	Issued uint64
	Ended  [Fates]uint64
	// Predicted counts all predictions that were judged, made or not, and True those that came true.
	Predicted, True uint64
}

// Counts returns what became of the predictions of a source.
func (m *Model) Counts(s Source) Counts { return m.counts[s] }

// Misses is how many calls clients would have made without predictions, as far as the model can know.
func (m *Model) Misses() uint64 { return m.misses }

// end books the fate of a prediction that was made, and tells.
func (m *Model) end(r *record, f Fate) {
	m.counts[r.source].Ended[f]++
	if m.o.Ended != nil {
		m.o.Ended(m.keys.hashes[r.slot], r.source, f)
	}
}

// slotOf is the slot of a record.
func (m *Model) slotOf(r *record) int32 { return r.slot }
