package natsengine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// modeSolo marks a store of a server that stands alone. The same files opened by a clustered server,
// or the other way round, lose their streams.
const modeSolo = "solo"

// marker is the contents of store.json.
type marker struct {
	Mode    string   `json:"mode"`
	Streams []string `json:"streams"`
}

// store is the directory with its lock and marker.
type store struct {
	dir    string
	lock   *os.File
	marker marker
}

// openStore makes the directory if need be, takes its lock and reads its marker.
func openStore(dir string) (_ *store, err error) {
	refuse := func(err error) error {
		return fmt.Errorf("the store %s can't be opened; set data_dir to a folder of this process's own that it may write to, "+
			"or run with --ephemeral: %w", dir, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, modeSolo), 0o700); err != nil {
		return nil, refuse(err)
	}
	f, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, refuse(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	s := &store{dir: dir, lock: f, marker: marker{Mode: modeSolo}}
	b, err := os.ReadFile(s.markerPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := s.save(); err != nil { // also shows whether the folder can be written
			return nil, refuse(err)
		}
	case err != nil:
		return nil, refuse(err)
	default:
		if err := json.Unmarshal(b, &s.marker); err != nil {
			return nil, refuse(fmt.Errorf("%s is damaged; move the folder away to start with nothing kept: %w", s.markerPath(), err))
		}
	}
	if s.marker.Mode != modeSolo {
		return nil, refuse(fmt.Errorf("it was written in mode %q, not %q; opened so, its contents would be lost", s.marker.Mode, modeSolo))
	}
	return s, nil
}

func (s *store) markerPath() string { return filepath.Join(s.dir, "store.json") }

// natsDir is where the server keeps its files.
func (s *store) natsDir() string { return filepath.Join(s.dir, modeSolo) }

// streamDir is where the server keeps one stream.
func (s *store) streamDir(name string) string {
	return filepath.Join(s.natsDir(), "jetstream", "$G", "streams", name)
}

// remember puts a stream's name into the marker.
func (s *store) remember(stream string) error {
	if slices.Contains(s.marker.Streams, stream) {
		return nil
	}
	s.marker.Streams = append(s.marker.Streams, stream)
	return s.save()
}

// save writes the marker so that a crash leaves the old one or the new one.
func (s *store) save() error {
	b, err := json.MarshalIndent(s.marker, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, "store.json.*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.markerPath())
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return s.syncDir()
}

// syncDir makes a rename last over a power cut.
func (s *store) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// quarantine moves a stream's files away and returns where to. The server must not be running.
func (s *store) quarantine(stream string) (string, error) {
	from := s.streamDir(stream)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return "nothing was left of it", nil
	}
	to := filepath.Join(s.dir, "damaged", time.Now().UTC().Format("20060102T150405.000000000")+"-"+stream)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", err
	}
	return to, os.Rename(from, to)
}

func (s *store) close() error { return s.lock.Close() }
