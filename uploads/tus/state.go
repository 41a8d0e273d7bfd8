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

// attributes are the properties of an upload that do not change after its creation.
type attributes struct {
	ID        string    `json:"id"`
	Directory string    `json:"directory,omitempty"`
	Filename  string    `json:"filename,omitempty"`
	Metadata  string    `json:"metadata,omitempty"` // value of Upload-Metadata
	Concat    string    `json:"concat,omitempty"`   // value of Upload-Concat
	Parts     []string  `json:"parts,omitempty"`    // ids of the parts of a final upload
	Created   time.Time `json:"created"`
	MaxSize   int64     `json:"max_size,omitempty"` // see uploads.Permit
	Subject   string    `json:"subject,omitempty"`
}

func (attr attributes) partial() bool { return attr.Concat == concatPartial }
func (attr attributes) final() bool   { return len(attr.Parts) > 0 }

// phase is the phase in the lifecycle of an upload.
type phase string

const (
	phaseUnfinished phase = ""
	phaseStored     phase = "stored" // published
	phaseDiscarded  phase = "gone"   // terminated, expired or failed
)

// progress is the part of the state that changes. The state file has two slots for it.
// They are overwritten in turn, each with a sequence number and a checksum. If a crash
// destroys one slot, the other one has the previous progress. A write needs one sync and
// no additional disk space, so it also works on a full disk.
type progress struct {
	Seq     uint64 `json:"seq"` // sequence number; the slot with the highest one is valid
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`         // -1 while it is unknown
	Expires int64  `json:"expires"`        // Unix time in seconds
	Hash    []byte `json:"hash,omitempty"` // state of the SHA-256 at Offset
	Phase   phase  `json:"phase,omitempty"`
	Sum     string `json:"sum,omitempty"` // hexadecimal SHA-256 of the stored file
}

// complete reports whether all bytes have been received.
func (p progress) complete() bool { return p.Offset == p.Length }

func (p progress) checkpoint() uploads.Checkpoint {
	return uploads.Checkpoint{Size: p.Offset, HashState: p.Hash}
}

func (p progress) expired(now time.Time) bool {
	return p.Phase == phaseUnfinished && now.Unix() >= p.Expires
}

// A state file consists of two slots for the progress, and the attributes. Each of them
// is a hexadecimal CRC-32C, a space and JSON; slots are padded with spaces. Sizes are in
// bytes.
const (
	slotSize         = 512
	attributesOffset = 2 * slotSize
	maxAttributes    = 64 << 10 // more than the header of a request may have
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errStateUnreadable is the error for a state file without valid content. The process
// that created it was killed, or the disk has lost the content.
var errStateUnreadable = errors.New("state of the upload unreadable")

// encodeChecked returns v as JSON, with its CRC-32C before it.
func encodeChecked(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return fmt.Appendf(nil, "%08x %s", crc32.Checksum(text, castagnoli), text), nil
}

// decodeChecked decodes v. It returns false if the checksum is wrong or the JSON is
// invalid.
func decodeChecked(encoded []byte, v any) bool {
	sum, text, _ := bytes.Cut(bytes.TrimRight(encoded, " \n"), []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	return err == nil && crc32.Checksum(text, castagnoli) == uint32(want) && json.Unmarshal(text, v) == nil
}

func (p progress) encodeSlot() ([]byte, error) {
	text, err := encodeChecked(p)
	if err == nil && len(text) >= slotSize {
		err = fmt.Errorf("encode state: %d bytes do not fit into a slot of %d", len(text), slotSize)
	}
	if err != nil {
		return nil, err
	}
	slot := bytes.Repeat([]byte(" "), slotSize)
	slot[slotSize-1] = '\n'
	copy(slot, text)
	return slot, nil
}

// writeState writes a new state file and syncs it.
func writeState(f *os.File, attr attributes, p progress) error {
	slot, err := p.encodeSlot()
	if err != nil {
		return err
	}
	text, err := encodeChecked(attr)
	if err != nil {
		return err
	}
	slots := bytes.Repeat([]byte(" "), attributesOffset)
	copy(slots[int(p.Seq%2)*slotSize:], slot)
	if _, err := f.Write(append(append(slots, text...), '\n')); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return syncState(f)
}

// writeProgress overwrites the slot that p.Seq selects, and syncs the file.
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

// readState reads a state file. Without valid content the error is errStateUnreadable.
func readState(f *os.File) (attr attributes, p progress, err error) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, attributesOffset+maxAttributes))
	if err != nil {
		return attr, p, fmt.Errorf("read state: %w", err)
	}
	if len(text) < attributesOffset || !decodeChecked(text[attributesOffset:], &attr) {
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
