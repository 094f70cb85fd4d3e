package learn

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const second = 1_000_000_000

// check holds what must be true of any model at any time.
func (m *Model) check(t testing.TB) {
	t.Helper()
	if m.keys.live > m.keys.size() || m.rules.index.live > m.rules.index.size() || m.sessions.live > m.sessions.size() {
		t.Fatal("a table has more entries than places")
	}
	if len(m.agenda) > m.keys.size() || m.ghosts.n > len(m.ghosts.ring) {
		t.Fatal("the agenda or the ghosts outgrew their bounds")
	}
	for i, slot := range m.agenda {
		if m.records[slot].at != int32(i+1) {
			t.Fatalf("the record at place %d of the agenda believes to be at %d", i+1, m.records[slot].at)
		}
		if i > 0 && m.agenda.less(m.records, i, (i-1)/2) {
			t.Fatal("the agenda is not in order")
		}
	}
	for i := range m.odds.fine {
		if o := &m.odds.fine[i]; !(o.n >= 0 && o.n < oddsFade && o.wins <= o.n && o.worth <= o.n && o.wins >= 0) {
			t.Fatalf("odds of %+v", *o)
		}
	}
	for i := range m.rules.nodes {
		n := &m.rules.nodes[i]
		for j := range n.Keys {
			if n.Hits[j] > n.Chances[j] || n.Chances[j] > fade {
				t.Fatalf("a follower with %d hits in %d chances", n.Hits[j], n.Chances[j])
			}
		}
	}
	pending := float32(0)
	for i := range m.records {
		if r := &m.records[i]; r.state >= underWay {
			pending += float32(r.promised) / 255
		}
	}
	if d := m.expected - pending; d > 1 || d < -1 {
		t.Fatalf("%v calls are expected to be saved, of which %v are outstanding", m.expected, pending)
	}
}

// drive plays bytes as a stream of events, and keeps to the rules of the calls.
func drive(t testing.TB, m *Model, data []byte) {
	now := int64(1)
	underway := make(map[uint64]bool)
	take := func(list []Prediction) {
		for _, p := range append([]Prediction(nil), list...) {
			if p.Probability < 0 || p.Probability > 1 || p.Key == 0 {
				t.Fatalf("a prediction of %+v", p)
			}
			m.Issue(p, now)
			underway[p.Key] = true
		}
	}
	for len(data) >= 4 {
		op, b, c := data[0], uint64(data[1]), uint64(data[2])
		now += int64(data[3]) * second / 16
		data = data[4:]
		key := b<<1 | 1
		switch op % 8 {
		case 0, 1, 2, 3:
			take(m.Access(Access{At: now, Key: key, Session: c%5 + 1, Group: c%3 + 1, Hit: op&16 != 0, Joined: op&32 != 0,
				Latency: int64(op>>6) * second / 8, Family: c % 2, Number: int64(b)}))
		case 4:
			for k := range underway {
				m.Stored(k, now, now+int64(c+1)*second/4)
				delete(underway, k)
				break
			}
			m.Stored(key, now, now+int64(c+1)*second/4)
		case 5:
			m.Evicted(key)
		case 6:
			m.Failed(key, now+second)
			m.Withdraw(key | 1<<40)
			m.Seen(key, now, now+second)
		case 7:
			take(m.Offer(key, Link(c), int(op>>3), float32(c)/255, now))
		}
		for m.Next() <= now {
			take(m.Due(now))
		}
	}
}

func small() Options {
	return Options{Keys: 64, Contexts: 64, Sessions: 16, KeyOf: func(f uint64, n int64) uint64 { return uint64(n)<<1 | 1 }}
}

func FuzzAnyStreamKeepsTheModelSound(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		b := make([]byte, 4000)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := New(small())
		drive(t, m, data)
		m.check(t)
	})
}

func FuzzLoadNeverPanicsAndKeepsTheModelSound(f *testing.F) {
	m := New(small())
	seed := make([]byte, 8000)
	for i := range seed {
		seed[i] = byte(i * 7)
	}
	drive(f, m, seed)
	var b bytes.Buffer
	if err := m.Save(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:100])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := New(small())
		if m.Load(bytes.NewReader(data), 1) == nil {
			drive(t, m, seed)
		}
		m.check(t)
	})
}

