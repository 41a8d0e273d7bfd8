package tus

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/galeserver/gale/uploads"
)

// entry is an upload that this request holds.
type entry struct {
	server    *Server
	held      Held
	storedErr error // uploads.File.StoredErr of the file, if this request has stored it
	State
}

func (e *entry) close() { e.held.Close() }

// validID reports whether id can be the id of an upload: 26 characters of base32.
func validID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// acquire holds an upload. If another request holds it, acquire takes it over from that one.
// The error is ErrNotFound, errGone, ErrHeld, the cause of ctx, or one of the Place.
func (s *Server) acquire(ctx context.Context, id string) (*entry, error) {
	if !validID(id) {
		return nil, ErrNotFound
	}
	wait, cancel := context.WithTimeoutCause(ctx, s.opts.TakeoverTimeout, ErrHeld)
	defer cancel()
	held, state, err := s.place.Hold(wait, id)
	if errors.Is(err, ErrUnreadable) {
		s.log.ErrorContext(ctx, "upload lost", "upload", id, "error", err)
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	if state.Replaceable(time.Now()) {
		held.Close()
		return nil, errGone
	}
	return &entry{server: s, held: held, State: state}, nil
}

// look returns an upload that this request does not hold.
func (s *Server) look(ctx context.Context, id string) (*entry, error) {
	if !validID(id) {
		return nil, ErrNotFound
	}
	state, err := s.place.Look(ctx, id)
	if errors.Is(err, ErrUnreadable) || err == nil && state.Replaceable(time.Now()) {
		return nil, errGone
	}
	return &entry{server: s, State: state}, err
}

// newEntry creates an upload and holds it.
func (s *Server) newEntry(ctx context.Context, state State) (*entry, error) {
	held, err := s.place.Create(ctx, state, s.limits())
	if err != nil {
		return nil, err
	}
	return &entry{server: s, held: held, State: state}, nil
}

// save makes p the progress.
func (e *entry) save(ctx context.Context, p Progress) error {
	if err := e.held.Save(ctx, p); err != nil {
		return err
	}
	e.Progress = p
	return nil
}

// discard ends an upload that is not stored and removes its data.
func (e *entry) discard(ctx context.Context, why string) error {
	e.server.log.InfoContext(ctx, "upload discarded", "upload", e.ID, "directory", e.Directory, "filename", e.Filename,
		"offset", e.Offset, "reason", why)
	p := e.Progress
	p.Phase, p.Hash = PhaseDiscarded, nil
	return e.save(context.WithoutCancel(ctx), p)
}

// file returns the File of a stored upload.
func (e *entry) file() uploads.File {
	f := uploads.NewFile(e.Directory, e.Filename, nil)
	f.ID, f.Size, f.SHA256, f.StoredErr = e.ID, e.Length, e.Sum, e.storedErr
	return f
}

// storedFile returns the File of the upload, or nil if the upload is not stored.
func (e *entry) storedFile() *uploads.File {
	if e.Phase != PhaseStored {
		return nil
	}
	f := e.file()
	return &f
}
