package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// KeyPrefix begins every key that NewKey makes, so that people and secret scanners know one
	// when they see it.
	KeyPrefix = "psk_"
	// MinKeyBytes and MaxKeyBytes bound the length of a key. Fewer bytes hold too little to
	// withstand guessing.
	MinKeyBytes = 24
	MaxKeyBytes = 512

	hashPrefix = "sha256:"
	keyBytes   = 32
)

// NewKey makes a key of 256 random bits.
func NewKey() string {
	var b [keyBytes]byte
	_, _ = rand.Read(b[:]) // never fails: the process ends if the system has no randomness
	return KeyPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// CheckKey says why a key that was made elsewhere can't be used, without showing it.
func CheckKey(key string) error {
	switch {
	case len(key) < MinKeyBytes:
		return fmt.Errorf("the key has %d characters and is too easy to guess: take %d or more random ones", len(key), MinKeyBytes)
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("the key has %d characters; there may be at most %d", len(key), MaxKeyBytes)
	case !visible(key):
		return errors.New("the key holds characters that a header can't carry: take visible ASCII without spaces")
	}
	return nil
}

// Hash is the SHA-256 of a key.
type Hash [sha256.Size]byte

// HashOf hashes a key.
func HashOf(key string) Hash { return sha256.Sum256([]byte(key)) }

// String writes the hash as the configuration holds it.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// ParseHash reads what String writes, in either case. Its errors don't show the text, which may be a
// key by mistake.
func ParseHash(text string) (h Hash, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if !ok || len(digits) != 2*len(h) {
		return h, errors.New("a key's hash must be sha256: and 64 hex digits")
	}
	if _, err := hex.Decode(h[:], []byte(digits)); err != nil {
		return h, errors.New("a key's hash must be sha256: and 64 hex digits; there is another character")
	}
	return h, nil
}

// ring is all configured keys.
type ring []ringKey

type ringKey struct {
	hash  Hash
	owner *account
}

// owner finds whose key it is, nil if nobody's. It always compares with all of them.
func (r ring) owner(key string) *account {
	if key == "" || len(key) > MaxKeyBytes {
		return nil // the length is the client's own; it tells nothing of ours
	}
	sum := HashOf(key)
	found := 0
	for i := range r {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(r[i].hash[:], sum[:]), i+1, found)
	}
	if found == 0 {
		return nil
	}
	return r[found-1].owner
}

// visible reports whether s is one or more visible ASCII characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}
