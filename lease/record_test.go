package lease

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func sum(list []int64) (n int64) {
	for _, v := range list {
		n += v
	}
	return n
}

func TestAllocateGivesMaxMinFairParts(t *testing.T) {
	const k = Whole / 1000
	for _, c := range []struct {
		name  string
		wants []int64
		want  []int64 // in thousandths, within two
	}{
		{"nobody wants", []int64{0, 0, 0, 0}, []int64{250, 250, 250, 250}},
		{"one wants all", []int64{0, 2 * Whole, 0}, []int64{3, 993, 3}},
		{"all want all", []int64{Whole, 2 * Whole, Whole}, []int64{333, 333, 333}},
		{"a small want is met", []int64{100 * k, Whole, Whole}, []int64{100, 450, 450}},
		{"what is left is head room for those who use most", []int64{300 * k, 100 * k, 0}, []int64{745, 248, 8}},
		{"alone", []int64{10}, []int64{1000}},
	} {
		got := Allocate(c.wants, Whole)
		for i := range got {
			if d := got[i]/k - c.want[i]; d < -2 || d > 2 {
				t.Errorf("%s: %v of %v", c.name, got, c.wants)
				break
			}
		}
	}
}

func TestAllocateNeverGivesMoreThanThereIsNorStarvesAnybody(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3_000 {
		n := 1 + random.IntN(40)
		room := random.Int64N(Whole + 1)
		wants := make([]int64, n)
		for i := range wants {
			if random.IntN(3) > 0 {
				wants[i] = random.Int64N(Whole * 2 / int64(1+random.IntN(100)))
			}
		}
		parts := Allocate(wants, room)
		total := sum(parts)
		if total > room || total < room-int64(2*n) {
			t.Fatalf("%d of %d are given to %v", total, room, wants)
		}
		for i, p := range parts {
			if fair := min(wants[i], room/int64(n)); p < fair-2 {
				t.Fatalf("who wants %d has %d, less than its even part of %d; %v", wants[i], p, room/int64(n), wants)
			}
			for j := range parts {
				if wants[i] > wants[j] && p < parts[j]-2 {
					t.Fatalf("who wants more has less: %v, %v", wants, parts)
				}
			}
		}
		// The order of nodes does not matter.
		i, j := random.IntN(n), random.IntN(n)
		wants[i], wants[j] = wants[j], wants[i]
		parts[i], parts[j] = parts[j], parts[i]
		if again := Allocate(wants, room); !slices.EqualFunc(parts, again, func(a, b int64) bool { return a-b <= 2 && b-a <= 2 }) {
			t.Fatalf("%v and %v of %v", parts, again, wants)
		}
	}
}

// TestTurnsInAnyOrderKeepTheSumAndComeToTheTargets takes turns at a record at random, some for nodes that vanished.
func TestTurnsInAnyOrderKeepTheSumAndComeToTheTargets(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		n := 1 + random.IntN(8)
		ids := make([]string, n)
		wants := make(map[string]int64)
		fate := make(map[string]life)
		for i := range ids {
			ids[i] = string(rune('a' + i))
			wants[ids[i]] = random.Int64N(Whole)
		}
		r := Record{}
		step := func(i int) {
			before := r
			r = r.Step(turn{me: ids[i], want: wants[ids[i]], seq: before.Members[ids[i]].Seq + 1, cutOff: 0.5, life: func(id string) life { return fate[id] }})
			floors := int64(0)
			for id, m := range r.Members {
				floors += m.Floor
				if old := before.Members[id]; id != ids[i] && fate[id] == alive && m != old {
					t.Fatalf("%s's turn changed %s from %+v to %+v", ids[i], id, old, m)
				}
			}
			if r.free() < 0 || floors > Whole {
				t.Fatalf("after %s's turn: %+v", ids[i], r)
			}
			data, err := r.encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseRecord(data); err != nil {
				t.Fatalf("%v: %s", err, data)
			}
		}
		for range 60 {
			i := random.IntN(n)
			if fate[ids[i]] == alive {
				step(i)
			}
			switch random.IntN(12) {
			case 0:
				wants[ids[random.IntN(n)]] = random.Int64N(2 * Whole)
			case 1:
				if i := random.IntN(n); i > 0 {
					fate[ids[i]] = life(random.IntN(3))
				}
			}
		}
		for range 4 {
			for i := range ids {
				if fate[ids[i]] == alive {
					step(i)
				}
			}
		}
		targets := r.targets()
		for id, m := range r.Members {
			if d := abs(m.Held - targets[id]); d > r.least()+10 {
				t.Fatalf("%s holds %d and should hold %d: %+v", id, m.Held, targets[id], r)
			}
		}
	}
}

func TestTokensMoveWithThePartsAndAreNeverMadeUp(t *testing.T) {
	r := Record{Members: map[string]Member{"a": {Held: 200_000}, "b": {Held: 300_000}}}
	bursts := map[int64]float64{1: 100}
	if mine := r.shareTokens(map[int64]float64{1: 90, 2: 5}, bursts, 0); mine != nil || r.Tokens[1] != 50 || len(r.Tokens) != 1 {
		t.Errorf("half is free, so half of the bucket may wait there: %v, %v", mine, r.Tokens)
	}
	r.Members["b"] = Member{Held: 550_000} // half of what was free
	if mine := r.shareTokens(nil, bursts, 250_000); mine[1] != 25 || r.Tokens[1] != 25 {
		t.Errorf("half of the part takes half of the tokens: %v, %v", mine, r.Tokens)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"m":{"a":{"w":1,"h":2,"f":3,"s":4}},"t":{"1000000000":2.5}}`))
	f.Add([]byte(`{"m":{"a":{"h":600000},"b":{"h":600000}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		n := r.Step(turn{me: "me", want: 5, seq: 1, cutOff: 0.1, life: func(string) life { return alive }})
		if n.free() < 0 {
			t.Errorf("%s: the parts add up to more than the whole", data)
		}
	})
}
