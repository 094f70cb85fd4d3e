package configs

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

var errSize = errors.New(`must be a size such as "64MiB", "10MB" or a plain number of bytes`)

// sizeUnits are tried in this order, so that "MiB" is seen before "B".
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// ParseSize reads "64MiB" (powers of 1024), "10MB" (powers of 1000), "512B" or a plain number of
// bytes. The number may have a fraction as long as the bytes are whole; it must not be negative.
func ParseSize(s string) (Size, error) {
	number, factor := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if strings.ContainsAny(number, "eExXpPiInN_+-") {
		return 0, errSize
	}
	tooLarge := fmt.Errorf("%s is too large", s)
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err == nil && n <= math.MaxInt64/factor:
		return Size(n * factor), nil
	case err == nil || errors.Is(err, strconv.ErrRange):
		return 0, tooLarge
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, errSize
	}
	f *= float64(factor)
	switch {
	case f >= math.MaxInt64:
		return 0, tooLarge
	case f != math.Trunc(f):
		return 0, fmt.Errorf("%s is not a whole number of bytes", s)
	}
	return Size(f), nil
}

// String writes the size with the largest binary unit that divides it, else the largest decimal
// one, else in bytes.
func (s Size) String() string {
	units := []struct {
		name  string
		bytes Size
	}{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3},
	}
	for _, u := range units {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
