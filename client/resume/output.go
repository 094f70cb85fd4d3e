package resume

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"penstock/client"
)

// Output is where the answers go. It is safe for use by several goroutines.
type Output struct {
	mu    sync.Mutex // guards what follows
	w     *bufio.Writer
	file  *os.File // nil: what is written can't be read again
	path  string
	close func() error
	fault error

	known answered
	// last is the last line that was written, and unordered is set when one was written behind a later one.
	last      int64
	unordered bool
	// ok and failed count the answers that were in the file.
	ok, failed int64
}

// OutputOptions say what to do with an output that has answers already.
type OutputOptions struct {
	// Again chooses by its status the answers that are thrown away, so that their lines are asked again;
	// nil: none.
	Again func(status int) bool
	// Anew throws all of them away.
	Anew bool
}

// NewOutput returns an output that nothing is known of, such as the standard output.
func NewOutput(w io.Writer) *Output {
	return &Output{w: bufio.NewWriterSize(w, 64<<10), close: func() error { return nil }}
}

// OpenOutput opens a file, makes it if it is not there, and reads which lines it answers. What stands
// behind its last line break is cut away. A file that holds something else is left alone and an error.
func OpenOutput(path string, o OutputOptions) (*Output, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		out := NewOutput(f)
		out.close = f.Close
		return out, err
	}
	out := &Output{file: f}
	if out.path, err = filepath.EvalSymlinks(path); err == nil { // a link stays one when the file is made anew
		err = lockFile(out.path, f)
	}
	if err == nil {
		err = out.resume(o)
	}
	if err != nil {
		return nil, errors.Join(err, out.file.Close())
	}
	out.w = bufio.NewWriterSize(out.file, 64<<10)
	return out, nil
}

// resume reads what is there and leaves the file at its end.
func (o *Output) resume(opt OutputOptions) error {
	if opt.Anew {
		return o.file.Truncate(0)
	}
	again := false
	end, err := o.each(func(l client.StreamLine, _ []byte) error {
		if opt.Again != nil && l.Status >= 400 && opt.Again(l.Status) {
			again = true
			return nil
		}
		if !o.known.add(l.Line) {
			return fmt.Errorf("it has two answers for line %d", l.Line)
		}
		o.wrote(l.Line)
		if l.Status < 400 {
			o.ok++
		} else {
			o.failed++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s can't be gone on with: %w; name another output, or begin anew with --restart", o.path, err)
	}
	if err := o.file.Truncate(end); err != nil {
		return err
	}
	if again {
		return o.rewrite(func(w *bufio.Writer) error {
			_, err := o.each(func(l client.StreamLine, raw []byte) error {
				if l.Status >= 400 && opt.Again(l.Status) {
					return nil
				}
				_, err := w.Write(raw)
				return err
			})
			return err
		})
	}
	_, err = o.file.Seek(end, io.SeekStart)
	return err
}

// each reads the answers in the file, with their line breaks, up to the last line break, and returns
// where that is.
func (o *Output) each(do func(l client.StreamLine, raw []byte) error) (end int64, err error) {
	r := newAnswers(io.NewSectionReader(o.file, 0, 1<<62))
	for n := 1; ; n++ {
		l, raw, err := r.next()
		switch {
		case errors.Is(err, errTorn) && n == 1 && !begun(raw):
			return 0, fmt.Errorf("its first line is no answer: %.60q", raw)
		case errors.Is(err, errTorn), errors.Is(err, io.EOF):
			return end, nil
		case err != nil:
			return 0, fmt.Errorf("its line %d: %w: %.60q", n, err, raw)
		}
		if err := do(l, raw); err != nil {
			return 0, fmt.Errorf("its line %d: %w", n, err)
		}
		end += int64(len(raw))
	}
}

// begun reports whether an answer that was cut off begins so.
func begun(raw []byte) bool {
	const begin = `{"line":`
	return bytes.HasPrefix(raw, []byte(begin)) || strings.HasPrefix(begin, string(raw))
}

// rewrite makes the file anew beside itself and puts it in its place, so that a crash leaves the old or
// the new.
func (o *Output) rewrite(write func(w *bufio.Writer) error) error {
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(o.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = lockFile(f.Name(), f)
	}
	if err == nil {
		err = os.Rename(f.Name(), o.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	_ = o.file.Close()
	o.file = f
	return nil
}

func (o *Output) wrote(line int64) {
	o.unordered = o.unordered || line < o.last
	o.last = line
}

// append writes the answer of a line.
func (o *Output) append(line int64, raw []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wrote(line)
	if o.fault == nil {
		_, o.fault = o.w.Write(raw)
	}
	if o.fault == nil {
		o.fault = o.w.WriteByte('\n')
	}
	return o.fault
}

// Flush writes what is held back.
func (o *Output) Flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault == nil {
		o.fault = o.w.Flush()
	}
	return o.fault
}

// Close writes what is held back, has it on the disk, and closes the file.
func (o *Output) Close() error {
	err := o.Flush()
	if o.file == nil {
		return errors.Join(err, o.close())
	}
	return errors.Join(err, o.file.Sync(), o.file.Close())
}

// answers reads the lines of an output.
type answers struct {
	r    *bufio.Reader
	line []byte
}

func newAnswers(r io.Reader) *answers { return &answers{r: bufio.NewReaderSize(r, 256<<10)} }

// errTorn says that the file ends within a line.
var errTorn = errors.New("it is cut off")

// next gives the next answer, with its line break. The bytes are good until the next call.
func (a *answers) next() (client.StreamLine, []byte, error) {
	a.line = a.line[:0]
	for {
		part, err := a.r.ReadSlice('\n')
		a.line = append(a.line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(a.line) <= maxLine+(1<<20):
		case errors.Is(err, bufio.ErrBufferFull):
			return client.StreamLine{}, a.line, errors.New("it is far too long for an answer")
		case errors.Is(err, io.EOF) && len(a.line) > 0:
			return client.StreamLine{}, a.line, errTorn
		case err != nil:
			return client.StreamLine{}, nil, err
		default:
			l, err := client.ParseStreamLine(a.line[:len(a.line)-1])
			if err == nil && l.Summary != nil {
				err = errors.New("it is the summary of a stream")
			}
			return l, a.line, err
		}
	}
}
