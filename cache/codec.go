package cache

import (
	"encoding/binary"
	"errors"
	"net/http"
	"time"
)

var errMalformed = errors.New("malformed record")

// flags of an entry in the file.
const (
	flagPacked = 1 << iota
	flagStrict
	flagSMaxAge
	flagAnonymous
)

// appendRecord writes a record in the form that readRecord reads: uvarints, and strings with their
// lengths before them.
func appendRecord(b []byte, k keyed) []byte {
	b = appendString(b, k.key)
	b = appendString(b, k.route)
	b = appendString(b, k.upstream)
	b = binary.AppendUvarint(b, uint64(len(k.variants)))
	for _, e := range k.variants {
		b = appendEntry(b, e)
	}
	return b
}

func appendEntry(b []byte, e *entry) []byte {
	var flags uint64
	for i, set := range []bool{e.packed, e.strict, e.sMaxAge, e.anonymous} {
		if set {
			flags |= 1 << i
		}
	}
	for _, n := range []uint64{
		flags, uint64(e.status), uint64(e.size), uint64(e.birth),
		uint64(e.lifetime), uint64(e.staleWhileRevalidate), uint64(e.staleIfError),
	} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendString(b, e.tenant)
	b = appendStrings(b, e.vary)
	b = appendStrings(b, e.selectors)
	b = binary.AppendUvarint(b, uint64(len(e.header)))
	for name, lines := range e.header {
		b = appendString(b, name)
		b = appendStrings(b, lines)
	}
	b = binary.AppendUvarint(b, uint64(len(e.body)))
	return append(b, e.body...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// readRecord reads what appendRecord wrote. Whatever b holds, it neither panics nor allocates more
// than some times len(b).
func readRecord(b []byte) (keyed, error) {
	d := decoder{b: b}
	k := keyed{d.string(), &record{route: d.string(), upstream: d.string()}}
	n := d.count(1)
	if n == 0 || n > maxVariants {
		return keyed{}, errMalformed
	}
	for range n {
		k.variants = append(k.variants, d.entry())
	}
	if d.bad || len(d.b) > 0 || k.key == "" {
		return keyed{}, errMalformed
	}
	k.measure(k.key)
	return k, nil
}

// decoder cuts values off b; after a fault it is bad and gives zero values.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() {
	d.b, d.bad = nil, true
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// duration reads a number that must not be negative, nor so large that sums of it overflow.
func (d *decoder) duration() time.Duration {
	n := d.number()
	if n > uint64(2*maxDelta) {
		d.fail()
		return 0
	}
	return time.Duration(n)
}

// count reads how many things follow, of which each takes size bytes or more.
func (d *decoder) count(size int) int {
	n := d.number()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) strings() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}

func (d *decoder) entry() *entry {
	flags := d.number()
	e := &entry{
		packed: flags&flagPacked != 0, strict: flags&flagStrict != 0,
		sMaxAge: flags&flagSMaxAge != 0, anonymous: flags&flagAnonymous != 0,
	}
	status, size, birth := d.number(), d.number(), d.number()
	e.lifetime, e.staleWhileRevalidate, e.staleIfError = d.duration(), d.duration(), d.duration()
	e.tenant = d.string()
	e.vary, e.selectors = d.strings(), d.strings()
	n := d.count(2)
	e.header = make(http.Header, min(n, 64))
	for range n {
		name := d.string()
		e.header[name] = d.strings()
	}
	e.body = append([]byte(nil), d.bytes()...)
	if e.packed {
		e.thawed = new(thawed)
	}
	e.status, e.size, e.birth = int(status), int64(size), int64(birth)
	switch {
	case status < 200 || status > 599, size > maxObjectLimit, birth > 1<<62,
		len(e.vary) != len(e.selectors), !e.packed && size != uint64(len(e.body)):
		d.fail()
	}
	return e
}
