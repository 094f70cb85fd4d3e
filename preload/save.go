package preload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// savedMagic begins what Save writes.
const savedMagic = "PSTKPRE\x01"

// fadesOver is the age at which what was saved is not believed any more; its associations are kept.
const fadesOver = 24 * time.Hour

// Save returns what was learned, for [New] in a later process. It holds hashes and counts, no keys.
func (p *Preloader) Save() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(savedMagic)
	secret := p.hash.secret()
	b.Write(secret[:])
	_ = binary.Write(&b, binary.LittleEndian, time.Now().Unix())
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.model.Save(&b); err != nil {
		return nil, fmt.Errorf("preload: %w", err)
	}
	return b.Bytes(), nil
}

// restore makes the tables, from what was saved if that can be read.
func (p *Preloader) restore(saved []byte) {
	const head = len(savedMagic) + 16 + 8
	if len(saved) < head || string(saved[:len(savedMagic)]) != savedMagic {
		p.build()
		return
	}
	fresh := p.hash
	p.hash = hasherOf([16]byte(saved[len(savedMagic):]))
	p.build()
	age := time.Since(time.Unix(int64(binary.LittleEndian.Uint64(saved[head-8:])), 0))
	trust := 1 - float32(age)/float32(fadesOver)
	if err := p.model.Load(bytes.NewReader(saved[head:]), trust); err != nil {
		p.hash = fresh
		p.build()
	}
}
