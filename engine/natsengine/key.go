package natsengine

import (
	"errors"
	"strconv"
	"strings"
)

// NATS keys are subjects: letters, digits and - / _ = . only, and no empty token between dots. Other
// bytes are written as = and two hex digits.

const hexDigits = "0123456789ABCDEF"

var errKey = errors.New("natsengine: not an encoded key")

// encodeKey writes any key as NATS can hold it.
func encodeKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; plain(c) || c == '.' && i > 0 && i < len(key)-1 && key[i-1] != '.' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
}

// decodeKey reads what encodeKey wrote.
func decodeKey(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case plain(c) || c == '.':
			b.WriteByte(c)
		case c == '=' && i+2 < len(text):
			v, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return "", errKey
			}
			b.WriteByte(byte(v))
			i += 2
		default:
			return "", errKey
		}
	}
	return b.String(), nil
}
