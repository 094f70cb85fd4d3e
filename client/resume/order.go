package resume

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"slices"

	"penstock/client"
)

// maxRuns is how many ascending runs are put into one: each has a buffer of its own.
const maxRuns = 32

// ErrUnordered says that the output was not written in order, by far.
var ErrUnordered = errors.New("the answers are whole but stay as they are, since an earlier run did not ask for order")

// Order puts the file in the order of its lines. Lines that were sent again stand behind the others, in
// order: so it is a few ascending runs, which are merged.
func (o *Output) Order() error {
	if err := o.Flush(); err != nil || o.file == nil || !o.unordered {
		return err
	}
	runs, err := o.runs()
	if err != nil || len(runs) < 2 {
		return err
	}
	if len(runs) > maxRuns {
		return ErrUnordered
	}
	if err := o.rewrite(func(w *bufio.Writer) error { return merge(w, runs) }); err != nil {
		return err
	}
	o.w.Reset(o.file)
	o.unordered = false
	return nil
}

// run is a part of the file that ascends.
type run struct {
	from, to int64
	in       *answers
	line     client.StreamLine
	raw      []byte
}

// runs finds the ascending runs; more than maxRuns are not told apart.
func (o *Output) runs() ([]*run, error) {
	var all []*run
	last := int64(0)
	var at int64
	end, err := o.each(func(l client.StreamLine, raw []byte) error {
		if (len(all) == 0 || l.Line < last) && len(all) <= maxRuns {
			all = append(all, &run{from: at})
		}
		last = l.Line
		at += int64(len(raw))
		return nil
	})
	for i, r := range all {
		r.to = end
		if i+1 < len(all) {
			r.to = all[i+1].from
		}
		r.in = newAnswers(io.NewSectionReader(o.file, r.from, r.to-r.from))
	}
	return all, err
}

// next takes the run's next line; false: it has ended.
func (r *run) next() (bool, error) {
	var err error
	r.line, r.raw, err = r.in.next()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

func merge(w io.Writer, runs []*run) error {
	open := make([]*run, 0, len(runs))
	for _, r := range runs {
		if more, err := r.next(); err != nil {
			return err
		} else if more {
			open = append(open, r)
		}
	}
	for len(open) > 0 {
		first := slices.MinFunc(open, func(a, b *run) int { return cmp.Compare(a.line.Line, b.line.Line) })
		if _, err := w.Write(first.raw); err != nil {
			return err
		}
		more, err := first.next()
		if err != nil {
			return err
		}
		if !more {
			open = slices.DeleteFunc(open, func(r *run) bool { return r == first })
		}
	}
	return nil
}