func TestMemoryIsFixedWhateverTheStream(t *testing.T) {
	m := New(Options{Keys: 1024})
	before := cap(m.agenda) + len(m.records) + len(m.rules.nodes) + len(m.rings) + len(m.ghosts.ring)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 200_000 {
		now := int64(i+1) * second / 100
		k := rng.Uint64() | 1
		m.Access(Access{At: now, Key: k, Session: rng.Uint64(), Group: rng.Uint64() % 1000, Latency: second / 5})
		m.Stored(k, now, now+60*second)
		for m.Next() <= now {
			m.Due(now)
		}
	}
	m.check(t)
	after := cap(m.agenda) + len(m.records) + len(m.rules.nodes) + len(m.rings) + len(m.ghosts.ring)
	if after > before+2*1024 {
		t.Errorf("the tables grew from %d to %d places", before, after)
	}
}

func TestACountedFamilyIsFollowedToKeysNeverSeen(t *testing.T) {
	m := New(Options{Keys: 1024, KeyOf: func(_ uint64, n int64) uint64 { return uint64(n)<<1 | 1 }})
	var last []Prediction
	for n := int64(1); n <= 60; n++ {
		now := n * second
		last = append(last[:0], m.Access(Access{At: now, Key: uint64(n)<<1 | 1, Session: 1, Group: 1, Family: 9, Number: n})...)
		m.Stored(uint64(n)<<1|1, now, now+600*second)
	}
	for _, p := range last {
		if p.Number == 61 && p.Source == Pattern && p.Family == 9 {
			return
		}
	}
	t.Errorf("after 1 to 60 came %+v, want 61", last)
}

func TestAPeriodicKeyIsExpectedAtItsTime(t *testing.T) {
	m := New(Options{Keys: 256})
	var fetched int64
	for round := int64(1); round <= 40; round++ {
		at := round * 3600 * second
		for m.Next() < at {
			due := m.Next()
			for _, p := range m.Due(due) {
				if p.Source == Periodic {
					fetched = at - due
				}
				m.Issue(p, due)
				m.Stored(p.Key, due, due+300*second)
			}
		}
		hit := fetched > 0
		m.Access(Access{At: at, Key: 5, Session: 1, Group: 1, Hit: hit, Latency: second / 5})
		if !hit {
			m.Stored(5, at, at+300*second)
		}
	}
	if fetched <= 0 || fetched > 300*second {
		t.Errorf("the copy for the hour was fetched %v s before it", fetched/second)
	}
}

func TestWhatWasSavedIsLoaded(t *testing.T) {
	m := New(small())
	seed := make([]byte, 40_000)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range seed {
		seed[i] = byte(rng.IntN(200))
	}
	drive(t, m, seed)
	var one, two bytes.Buffer
	if err := m.Save(&one); err != nil {
		t.Fatal(err)
	}
	n := New(small())
	if err := n.Load(bytes.NewReader(one.Bytes()), 1); err != nil {
		t.Fatal(err)
	}
	if err := n.Save(&two); err != nil {
		t.Fatal(err)
	}
	if one.Len() != two.Len() || one.Len() < 8*cellCount {
		t.Errorf("saved %d bytes, and of what was loaded %d", one.Len(), two.Len())
	}
}

func BenchmarkAccess(b *testing.B) {
	const keys = 1_000_000
	for name, session := range map[string]func(rng *rand.Rand, i int) (uint64, uint64){
		"random": func(rng *rand.Rand, i int) (uint64, uint64) { return uint64(i % 1000), rng.Uint64() % keys },
		"walks": func(rng *rand.Rand, i int) (uint64, uint64) { // a client's keys follow each other, most of the time
			return uint64(i % 1000), (uint64(i%1000)*7919 + uint64(i/1000)*(1+uint64(i%3))) % keys
		},
	} {
		b.Run(name, func(b *testing.B) {
			m := New(Options{Keys: keys})
			rng := rand.New(rand.NewPCG(1, 2))
			i := 0
			step := func() {
				s, k := session(rng, i)
				i++
				now := int64(i) * second / 1000
				key := mix(k) | 1
				m.Access(Access{At: now, Key: key, Session: s + 1, Group: 1, Hit: i%3 == 0, Latency: second / 5})
			}
			for range 3 * keys {
				step()
			}
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
			k, c, s := m.Sizes()
			total := k.Bytes + c.Bytes + s.Bytes
			b.ReportMetric(float64(total)/float64(m.Associations()), "B/association")
			b.ReportMetric(float64(total)/float64(k.Used), "B/key")
		})
	}
}
