package uploads

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Sender is the client that sends a file. The zero value is an anonymous client.
type Sender struct {
	Subject string   `json:"subject"` // the application's name for the client; empty for an anonymous one
	Scopes  []string `json:"scopes,omitempty"`
	Admin   bool     `json:"admin"`
}

// Proposal is a file that a client wants to store. Its content has not been received yet,
// except for that of an urlencoded form.
type Proposal struct {
	Directory string `json:"directory"`
	Filename  string `json:"filename"`
	Size      int64  `json:"size"` // bytes; -1 if the client has not announced it
	Sender    Sender `json:"sender"`
	// Metadata is what a resumable upload has in Upload-Metadata, by key.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Decision says how a proposed file is stored. The zero value stores it as proposed.
type Decision struct {
	Directory string `json:"directory"` // empty: as proposed
	Filename  string `json:"filename"`  // empty: as proposed
	// MaxSize is the size limit of the file, in bytes. 0, and a value over
	// Options.MaxFile, mean Options.MaxFile.
	MaxSize int64 `json:"max_size"`
}

// Permit is the result of Store.Admit: the name of a file, and its limits. The zero value of
// the other fields means no limits but those of the store.
type Permit struct {
	Directory, Filename string
	MaxSize             int64  // bytes; 0: Options.MaxFile
	Subject             string // Sender.Subject
}

// RefusalError is an error of Options.Decide that refuses a file. The client gets the status
// and the reason.
type RefusalError struct {
	Status int    // HTTP status, 400 to 499
	Reason string // begins in lower case, and contains nothing internal
}

// Error implements error.
func (r *RefusalError) Error() string { return r.Reason }

// ErrUndecided is for a decision that cannot be made now. The file is refused, and the client
// may try again later.
var ErrUndecided = errors.New("decision about the upload not available")

// Admit decides whether a file may be stored, before its content is received. It calls
// Options.Decide and checks the name and the announced size. Then it checks
// Options.Quota. Create, Put and Upload.Apply take the permit that it returns. Admit does
// not check whether the name is in use; Check does.
//
// The error is one of Options.Decide or Options.Quota, or wraps ErrName or ErrTooLarge.
func (s *Store) Admit(ctx context.Context, p Proposal) (Permit, error) {
	permit := Permit{Directory: p.Directory, Filename: p.Filename, Subject: p.Sender.Subject}
	if err := CheckName(p.Directory, p.Filename); err != nil {
		return Permit{}, err
	}
	if s.options.Decide != nil {
		d, err := s.options.Decide(ctx, p)
		if err != nil {
			s.log.InfoContext(ctx, "upload refused by a decision", "directory", p.Directory, "filename", p.Filename,
				"subject", p.Sender.Subject, "error", err)
			return Permit{}, err
		}
		if permit, err = permit.apply(d); err != nil {
			return Permit{}, err
		}
	}
	if limit := s.limit(permit); p.Size > limit {
		return Permit{}, tooLarge(limit)
	}
	if s.options.Quota != nil {
		if err := s.options.Quota.Check(ctx, permit, max(p.Size, 0)); err != nil {
			return Permit{}, err
		}
	}
	return permit, nil
}

// apply returns the permit with the changes of a decision.
func (p Permit) apply(d Decision) (Permit, error) {
	if d.MaxSize < 0 {
		return p, fmt.Errorf("decide about upload: MaxSize %d is negative", d.MaxSize)
	}
	p.MaxSize = d.MaxSize
	if d.Directory == "" && d.Filename == "" {
		return p, nil
	}
	if d.Directory != "" {
		p.Directory = d.Directory
	}
	if d.Filename != "" {
		p.Filename = d.Filename
	}
	if err := CheckName(p.Directory, p.Filename); err != nil {
		return p, fmt.Errorf("decide about upload: new name %q: %s", p.Directory+"/"+p.Filename, err.Error()) // not the client's fault
	}
	return p, nil
}

// limit returns the size limit of a file in bytes.
func (s *Store) limit(p Permit) int64 {
	if p.MaxSize > 0 {
		return min(p.MaxSize, s.options.MaxFile)
	}
	return s.options.MaxFile
}

// Apply sets the size limit and the subject of a permit. Call it before the first Write.
func (u *Upload) Apply(p Permit) {
	u.limit, u.subject = u.store.limit(p), p.Subject
}

func tooLarge(limit int64) error {
	return WithReason(ErrTooLarge, fmt.Sprintf("the size limit of a file is %d bytes", limit))
}

// code returns the code of a File for the refusal.
func (r *RefusalError) code() int {
	switch r.Status {
	case http.StatusConflict:
		return CodeExists
	case http.StatusUnsupportedMediaType:
		return CodeFormat
	}
	if r.Status < 400 || r.Status > 499 {
		return CodeRefused
	}
	return r.Status
}
