package tus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
)

// A state file has two slots for the progress. They are overwritten in turn, each with a
// sequence number and a checksum. If a crash destroys one slot, the other one has the
// previous progress: the slot with the highest sequence number is valid. A write needs one
// sync and no additional disk space, so it also works on a full disk.
//
// A state file consists of two slots for the progress, and the attributes. Each of them
// is a hexadecimal CRC-32C, a space and JSON; slots are padded with spaces. Sizes are in
// bytes.
const (
	slotSize         = 512
	attributesOffset = 2 * slotSize
	maxAttributes    = 64 << 10 // more than the header of a request may have
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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

func (p Progress) encodeSlot() ([]byte, error) {
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
func writeState(f *os.File, attr Attributes, p Progress) error {
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
func writeProgress(f *os.File, p Progress) error {
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

// readState reads a state file. Without valid content the error is ErrUnreadable.
func readState(f *os.File) (s State, err error) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, attributesOffset+maxAttributes))
	if err != nil {
		return s, fmt.Errorf("read state: %w", err)
	}
	if len(text) < attributesOffset || !decodeChecked(text[attributesOffset:], &s.Attributes) {
		return s, ErrUnreadable
	}
	found := false
	for i := range 2 {
		var slot Progress
		if decodeChecked(text[i*slotSize:(i+1)*slotSize], &slot) && (!found || slot.Seq > s.Seq) {
			s.Progress, found = slot, true
		}
	}
	if !found {
		return s, ErrUnreadable
	}
	return s, nil
}
