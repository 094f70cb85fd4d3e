package cache

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The file: magic with its version, records (uvarint length, then the record), a length of 0, and
// the SHA-256 of all before it. It is written beside its place, synced and renamed, so a kill at
// any moment leaves the old file or the new one; what else may be found is told by the sum.
var fileMagic = []byte("penstock-cache\x00\x02")

var (
	errTorn    = errors.New("the file is torn or damaged")
	errVersion = errors.New("the file is of another version")
)

// disk keeps the cache in a file over a restart.
type disk struct {
	c       *Cache
	path    string
	changed chan struct{} // wakes maintain

	saving sync.Mutex // held by the one who writes the file

	mu      sync.Mutex // guards what follows
	loading bool
	// forgotten are the purges since loading began.
	forgotten []func(key string, rec *record) bool
}

func newDisk(c *Cache, path string) *disk {
	return &disk{c: c, path: path, changed: make(chan struct{}, 1), loading: path != ""}
}

func (d *disk) wake() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// forget keeps what matches from being loaded.
func (d *disk) forget(match func(key string, rec *record) bool) {
	d.mu.Lock()
	if d.loading {
		d.forgotten = append(d.forgotten, match)
	}
	d.mu.Unlock()
}

// load puts what the file holds into the store, all of it or nothing. What is in the store by then
// is newer and stays.
func (d *disk) load() {
	if d.path == "" {
		return
	}
	start := time.Now()
	list, err := readFile(d.c.base, d.path, 2*d.c.settings.Load().MaxBytes)
	n := 0
	if err == nil {
		n = d.insert(list)
	}
	d.mu.Lock()
	d.loading, d.forgotten = false, nil
	d.mu.Unlock()
	switch {
	case err == nil:
		d.c.log.Info("cache: loaded", "path", d.path, "entries", n, "took", time.Since(start))
	case errors.Is(err, fs.ErrNotExist), d.c.base.Err() != nil:
	default:
		d.c.log.Warn("cache: the saved cache is skipped, the cache starts empty", "path", d.path, "error", err)
	}
}

// insert adds the records from the least used to the most, as far as they fit and are of use.
func (d *disk) insert(list []keyed) int {
	now := time.Now()
	room := d.c.settings.Load().MaxBytes
	fit := 0
	for fit < len(list) && list[fit].bytes <= room {
		room -= list[fit].bytes
		fit++
	}
	n := 0
	for i := fit - 1; i >= 0; i-- {
		k := list[i]
		if k.until <= now.UnixNano() {
			continue
		}
		for _, e := range k.variants {
			// A clock that was set back must not make an entry younger than new.
			e.birth = min(e.birth, now.UnixNano())
			e.heat = newHeat()
			e.counters = d.c.counters.of(k.upstream, k.route)
		}
		if bytes.Contains([]byte(k.key), []byte(credentialMark)) {
			d.c.split.Store(true)
		}
		d.mu.Lock() // a purge comes before, and is seen here, or after, and sees the entry
		if !d.isForgotten(k) {
			if d.c.store.restore(k.key, k.record, d.c.limitOf) {
				n++
				d.c.confine(k.key, k.variants[0].counters, k.bytes)
			}
		}
		d.mu.Unlock()
	}
	return n
}

func (d *disk) isForgotten(k keyed) bool {
	for _, match := range d.forgotten {
		if match(k.key, k.record) {
			return true
		}
	}
	return false
}

// save writes the file. The store is not held meanwhile: it is what it was at the start.
func (d *disk) save(ctx context.Context) error {
	if d.path == "" {
		return nil
	}
	d.mu.Lock()
	loading := d.loading
	d.mu.Unlock()
	if loading {
		return nil // the file holds more than the store
	}
	d.saving.Lock()
	defer d.saving.Unlock()
	if err := os.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
		return err
	}
	temporary := d.path + ".tmp"
	err := writeFile(ctx, temporary, d.c.store.hottest())
	if err == nil {
		err = os.Rename(temporary, d.path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("save the cache: %w", err)
	}
	return syncDir(filepath.Dir(d.path))
}

// syncDir makes a rename in dir survive a loss of power.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

func writeFile(ctx context.Context, path string, list []keyed) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 256<<10)
	_, _ = w.Write(fileMagic) // errors stay with w until Flush
	now := time.Now().UnixNano()
	var buf, length []byte
	for _, k := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if k.until <= now {
			continue
		}
		buf = appendRecord(buf[:0], k)
		length = binary.AppendUvarint(length[:0], uint64(len(buf)))
		_, _ = w.Write(length)
		_, _ = w.Write(buf)
	}
	_ = w.WriteByte(0)
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := f.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return f.Sync()
}

// readFile reads the records of a file of at most limit bytes, after its sum was found right.
func readFile(ctx context.Context, path string, limit int64) ([]keyed, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	content := info.Size() - sha256.Size
	if content < int64(len(fileMagic))+1 {
		return nil, errTorn
	}
	if content > limit {
		return nil, fmt.Errorf("the file is over %d bytes, twice cache.max_bytes", limit)
	}
	magic := make([]byte, len(fileMagic))
	if _, err := f.ReadAt(magic, 0); err != nil {
		return nil, err
	}
	if !bytes.Equal(magic, fileMagic) {
		return nil, errVersion
	}
	sum := sha256.New()
	if err := copyUntil(ctx, sum, io.NewSectionReader(f, 0, content)); err != nil {
		return nil, err
	}
	want := make([]byte, sha256.Size)
	if _, err := f.ReadAt(want, content); err != nil || !bytes.Equal(want, sum.Sum(nil)) {
		return nil, errTorn
	}
	start := int64(len(fileMagic))
	return readRecords(ctx, io.NewSectionReader(f, start, content-start), content)
}

func copyUntil(ctx context.Context, sum hash.Hash, r io.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(sum, r, 4<<20); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func readRecords(ctx context.Context, from io.Reader, limit int64) ([]keyed, error) {
	r := bufio.NewReaderSize(from, 256<<10)
	var list []keyed
	var buf []byte
	for ctx.Err() == nil {
		n, err := binary.ReadUvarint(r)
		if err != nil || n > uint64(limit) {
			return nil, errTorn
		}
		if n == 0 {
			return list, nil
		}
		if uint64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, errTorn
		}
		k, err := readRecord(buf)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return nil, ctx.Err()
}
