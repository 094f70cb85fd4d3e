package observe

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestTheMostCountedKeysAreFoundInFixedMemory(t *testing.T) {
	top := NewTopKeys(50)
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.3, 1, 100_000)
	truth := make(map[string]uint64)
	for range 40_000 {
		key := fmt.Sprintf("key%d", zipf.Uint64())
		truth[key]++
		top.Add(key, "movies", "movie")
	}
	if len(top.byKey) != 50 || len(top.least) != 50 {
		t.Fatalf("%d and %d keys are followed", len(top.byKey), len(top.least))
	}
	for i, k := range top.Top(10) {
		if k.Key != fmt.Sprintf("key%d", i) {
			t.Errorf("place %d has %s", i, k.Key)
		}
		if k.Count < truth[k.Key] || k.Count-k.Error > truth[k.Key] {
			t.Errorf("%s was counted %d times: %d less at most %d is wrong", k.Key, truth[k.Key], k.Count, k.Error)
		}
	}
}

func TestABusyCounterLetsRequestsPass(t *testing.T) {
	top := NewTopKeys(2)
	top.mu.Lock()
	top.Add("a", "", "") // would hang if it waited
	top.mu.Unlock()
	if n := len(top.Top(5)); n != 0 {
		t.Errorf("%d keys", n)
	}
}

func BenchmarkTopKeysAdd(b *testing.B) {
	top := NewTopKeys(0)
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = fmt.Sprintf("movies GET /movies/%d", i)
	}
	for i := 0; b.Loop(); i++ {
		top.Add(keys[i%len(keys)], "movies", "movie")
	}
}
