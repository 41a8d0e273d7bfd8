package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// version is the version of the format of the file.
const version = 1

// header is the first line of the file: name, version, and checksum of the rest (IEEE CRC-32).
const header = "gale-history %d %08x\n"

// maxSize is the maximum size of the file in bytes, far more than any history needs.
const maxSize = 1 << 20

var (
	errForeign = errors.New("not a history file")
	errDamaged = errors.New("the history file is damaged")
	errNewer   = errors.New("the history file was written by a newer release")
)

// state is the content of the file.
type state struct {
	Hour    encodedSeries `json:"hour"`
	Day     encodedSeries `json:"day"`
	Partial partial       `json:"partial"`
	// Last and At are the last reading, for the next program of the same master.
	Last *Totals   `json:"last,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// Handover returns the state for the next program of this master (execve(2)). It is quick.
func (h *History) Handover() []byte { return h.state(true) }

// state returns the encoded state, or nil if it cannot be encoded.
func (h *History) state(handover bool) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().Unix()
	s := state{Hour: h.hour.encode(now), Day: h.day.encode(now), Partial: h.partial}
	if handover {
		s.Last, s.At = &h.last, h.at
	}
	text, err := json.Marshal(s)
	if err != nil {
		h.log.Error("cannot encode the history", "error", err)
		return nil
	}
	return append(fmt.Appendf(nil, header, version, crc32.ChecksumIEEE(text)), text...)
}

// Restore takes over the state that the previous program of this master returned from
// Handover. Without one it reads the file. If neither can be read, the history is empty.
func (h *History) Restore(handedOver []byte) {
	if len(handedOver) > 0 {
		err := h.decode(handedOver)
		if err == nil {
			return
		}
		h.log.Warn("cannot read the history of the previous program", "error", err)
	}
	if h.file == nil {
		return
	}
	text := h.file.read()
	if len(text) == 0 {
		return
	}
	if err := h.decode(text); err != nil {
		h.file.putAside(err)
	}
}

// decode replaces the history by an encoded state. After an error it is unchanged.
func (h *History) decode(text []byte) error {
	s, err := parse(text)
	if err != nil {
		return err
	}
	hour, day := series{step: hourStep, size: hourSize}, series{step: dayStep, size: daySize}
	if err := errors.Join(hour.decode(s.Hour), day.decode(s.Day)); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	now := time.Now()
	hour.align(now.Unix() / hourStep)
	day.align(now.Unix() / dayStep)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hour, h.day, h.partial, h.encoded = hour, day, s.Partial, nil
	if s.Last != nil {
		h.last, h.at = *s.Last, s.At
	}
	return nil
}

// parse checks the header and decodes the rest.
func parse(text []byte) (s state, err error) {
	first, body, ok := bytes.Cut(text, []byte("\n"))
	written, sum := 0, uint32(0)
	if n, err := fmt.Sscanf(string(first)+"\n", header, &written, &sum); !ok || err != nil || n != 2 {
		return s, errForeign
	}
	switch {
	case written > version:
		return s, errNewer
	case crc32.ChecksumIEEE(body) != sum:
		return s, errDamaged
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return s, nil
}

// save writes the file.
func (h *History) save() {
	if h.file == nil {
		return
	}
	if text := h.state(false); text != nil {
		h.file.save(text)
	}
}
