package cache

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const killEnv = "PENSTOCK_TEST_SAVE_TO"

// TestSaveUntilKilled is the process that the next test kills: it saves a cache over and over.
func TestSaveUntilKilled(t *testing.T) {
	path := os.Getenv(killEnv)
	if path == "" {
		t.Skip("it runs as a process of its own")
	}
	o := testOptions()
	o.PersistPath = path
	c := newCache(t, o, always(200, strings.Repeat("x", 4<<10), "Cache-Control", "max-age=36000"))
	for i := 0; ; i++ {
		for j := range 200 {
			do(t, c, get(httpRoute(), fmt.Sprintf("key-%d-%d", i%20, j)))
		}
		if err := c.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		fmt.Println("saved")
	}
}

// TestAKillWhileSavingLeavesACleanStart kills that process at random moments, and starts on its file.
func TestAKillWhileSavingLeavesACleanStart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	path := filepath.Join(t.TempDir(), "cache.penstock")
	rounds := 4
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestSaveUntilKilled$", "-test.v")
		cmd.Env = append(os.Environ(), killEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096) // until it has saved once, then somewhere in a later save
		for seen := ""; !strings.Contains(seen, "saved"); {
			n, err := out.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			seen += string(buf[:n])
		}
		wait := time.NewTimer(time.Duration(rand.IntN(60)) * time.Millisecond)
		<-wait.C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		list, err := readFile(t.Context(), path, 1<<40)
		if err != nil {
			t.Fatalf("round %d: the file can't be read: %v", round, err)
		}
		if len(list) < 200 {
			t.Errorf("round %d: %d records", round, len(list))
		}
		o := testOptions()
		o.PersistPath = path
		c := newCache(t, o, always(500, "the upstream was asked"))
		c.awaitLoad()
		for _, k := range list[:10] {
			if resp := do(t, c, get(httpRoute(), k.key)); len(resp.body) != 4<<10 || !resp.Cache.Hit {
				t.Errorf("round %d: %s: %d bytes, hit %v", round, k.key, len(resp.body), resp.Cache.Hit)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
