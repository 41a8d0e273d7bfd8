package tus

import (
	"time"

	"github.com/galeserver/gale/uploads"
)

// State is the state of an upload.
type State struct {
	Attributes
	Progress
}

// Due reports whether an upload needs work although no request holds it: it has expired, or
// it is complete and its process was killed before it could publish it.
func (s State) Due(now time.Time) bool {
	return s.Phase == PhaseUnfinished && (s.expired(now) || s.complete() && !s.Partial())
}

// Checkpoint returns the position up to which the bytes are durable.
func (s State) Checkpoint() uploads.Checkpoint {
	return uploads.Checkpoint{Size: s.Offset, HashState: s.Hash}
}

// Replaceable reports whether another upload may get the id.
func (s State) Replaceable(now time.Time) bool { return s.Phase == PhaseDiscarded || s.expired(now) }

// Attributes are the properties of an upload that do not change after its creation.
type Attributes struct {
	ID        string    `json:"id"`
	Directory string    `json:"directory,omitempty"`
	Filename  string    `json:"filename,omitempty"`
	Metadata  string    `json:"metadata,omitempty"` // value of Upload-Metadata
	Concat    string    `json:"concat,omitempty"`   // value of Upload-Concat
	Parts     []string  `json:"parts,omitempty"`    // ids of the parts of a final upload
	Created   time.Time `json:"created"`
}

// Partial reports whether the upload is a part for later concatenation.
func (attr Attributes) Partial() bool { return attr.Concat == concatPartial }

// final reports whether the upload is a concatenation of others.
func (attr Attributes) final() bool { return len(attr.Parts) > 0 }

// Phase is the phase in the lifecycle of an upload.
type Phase string

// Phases.
const (
	PhaseUnfinished Phase = ""
	PhaseStored     Phase = "stored" // published
	PhaseDiscarded  Phase = "gone"   // terminated, expired or failed
)

// Progress is the part of the state that changes.
type Progress struct {
	Seq     uint64 `json:"seq"` // sequence number, which each Held.Save increases
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`         // -1 while it is unknown
	Expires int64  `json:"expires"`        // Unix time in seconds
	Hash    []byte `json:"hash,omitempty"` // state of the SHA-256 at Offset
	Phase   Phase  `json:"phase,omitempty"`
	Sum     string `json:"sum,omitempty"` // hexadecimal SHA-256 of the stored file
}

// complete reports whether all bytes have been received.
func (p Progress) complete() bool { return p.Offset == p.Length }

func (p Progress) expired(now time.Time) bool {
	return p.Phase == PhaseUnfinished && now.Unix() >= p.Expires
}
