package tus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/galeserver/gale/uploads"
)

// origin is what an upload is from its creation on.
type attributes struct {
	ID        string    `json:"id"`
	Directory string    `json:"directory,omitempty"`
	Filename  string    `json:"filename,omitempty"`
	Metadata  string    `json:"metadata,omitempty"` // Upload-Metadata as it came
	Concat    string    `json:"concat,omitempty"`   // Upload-Concat as it came
	Parts     []string  `json:"parts,omitempty"`    // of a final upload, their ids
	Created   time.Time `json:"created"`
}

func (attr attributes) partial() bool { return attr.Concat == concatPartial }
func (attr attributes) final() bool   { return len(attr.Parts) > 0 }

// phase is where an upload stands.
type phase string

const (
	phaseUnfinished phase = ""
	phaseStored     phase = "stored" // published
	phaseDiscarded  phase = "gone"   // terminated, expired or failed
)

// progress is how far an upload has come. The file that holds it has two places
// for it, which are written in turn, in place, each with a number and a checksum:
// a copy that a crash has torn leaves the one before. That takes one sync and no
// space, so it works on a full disk too.
type progress struct {
	Seq     uint64 `json:"seq"`
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`         // -1: not known yet
	Expires int64  `json:"expires"`        // Unix time, s
	Hash    []byte `json:"hash,omitempty"` // state of the SHA-256 at Offset
	Phase   phase  `json:"phase,omitempty"`
	Sum     string `json:"sum,omitempty"` // of what was stored
}

// whole reports whether every byte has come.
func (p progress) complete() bool { return p.Offset == p.Length }

func (p progress) checkpoint() uploads.Checkpoint {
	return uploads.Checkpoint{Size: p.Offset, HashState: p.Hash}
}

func (p progress) expired(now time.Time) bool {
	return p.Phase == phaseUnfinished && now.Unix() >= p.Expires
}

// A state file is two slots for the progress, and then the origin; each is a
// checksum (CRC-32C, hexadecimal) and JSON, of a slot filled up with spaces.
const (
	slotSize  = 512
	originAt  = 2 * slotSize
	maxOrigin = 64 << 10 // a request's head is smaller by far
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errStateUnreadable is a state file that says nothing: its maker was killed, or the disk
// has lost it.
var errStateUnreadable = errors.New("the state of the upload cannot be read")

func encodeChecked(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return fmt.Appendf(nil, "%08x %s", crc32.Checksum(text, castagnoli), text), nil
}

func decodeChecked(encoded []byte, v any) bool {
	sum, text, _ := bytes.Cut(bytes.TrimRight(encoded, " \n"), []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	return err == nil && crc32.Checksum(text, castagnoli) == uint32(want) && json.Unmarshal(text, v) == nil
}

func (p progress) encodeSlot() ([]byte, error) {
	text, err := encodeChecked(p)
	if err == nil && len(text) >= slotSize {
		err = fmt.Errorf("encode state: %d bytes are too many", len(text))
	}
	if err != nil {
		return nil, err
	}
	slot := bytes.Repeat([]byte(" "), slotSize)
	slot[slotSize-1] = '\n'
	copy(slot, text)
	return slot, nil
}

// writeState fills a new state file, and syncs it.
func writeState(f *os.File, attr attributes, p progress) error {
	slot, err := p.encodeSlot()
	if err != nil {
		return err
	}
	text, err := encodeChecked(attr)
	if err != nil {
		return err
	}
	whole := bytes.Repeat([]byte(" "), originAt)
	copy(whole[int(p.Seq%2)*slotSize:], slot)
	if _, err := f.Write(append(append(whole, text...), '\n')); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return syncState(f)
}

// writeProgress makes p the progress, durably.
func writeProgress(f *os.File, p progress) error {
	slot, err := p.encodeSlot()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(slot, int64(p.Seq%2)*slotSize); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return syncState(f)
}

func syncState(f *os.File) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync state: %w", err)
	}
	return nil
}

// readState reads a state file; the error wraps errStateUnreadable if it says nothing.
func readState(f *os.File) (attr attributes, p progress, err error) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, originAt+maxOrigin))
	if err != nil {
		return attr, p, fmt.Errorf("read state: %w", err)
	}
	if len(text) < originAt || !decodeChecked(text[originAt:], &attr) {
		return attr, p, errStateUnreadable
	}
	found := false
	for i := range 2 {
		var slot progress
		if decodeChecked(text[i*slotSize:(i+1)*slotSize], &slot) && (!found || slot.Seq > p.Seq) {
			p, found = slot, true
		}
	}
	if !found {
		return attr, p, errStateUnreadable
	}
	return attr, p, nil
}
